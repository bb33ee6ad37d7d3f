"""A valid request and reply for tests."""

from __future__ import annotations

import json

from collective import messages
from collective.filters import parse
from collective.messages import Reply, Request
from collective.signing import unsigned

REQUEST = Request(
    id="0123456789abcdef" * 2,
    collective="production",
    installation="aws:eu-central-1:123456789012",
    caller="alice@example.com",
    sender="laptop-7",
    agent="package",
    action="install",
    data={"package": "zsh"},
    targets=("web1.my.net",),
    filter=parse(with_fact=["role=web"]).to_data(),
    time=1789000000.123,
    ttl=60.0,
    timeout=180.0,
    reply_to="production_reply_alice-0",
)


def request_digest(request: Request) -> str:
    """Return the digest of a request as its caller seals it, without checking the request."""
    payload = json.dumps({"type": "request", **vars(request)}, separators=(",", ":"))
    return messages.sealed(payload, unsigned).digest


REPLY = Reply(
    request=REQUEST.id,
    digest=request_digest(REQUEST),
    sender="web1.my.net",
    agent="package",
    action="install",
    statuscode=0,
    statusmsg="OK",
    data={"ensure": "5.9-4+b15"},
    time=1789000001.456,
    elapsed_ms=912.4,
)
