"""Measure signing and verification on one core."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from collective import messages
from collective.config import NodeConfig
from collective.fleet.known_nodes import IntroducedNodes, KnownNodes
from collective.messages import Reply
from collective.node.trust import verifier
from collective.registry import NodeRecord
from collective.registry.memory import MemoryRegistry
from collective.signing import keys, sshsig
from collective.signing.allowed_signers import signer_line

SIGNERS = 100  # lines in allowed_signers
MANY = 10_000  # known nodes
SECONDS = 1.0  # for which each step is repeated


def figures() -> Iterator[tuple[str, str]]:
    """Yield the name and the value of each measurement."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        key = keys.new()
        lines = [signer_line(f"caller{number}", keys.new().public) for number in range(SIGNERS - 1)]
        (folder / "allowed_signers").write_text("".join([*lines, signer_line("alice", key.public)]))
        verify = verifier(
            replace(
                NodeConfig("bench", "web1"),
                allowed_signers=folder / "allowed_signers",
                revoked_keys=folder / "revoked_keys",
            )
        )
        payload = json.dumps({"filler": "x" * 700})  # the size of a request
        signature = sshsig.sign(key, payload)
        yield "signatures created", _rate(lambda: sshsig.sign(key, payload))
        yield (
            f"requests verified by a node, {SIGNERS} allowed signers",
            _rate(lambda: verify(payload, signature, "alice", 0)),
        )
        reply = Reply("0" * 32, "0" * 64, "web1", "rpcutil", "ping", 0, "OK", {"pong": 1.0}, 1.0, 1.0)
        envelope = messages.unseal(messages.seal(messages.encode(reply), sshsig.signing_with(key)))
        known = KnownNodes(folder / "one", "bench")
        yield "replies verified by a caller", _rate(lambda: known.verify(reply, envelope))
        registry = MemoryRegistry()
        for number in range(MANY):
            registry.put(NodeRecord(f"node{number}", "1", public_key=keys.new().public.line))
        introduced = IntroducedNodes(registry, KnownNodes(folder / "many", "bench"))
        yield f"{MANY} new nodes remembered", _took(introduced.read)
        yield f"{MANY} known nodes read", _took(lambda: KnownNodes(folder / "many", "bench"))


def _rate(step: Callable[[], object]) -> str:
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < SECONDS:
        step()
        done += 1
    return f"{done / (time.perf_counter() - began):.0f} per second"


def _took(step: Callable[[], object]) -> str:
    began = time.perf_counter()
    step()
    return f"{(time.perf_counter() - began) * 1000:.0f} ms"
