"""Import and load what calls need, before the first fork. Nothing is connected: each child has its own connections."""

from __future__ import annotations

import gc
import importlib
import pkgutil

_PACKAGES = (
    *("aws", "clients", "clients.apps", "clients.render", "clients.commands", "filters"),
    *("fleet", "fleet.runs", "registry", "signing", "transport"),
)
_OTHERS = ("collective.yaml_file", "encodings.ascii", "encodings.idna", "getpass", "queue", "termios")


def load() -> None:
    """Import the modules, and make a client of each service, so that what botocore loads for them is in memory."""
    for package in _PACKAGES:
        path = importlib.import_module(f"collective.{package}").__path__
        for module in pkgutil.iter_modules(path, f"collective.{package}."):
            importlib.import_module(module.name)
    for name in _OTHERS:
        importlib.import_module(name)
    _rehearse()
    gc.collect()
    gc.freeze()  # a collection in a child would otherwise copy every page


def _rehearse() -> None:
    from collective import messages
    from collective.aws.session import AWS
    from collective.config import ClientConfig
    from collective.signing import unsigned

    aws = AWS.of(ClientConfig("rehearsal", region="us-east-1", endpoint="http://127.0.0.1:9"))
    for service in ("sqs", "sns", "dynamodb"):
        aws.client(service)
    reply = messages.Reply("0" * 32, "0" * 64, "node", "agent", "action", 0, "OK", {}, 0.0, 0.0)
    messages.decode_reply(messages.unseal(messages.seal(messages.encode(reply), unsigned)).content)
    request = messages.Request(
        "0" * 32, "c", "aws:region:0", "a@b", "host", "agent", "action", {}, ("node",), {}, 0.0, 1.0, 1.0, "queue"
    )
    messages.encode(request)
