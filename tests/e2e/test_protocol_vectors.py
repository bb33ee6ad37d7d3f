"""The test vectors of the wire protocol, checked without this package: by its documentation, hashlib and ssh-keygen."""

from __future__ import annotations

import base64
import hashlib
import json
import textwrap
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.ssh import ssh_keygen

FOLDER = Path(__file__).parents[1] / "cases" / "protocol"
KEYS = json.loads((FOLDER / "keys.json").read_text())["keys"]
CASES = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json")) if path.stem != "keys"}
INSTALLATION = "aws:eu-central-1:123456789012"
UNDERSTOOD = set(
    "type id collective installation caller sender agent action data targets filter time ttl timeout reply_to".split()
)


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object; raise ValueError for a repeated key."""
    if len(dict(pairs)) < len(pairs):
        raise ValueError
    return dict(pairs)


def opened(body: str) -> tuple[dict[str, Any], str, str | None]:
    """Return content, payload and signature of an envelope; raise ValueError or KeyError for one that is refused."""
    envelope = json.loads(body, object_pairs_hook=unique)
    payload, encoding = envelope["payload"], envelope["encoding"]
    if envelope["collective"] != 2 or encoding not in ("json", "json+zlib+base64"):
        raise ValueError
    text = payload if encoding == "json" else zlib.decompress(base64.b64decode(payload)).decode()
    return json.loads(text, object_pairs_hook=unique), payload, envelope["signature"]


def signed(folder: Path, name: str, names: tuple[str, ...], payload: str, signature: str | None) -> bool:
    """Return whether the key of `name`, one of `names`, has signed a payload, according to ssh-keygen."""
    if signature is None or name not in names:
        return False
    (folder / "signers").write_text("".join(f"{one} {KEYS[one]['public']}\n" for one in names))
    lines = "\n".join(textwrap.wrap(signature, 70))
    (folder / "sig").write_text(f"-----BEGIN SSH SIGNATURE-----\n{lines}\n-----END SSH SIGNATURE-----\n")
    words: list[str | Path] = [
        "-Y",
        "verify",
        "-f",
        folder / "signers",
        "-I",
        name,
        "-n",
        "collective",
        "-s",
        folder / "sig",
    ]
    return ssh_keygen(*words, stdin=payload).returncode == 0


def node(folder: Path, case: dict[str, Any]) -> str:
    """Return what a node makes of the last delivery, by docs/reference/protocol.md."""
    known: dict[str, tuple[str, str]] = {}
    verdict = ""
    for delivery in case["deliveries"]:
        verdict = received(folder, delivery, case["began"], known)
    return verdict


def received(folder: Path, delivery: dict[str, Any], began: float, known: dict[str, tuple[str, str]]) -> str:
    """Return what a node makes of a delivery; `known` has caller and digest of each request that it has recorded."""
    try:
        request, payload, signature = opened(delivery["body"])
        here = request["collective"] == "testing" and request["installation"] == INSTALLATION
        here = here and request["reply_to"].startswith("testing_reply_")
        critical = set(request["critical"]) <= UNDERSTOOD
    except (ValueError, KeyError):
        return "unvalidated"
    if not (here and critical and signed(folder, request["caller"], ("alice", "bob"), payload, signature)):
        return "unvalidated"
    same = (request["caller"], hashlib.sha256(payload.encode()).hexdigest())
    if request["id"] in known:
        return "duplicates" if known[request["id"]] == same else "reused"
    if request["targets"] is not None and "web1" not in request["targets"]:
        return "elsewhere"
    known[request["id"]] = same
    sent, now, time, ttl = delivery["sent"], delivery["received"], request["time"], request["ttl"]
    fresh = now - sent <= ttl and abs(time - sent) <= 300 and now <= time + ttl + 300 and min(sent, time) >= began
    return "passed" if fresh else "expired"


def caller(folder: Path, case: dict[str, Any]) -> str:
    """Return what a caller makes of a reply."""
    try:
        reply, payload, signature = opened(case["body"])
        found = {name: reply[name] for name in ("digest", "agent", "action")}
    except (ValueError, KeyError):
        return "unreadable"
    if reply["request"] != case["request"]["id"]:
        return "ignored"
    genuine = signed(folder, reply["sender"], ("web1", "web2"), payload, signature)
    return "accepted" if genuine and all(found[name] == case["request"][name] for name in found) else "rejected"


@pytest.mark.parametrize("name", CASES)
def test_a_second_implementation_agrees(tmp_path: Path, needs: Callable[[str, str], None], name: str) -> None:
    """The documented rules are enough to reach the verdict and the digest of every vector."""
    needs("ssh-keygen", "openssh-client")
    case = CASES[name]
    assert (node if case["kind"] == "request" else caller)(tmp_path, case) == case["verdict"]
    if "digest" in case:
        payload = json.loads(case["deliveries"][-1]["body"])["payload"]
        assert hashlib.sha256(payload.encode()).hexdigest() == case["digest"]
