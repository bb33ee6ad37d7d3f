"""Load what a call needs, without a request and without the settings of a caller."""

from __future__ import annotations

from collective import messages
from collective.config import ClientConfig
from collective.signing import unsigned

_NOWHERE = "http://127.0.0.1:9"


def rehearse() -> None:
    """Import what a call imports, and fill the caches of botocore, schemas and patterns. Nothing is connected."""
    from collective.aws.core_session import make_spare
    from collective.aws.session import AWS
    from collective.registry import dynamodb  # noqa: F401
    from collective.transport import sqs  # noqa: F401

    aws = AWS.of(ClientConfig("rehearsal", region="us-east-1", endpoint=_NOWHERE))
    for service in ("sqs", "sns", "dynamodb"):
        aws.client(service)
    make_spare()
    reply = messages.Reply("0" * 32, "0" * 64, "node", "agent", "action", 0, "OK", {}, 0.0, 0.0)
    messages.decode_reply(messages.unseal(messages.seal(messages.encode(reply), unsigned)).content)
    request = messages.Request(
        "0" * 32, "c", "aws:region:0", "a@b", "host", "agent", "action", {}, ("node",), {}, 0.0, 1.0, 1.0, "queue"
    )
    messages.encode(request)
