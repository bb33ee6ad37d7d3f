"""The test vectors of the wire protocol in tests/cases/protocol, which other implementations can use too."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from collective import messages
from collective.config import NodeConfig
from collective.errors import MessageError, SignatureError
from collective.fleet.known_nodes import KnownNodes
from collective.fleet.sent_requests import SentRequest
from collective.node import trust
from collective.node.requests.reasons import COUNTERS
from collective.signing import sshsig
from collective.signing.allowed_signers import signer_line
from collective.signing.key_files import load
from collective.signing.keys import PublicKey
from collective.testing.nodes import make_node, node_parts
from collective.transport import Delivery
from collective.transport.memory import MemoryTransport

FOLDER = Path(__file__).parent / "cases" / "protocol"
CASES = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json")) if path.stem != "keys"}
KEYS: dict[str, dict[str, str]] = json.loads((FOLDER / "keys.json").read_text())["keys"]


class Frankfurt(MemoryTransport):
    """A transport in memory that is in the account and region of the cases; `time` is the server's time."""

    time = 0.0

    @property
    def installation(self) -> str:
        """Return the installation of the cases."""
        return "aws:eu-central-1:123456789012"

    def now(self) -> float:
        """Return the server's time."""
        return self.time


def cases(kind: str) -> list[str]:
    return [name for name, case in CASES.items() if case["kind"] == kind]


def verdicts(folder: Path, case: Mapping[str, Any]) -> list[str]:
    """Return what a node counts each delivery of a case as."""
    lines = [signer_line(name, PublicKey.from_line(KEYS[name]["public"])) for name in ("alice", "bob")]
    (folder / "allowed_signers").write_text("".join(lines))
    config = NodeConfig("testing", "web1", allowed_signers=folder / "allowed_signers", revoked_keys=folder / "none")
    transport = Frankfurt()
    transport.time = case["began"]
    node = make_node(folder, "web1", transport, {}, {**node_parts(folder), "verify": trust.verifier(config)})
    node.open()
    found = []
    for one in case["deliveries"]:
        before = node.statistics.requests.read()
        transport.time = one["received"]
        node.pipeline.handle(Delivery(one["body"], one["sent"], one["received"], ""))
        after = node.statistics.requests.read()
        found += [name for name in COUNTERS if after.get((name,), 0) > before.get((name,), 0)]
    node.stop(5.0)
    return found


@pytest.mark.parametrize("name", cases("request"))
def test_a_node_decides_on_a_request_as_the_case_says(tmp_path: Path, name: str) -> None:
    """The verdict is about the last delivery; those before it are accepted."""
    case = CASES[name]
    expected = ["passed"] * (len(case["deliveries"]) - 1) + [case["verdict"]]
    assert verdicts(tmp_path, case) == expected
    payload = json.loads(case["deliveries"][-1]["body"])["payload"]
    assert messages.digest(payload) == case["digest"]


def judge(folder: Path, case: Mapping[str, Any]) -> str:
    """Return what a caller that knows the keys of web1 and web2 makes of a reply."""
    known = KnownNodes(folder, "testing")
    for name in ("web1", "web2"):
        known.trust(name, PublicKey.from_line(KEYS[name]["public"]))
    try:
        envelope = messages.unseal(case["body"])
        reply = messages.decode_reply(envelope.content)
    except MessageError:
        return "unreadable"
    request = case["request"]
    if reply.request != request["id"]:
        return "ignored"
    try:
        known.verify(reply, envelope)
    except SignatureError:
        return "rejected"
    sent = SentRequest(request["digest"], request["agent"], request["action"], frozenset({"web1"}))
    return "rejected" if sent.mismatch(reply) else "accepted"


@pytest.mark.parametrize("name", cases("reply"))
def test_a_caller_judges_a_reply_as_the_case_says(tmp_path: Path, name: str) -> None:
    """The caller sent the request with this id, digest, agent and action."""
    assert judge(tmp_path, CASES[name]) == CASES[name]["verdict"]


@pytest.mark.parametrize("name", ["request-valid", "request-compressed", "request-other-target", "reply-valid"])
def test_the_signatures_can_be_made_again_from_the_keys(tmp_path: Path, name: str) -> None:
    """Ed25519 signatures are deterministic, so another implementation can compare its own."""
    case = CASES[name]
    body = json.loads(case["body"] if case["kind"] == "reply" else case["deliveries"][-1]["body"])
    path = tmp_path / "key"
    path.write_text(KEYS["web1" if case["kind"] == "reply" else "alice"]["private"])
    path.chmod(0o600)
    assert sshsig.sign(load(path), body["payload"]) == body["signature"]
