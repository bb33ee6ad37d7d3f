"""Targets for messages: message bodies, and payloads in valid bodies."""

from __future__ import annotations

import base64
import json
import zlib

from collective import messages
from collective.errors import MessageError
from collective.filters import Filter, parse
from collective.messages import Reply, Request
from fuzz import Target, refusing
from fuzz.mutations import in_json

REQUEST = messages.encode(
    Request(
        id="0123456789abcdef" * 2,
        collective="testing",
        installation="aws:eu-central-1:123456789012",
        caller="alice@example.com",
        sender="laptop-7",
        agent="package",
        action="install",
        data={"package": "zsh", "more": [1, -2.5, None, {"ä": "✓"}]},
        targets=("web1.my.net", "web2.my.net"),
        filter=parse(["role=web"], ["/^a/"], select="not (a or fstat('/etc/hosts').md5=/^5/ and b>=3)").to_data(),
        time=1789000000.123,
        ttl=60.0,
        timeout=180.0,
        reply_to="testing_reply_alice-0",
        critical=("ttl",),
    )
)
REPLY = messages.encode(
    Reply(
        request="0123456789abcdef" * 2,
        digest="0123456789abcdef" * 4,
        sender="web1.my.net",
        agent="package",
        action="install",
        statuscode=1,
        statusmsg="no",
        data={"ensure": "5.9-4+b15"},
        time=1789000001.456,
        elapsed_ms=912.4,
        reason="denied",
        replayed=True,
    )
)
UNSIGNED = messages.seal(REQUEST, lambda _: None)
LARGE = messages.seal(REPLY.replace("5.9", "5.9" * 2000), lambda _: "U1NIU0lH")


def read(body: str) -> None:
    """Parse a message body as nodes and callers do."""
    with refusing(MessageError):
        content = messages.unseal(body).content
        with refusing(MessageError):
            messages.decode_reply(content)
        Filter.from_data(messages.decode_request(content).filter)


def payload(data: bytes) -> None:
    """Parse a payload in each encoding."""
    text = data.decode("utf-8", errors="replace")
    packed = base64.b64encode(zlib.compress(data, 1)).decode()
    for encoding, carried in (("json", text), ("json+zlib+base64", packed)):
        read(json.dumps({"collective": 2, "encoding": encoding, "payload": carried}))


WORDS = ("collective", "encoding", "json", "json+zlib+base64", "payload", "signature")
ENVELOPE = Target(
    "envelope",
    lambda data: read(data.decode("utf-8", errors="replace")),
    [UNSIGNED.encode(), LARGE.encode()],
    in_json(*WORDS),
)
PAYLOAD = Target("payload", payload, [REQUEST.encode(), REPLY.encode()], in_json(*json.loads(REQUEST), "or", "and"))
