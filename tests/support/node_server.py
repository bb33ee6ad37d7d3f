"""Send requests to one node in memory, and receive its replies."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from collective import messages, names
from collective.filters import parse
from collective.messages import Reply, Request
from collective.testing import COLLECTIVE, Network
from collective.transport.memory import INSTALLATION
from support.waiting import wait_until

REPLIES = names.reply_queue(COLLECTIVE, "test-0")


CODE = """
import time
from collective.agent import action

@action
def sleep(seconds):
    time.sleep(seconds)
    return {"slept": seconds}

@action
def lie():
    return {"number": "seven"}

@action
def extra():
    return {"number": 7, "nubmer": 8}

@action
def deep():
    value = "x"
    for _ in range(200):
        value = [value]
    return {"text": value}

@action
def large(size):
    import random
    return {"text": random.randbytes(size).hex()}

@action
def login(password, user):
    if user == "crash":
        raise RuntimeError(f"cannot log in with {password!r}")
    if user == "print":
        print(password)
    if user == "exit":
        raise SystemExit(password)
    return {"token": password + user}
"""


NUMBER = {"type": "number"}


TEXT = {"type": "string"}


def described(inputs: dict[str, Any], outputs: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "description": "For the test",
        "input": {"type": "object", "required": list(inputs), "properties": inputs},
        "output": {"type": "object", "properties": outputs},
        **more,
    }


DDL = {
    "metadata": {"name": "odd", "description": "Odd things", "version": "1", "timeout": 10},
    "actions": {
        "sleep": described({"seconds": NUMBER}, {"slept": NUMBER}, timeout=20.0),
        "lie": described({}, {"number": NUMBER}),
        "extra": described({}, {"number": NUMBER}),
        "deep": described({}, {"text": {}}),
        "large": described({"size": {"type": "integer"}}, {"text": TEXT}),
        "login": described(
            {"password": {**TEXT, "writeOnly": True}, "user": TEXT}, {"token": {**TEXT, "writeOnly": True}}
        ),
    },
}


def request(agent: str = "rpcutil", action: str = "ping", **changes: Any) -> Request:
    """Return a request as a caller would make it, with `changes`."""
    plain = Request(
        id=messages.new_id(),
        collective=COLLECTIVE,
        installation=INSTALLATION,
        caller="alice@example.com",
        sender="laptop",
        agent=agent,
        action=action,
        data={},
        targets=("web1",),
        filter=parse().to_data(),
        time=time.time(),
        ttl=60,
        timeout=10,
        reply_to=REPLIES,
    )
    return replace(plain, **changes)


def body(message: Request) -> str:
    return messages.seal(messages.encode(message), lambda _: None)


def digest_of(message: Request) -> str:
    """Return the digest of the message that `body` returns."""
    return messages.unseal(body(message)).digest


def send(network: Network, *sent: Request | str) -> None:
    for one in sent:
        network.transport.send(names.node_queue(COLLECTIVE, "web1"), one if isinstance(one, str) else body(one))


def replies(network: Network, count: int = 1, wait: float = 40.0) -> list[Reply]:
    """Receive `count` replies, or fewer if no more arrive within `wait` seconds."""
    found: list[Reply] = []
    until = time.monotonic() + wait
    while len(found) < count and time.monotonic() < until:
        batch = network.transport.receive(REPLIES, 0.2)
        network.transport.acknowledge(REPLIES, batch)
        found += [messages.decode_reply(messages.unseal(delivery.body).content) for delivery in batch]
    return found


def call_node(network: Network, message: Request) -> Reply:
    send(network, message)
    return replies(network)[0]


def audit(tmp_path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (tmp_path / "web1.audit.jsonl").read_text().splitlines()]


def settled(network: Network, name: str, count: int) -> int:
    """Wait until a counter of the node has reached `count`, and return its value."""
    requests = network.nodes["web1"].statistics.requests
    wait_until(lambda: requests[name] >= count, 10, lambda: f"{name}: {requests[name]} of {count}")
    return requests[name]
