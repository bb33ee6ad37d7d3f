"""Requests and replies, and how they travel: values here, JSON text on the wire.

    Request ─ encode ─► payload text ─ seal(sign) ─► body        what SQS carries
    Request ◄ decode ── payload text ◄── unseal ──── body

What is signed is the payload text exactly as it travels; nothing is re-serialised before it is checked.
Both directions refuse what `schemas/*.json` does not allow: MessageError says what is wrong.
"""

from __future__ import annotations

import base64
import binascii
import json
import secrets
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match
from jsonschema.validators import extend

from collective import bounded_json, schemas
from collective.errors import MessageError

VERSION = 1
COMPRESS_ABOVE = 4096  # bytes; SQS bills per 64 KB, and a small message gains nothing
LARGEST_PAYLOAD = 16 * 1024 * 1024  # bytes, after decompression
MAX_SKEW = 300.0  # seconds between a request's own time and the server's
MAX_TTL = 3600.0  # seconds; journals remember ids for longer than this

SignPayload = Callable[[str], "str | None"]


@dataclass(frozen=True)
class Request:
    """One action asked of the nodes that both `targets` (null: all) and `filter` name.

    `time` is Unix seconds by the caller's clock; `ttl` and `timeout` are seconds: how long the request may
    still be started, and how long its caller waits for the reply, queueing included.
    """

    id: str
    collective: str
    caller: str
    sender: str
    agent: str
    action: str
    data: Mapping[str, Any]
    targets: tuple[str, ...] | None
    filter: Mapping[str, Any]
    time: float
    ttl: float
    timeout: float
    reply_to: str
    critical: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reply:
    """What one node answers. `reason` is a word for programs when the framework itself refused."""

    request: str
    sender: str
    agent: str
    action: str
    statuscode: int
    statusmsg: str
    data: Mapping[str, Any]
    time: float
    elapsed_ms: float
    reason: str | None = None
    replayed: bool = False

    @property
    def ok(self) -> bool:
        """Whether the action did what was asked."""
        return self.statuscode == 0


@dataclass(frozen=True)
class Envelope:
    """A message body taken apart: the payload as it was signed, the signature, and what the payload says."""

    payload: str
    signature: str | None
    content: Mapping[str, Any] = field(repr=False)


def new_id() -> str:
    """Return a request id that nobody has used: 32 hexadecimal digits."""
    return secrets.token_hex(16)


def encode(message: Request | Reply) -> str:
    """Return the payload text of a message: ASCII JSON. Raise MessageError for what the other side would refuse."""
    kind = "request" if isinstance(message, Request) else "reply"
    try:
        text = json.dumps({"type": kind, **asdict(message)}, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise MessageError(f"{kind}: cannot be written as JSON: {error}") from None
    _check(bounded_json.parse(text, kind), kind)
    return text


def seal(payload: str, sign: SignPayload) -> str:
    """Return the message body that carries `payload`, compressed when that saves something, and signed."""
    encoding = "json"
    if len(payload) > COMPRESS_ABOVE:
        encoding = "json+zlib+base64"
        payload = base64.b64encode(zlib.compress(payload.encode("ascii"))).decode("ascii")
    body = {"collective": VERSION, "encoding": encoding, "payload": payload, "signature": sign(payload)}
    return json.dumps(body, separators=(",", ":"))


def unseal(body: str) -> Envelope:
    """Take a message body apart; raise MessageError when it is not one of ours."""
    outer = bounded_json.parse(body, "envelope")
    _check(outer, "envelope")
    payload = outer["payload"]
    text = payload if outer["encoding"] == "json" else _decompress(payload)
    if not text.isascii():
        raise MessageError("payload: not ASCII")
    return Envelope(payload, outer.get("signature"), bounded_json.parse(text, "payload"))


def decode_request(content: Mapping[str, Any]) -> Request:
    """Read a payload as a request; raise MessageError when it is none, or asks for more than this version knows."""
    _check(content, "request")
    known = {name: content[name] for name in Request.__dataclass_fields__ if name in content}
    for name in content.get("critical", ()):
        if name not in known:
            raise MessageError(f"request: '{name}' is critical, and this version does not know it")
    targets = content["targets"]
    known["targets"] = None if targets is None else tuple(targets)
    known["critical"] = tuple(content.get("critical", ()))
    return Request(**known)


def decode_reply(content: Mapping[str, Any]) -> Reply:
    """Read a payload as a reply; raise MessageError when it is none."""
    _check(content, "reply")
    return Reply(**{name: content[name] for name in Reply.__dataclass_fields__ if name in content})


def _decompress(payload: str) -> str:
    try:
        packed = base64.b64decode(payload, validate=True)
        unpacker = zlib.decompressobj()
        text = unpacker.decompress(packed, LARGEST_PAYLOAD)
    except (binascii.Error, ValueError, zlib.error) as error:
        raise MessageError(f"payload: cannot be decompressed: {error}") from None
    if unpacker.unconsumed_tail:
        raise MessageError(f"payload: more than {LARGEST_PAYLOAD} bytes when decompressed")
    if not unpacker.eof:
        raise MessageError("payload: cannot be decompressed: it is cut short")
    try:
        return text.decode("ascii")
    except UnicodeDecodeError:
        raise MessageError("payload: not ASCII") from None


def _check(content: Any, schema: str) -> None:
    error = best_match(_validator(schema).iter_errors(content))
    if error is not None:
        said = error.message if len(error.message) <= 200 else error.message[:200] + "…"
        raise MessageError(f"{schema}: {error.json_path}: {said}")


def _items(validator: Any, schema: Mapping[str, Any], texts: Any, _whole: Any) -> Iterator[ValidationError]:
    """Check a list; of its texts only the first that is wrong is given to jsonschema, which takes 10 µs for each.

    A small message may unpack to very many, and this is done before anybody knows who sent it.
    """
    if isinstance(texts, list):
        shortest, longest = schema.get("minLength", 0), schema.get("maxLength", LARGEST_PAYLOAD)
        for place, text in enumerate(texts):
            if not (isinstance(text, str) and shortest <= len(text) <= longest):
                yield from validator.descend(text, schema, path=place)
                return


_Validator: Any = extend(Draft202012Validator, {"items": _items})  # type: ignore[no-untyped-call]


@cache
def _validator(schema: str) -> Draft202012Validator:
    made: Draft202012Validator = _Validator(schemas.load(schema))
    return made
