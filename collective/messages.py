"""Requests and replies: values in the program, signed JSON on the wire.

    Request ─ encode ─► payload text ─ seal(sign) ─► body        an SQS message
    Request ◄ decode ── payload text ◄── unseal ──── body

The signature covers the payload text exactly as it is sent; nothing is serialized again before verification. The digest
of that text identifies the request: a reply is signed with it, and a node's journal and audit log record it.
Encoding and decoding both check against `schemas/*.json` and raise MessageError.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import secrets
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from collective import bounded_json, schemas
from collective.errors import MessageError, WrongVersion
from collective.quick_check import certainly_valid

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError

VERSION = 2  # of the envelope and of what a signature covers
SINCE = "0.2.0"  # the first version of collective that uses it
COMPRESS_ABOVE = 4096  # bytes; SQS bills per 64 KB, so compressing small messages saves nothing
MAX_PAYLOAD = 16 * 1024 * 1024  # bytes, after decompression
MAX_SKEW = 300.0  # seconds between a request's `time` and the clock of SQS
MAX_TTL = 3600.0  # seconds; journals keep request ids longer than this
MAX_DELAY = 2592000.0  # seconds, 30 days: for the start of a job, and for keeping its result
APPROVAL_VALID = 86400.0  # seconds, a day: the longest time until an approval expires

SignPayload = Callable[[str], "str | None"]


@dataclass(frozen=True)
class Request:
    """A request to run one action on the nodes that match both `targets` (None: all) and `filter`.

    `installation` is the account and region, so that collectives of the same name elsewhere refuse the request.
    `time` is in Unix seconds by the caller's clock. `ttl` is how many seconds the request can still be started,
    `timeout` how many seconds the caller waits for the reply, queueing included. `run` is the same for all requests of
    a call, the waves of a rollout: the id of the first one. With `dry_run` the action must only report what it would
    change; such a request names `dry_run` in `critical`, so that older nodes refuse it. `demanded` is the version of
    the agent that the node must have, such as `>=1.2`; it is critical as well.

    With a `job` the node runs the action in the background: `start` is the time from when it may begin in Unix seconds
    by the server's clock (None: `delay` seconds after the request was sent), `splay` the longest random delay after
    that, `grace` how late it may begin, and `keep` how long its result is kept, in seconds. It is in `critical`,
    because a node that does not know it must not run the action at once.

    `reason` is why the caller sends it, `total` the number of nodes of the whole call; a policy can limit both.
    `approvals` are the document that other callers have signed, and their signatures.
    """

    id: str
    collective: str
    installation: str
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
    run: str | None = None
    dry_run: bool = False
    job: Mapping[str, Any] | None = None
    reason: str | None = None
    total: int | None = None
    approvals: Mapping[str, Any] | None = None
    demanded: str = ""


@dataclass(frozen=True)
class Reply:
    """The reply of one node to the request with the id `request` and the payload digest `digest`.

    `reason` is a machine-readable word, set when the framework refused the request.
    """

    request: str
    digest: str
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
        """Whether the action succeeded."""
        return self.statuscode == 0


@dataclass(frozen=True)
class Envelope:
    """A message body in parts: the payload as signed, the signature, and the decoded payload."""

    payload: str
    signature: str | None
    content: Mapping[str, Any] = field(repr=False)

    @property
    def digest(self) -> str:
        """The digest of the payload as signed."""
        return digest(self.payload)


@dataclass(frozen=True)
class Sealed:
    """A message ready to be sent, and the digest of its payload."""

    body: str
    digest: str


def new_id() -> str:
    """Return a new unique request id: 32 hexadecimal digits."""
    return secrets.token_hex(16)


def digest(payload: str) -> str:
    """Return what identifies a payload, as it is signed: its SHA-256 in hexadecimal digits."""
    return hashlib.sha256(payload.encode("utf-8", "surrogatepass")).hexdigest()


def encode(message: Request | Reply) -> str:
    """Return the payload of a message as ASCII JSON; raise MessageError if the receiver would refuse it."""
    kind = "request" if isinstance(message, Request) else "reply"
    try:
        text = json.dumps({"type": kind, **asdict(message)}, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise MessageError(f"{kind}: cannot be encoded as JSON: {error}") from None
    _check(bounded_json.parse(text, kind), kind)
    return text


def seal(payload: str, sign: SignPayload, version: int = VERSION) -> str:
    """Return the message body for `payload`: compressed if it is large, and signed."""
    return sealed(payload, sign, version).body


def sealed(payload: str, sign: SignPayload, version: int = VERSION) -> Sealed:
    """Return the message body for `payload`, and the digest of the text that was signed."""
    encoding = "json"
    if len(payload) > COMPRESS_ABOVE:
        encoding = "json+zlib+base64"
        payload = base64.b64encode(zlib.compress(payload.encode("ascii"))).decode("ascii")
    body = {"collective": version, "encoding": encoding, "payload": payload, "signature": sign(payload)}
    return Sealed(json.dumps(body, separators=(",", ":")), digest(payload))


def unseal(body: str, version: int = VERSION) -> Envelope:
    """Return the parts of a message body; raise MessageError if it is invalid, WrongVersion for another version."""
    outer = bounded_json.parse(body, "envelope")
    _check(outer, "envelope")
    if outer["collective"] != version:
        raise WrongVersion(outer["collective"], version)
    payload = outer["payload"]
    text = payload if outer["encoding"] == "json" else _decompress(payload)
    if not text.isascii():
        raise MessageError("payload: not ASCII")
    return Envelope(payload, outer.get("signature"), bounded_json.parse(text, "payload"))


def decode_request(content: Mapping[str, Any]) -> Request:
    """Decode a payload as a request; raise MessageError if it is invalid or needs a newer version."""
    _check(content, "request")
    known = {name: content[name] for name in Request.__dataclass_fields__ if name in content}
    for name in content.get("critical", ()):
        if name not in known:
            raise MessageError(f"request: unknown critical member '{name}' (it needs a newer version)")
    targets = content["targets"]
    known["targets"] = None if targets is None else tuple(targets)
    known["critical"] = tuple(content.get("critical", ()))
    return Request(**known)


def decode_reply(content: Mapping[str, Any]) -> Reply:
    """Decode a payload as a reply; raise MessageError if it is invalid."""
    _check(content, "reply")
    return Reply(**{name: content[name] for name in Reply.__dataclass_fields__ if name in content})


def _decompress(payload: str) -> str:
    try:
        packed = base64.b64decode(payload, validate=True)
        unpacker = zlib.decompressobj()
        text = unpacker.decompress(packed, MAX_PAYLOAD)
    except (binascii.Error, ValueError, zlib.error) as error:
        raise MessageError(f"payload: cannot be decompressed: {error}") from None
    if unpacker.unconsumed_tail:
        raise MessageError(f"payload: more than {MAX_PAYLOAD} bytes when decompressed")
    if not unpacker.eof:
        raise MessageError("payload: cannot be decompressed: truncated")
    try:
        return text.decode("ascii")
    except UnicodeDecodeError:
        raise MessageError("payload: not ASCII") from None


def _check(content: Any, schema: str) -> None:
    if certainly_valid(schemas.load(schema), content):
        return
    from jsonschema.exceptions import best_match  # takes 50 ms, which a valid message does not need

    error = best_match(_validator(schema).iter_errors(content))
    if error is not None:
        message = error.message if len(error.message) <= 200 else error.message[:200] + "…"
        raise MessageError(f"{schema}: {error.json_path}: {message}")


def _items(validator: Any, schema: Mapping[str, Any], entries: Any, _parent: Any) -> Iterator[ValidationError]:
    """Check a list of strings; only the first invalid entry is passed to jsonschema, which takes 10 µs for each.

    A small compressed message can hold very many entries, and it is checked before its signature.
    """
    if isinstance(entries, list):
        shortest, longest = schema.get("minLength", 0), schema.get("maxLength", MAX_PAYLOAD)
        for index, entry in enumerate(entries):
            if not (isinstance(entry, str) and shortest <= len(entry) <= longest):
                yield from validator.descend(entry, schema, path=index)
                return


@cache
def _validator(schema: str) -> Draft202012Validator:
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    extended: Any = extend(Draft202012Validator, {"items": _items})  # type: ignore[no-untyped-call]
    made: Draft202012Validator = extended(schemas.load(schema))
    return made
