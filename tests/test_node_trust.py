"""Whom a node believes, and how long: its files, its key, and what is sent to it again."""

from __future__ import annotations

import logging
import stat
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from support.node_server import REPLIES, replies, request, settled

from collective import messages
from collective.config import NodeConfig
from collective.errors import ConfigError, SignatureError
from collective.messages import MAX_TTL, Request
from collective.node import trust
from collective.reread import Reread
from collective.signing import allowed_signers, keys, sshsig
from collective.signing.allowed_signers import signer_line
from collective.signing.keys import PrivateKey
from collective.testing import Network, memory_fleet
from collective.transport import Delivery

PAYLOAD = '{"type":"request"}'
ALICE, BOB = keys.new(), keys.new()


def config(folder: Path, **changes: object) -> NodeConfig:
    files = {name: folder / name for name in ("allowed_signers", "revoked_keys", "state")}
    return replace(NodeConfig("testing", "web1"), **files, **changes)  # type: ignore[arg-type]


def signature(key: PrivateKey = ALICE) -> str:
    return sshsig.sign(key, PAYLOAD)


# -- who signed


def test_the_fingerprint_of_who_signed_is_told(tmp_path: Path) -> None:
    """For the audit; the caller's name is what the file says that the key may sign as."""
    (tmp_path / "allowed_signers").write_text(signer_line("alice", ALICE.public))
    verify = trust.verifier(config(tmp_path))
    assert verify(PAYLOAD, signature(), "alice", 0.0) == ALICE.public.fingerprint
    with pytest.raises(SignatureError, match="may not sign as 'bob', but as alice"):
        verify(PAYLOAD, signature(), "bob", 0.0)


@pytest.mark.parametrize("accept_unsigned", [False, True])
def test_what_is_not_signed_needs_a_word_of_the_administrator(tmp_path: Path, accept_unsigned: bool) -> None:
    """And whoever does sign is checked all the same: a wrong signature is no missing one."""
    (tmp_path / "allowed_signers").write_text(signer_line("alice", ALICE.public))
    verify = trust.verifier(config(tmp_path, accept_unsigned=accept_unsigned))
    if accept_unsigned:
        assert verify(PAYLOAD, None, "alice", 0.0) is None
    else:
        with pytest.raises(SignatureError, match="in the name of 'alice' is not signed"):
            verify(PAYLOAD, None, "alice", 0.0)
    with pytest.raises(SignatureError, match="is not among the allowed signers"):
        verify(PAYLOAD, signature(BOB), "alice", 0.0)
    with pytest.raises(SignatureError, match="does not fit"):
        verify(PAYLOAD + " ", signature(), "alice", 0.0)


def test_validity_is_judged_when_the_server_received_the_request(tmp_path: Path) -> None:
    """Not by this machine's clock, nor by the caller's."""
    line = signer_line("alice", ALICE.public).replace("namespaces", 'valid-before="20000101Z",namespaces')
    (tmp_path / "allowed_signers").write_text(line)
    verify = trust.verifier(config(tmp_path))
    assert verify(PAYLOAD, signature(), "alice", 946684800.0)
    with pytest.raises(SignatureError, match="has expired"):
        verify(PAYLOAD, signature(), "alice", 946684801.0)


@pytest.mark.parametrize("form", ["key", "fingerprint", "comment"])
def test_a_revoked_key_counts_no_longer(tmp_path: Path, form: str) -> None:
    """A key or a fingerprint, with whatever behind it; at once, and only this one."""
    (tmp_path / "allowed_signers").write_text(signer_line("alice", ALICE.public) + signer_line("bob", BOB.public))
    verify = trust.verifier(config(tmp_path))
    assert verify(PAYLOAD, signature(), "alice", 0.0)
    public = ALICE.public
    lines = {"key": public.line, "fingerprint": public.fingerprint, "comment": f"{public.fingerprint} lost in a train"}
    (tmp_path / "revoked_keys").write_text(f"# lost\n\n{lines[form]}\n")
    with pytest.raises(SignatureError, match="is revoked"):
        verify(PAYLOAD, signature(), "alice", 0.0)
    assert verify(PAYLOAD, signature(BOB), "bob", 0.0)


# -- files that change


def test_a_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    """Whether it grows, shrinks, or is exchanged within a moment for one of the same size."""
    path = tmp_path / "allowed_signers"
    verify = trust.verifier(config(tmp_path))
    for _ in range(3):
        for name, key, other in (("alice", ALICE, BOB), ("bobby", BOB, ALICE)):
            path.write_text(signer_line(name, key.public))
            assert verify(PAYLOAD, signature(key), name, 0.0)
            with pytest.raises(SignatureError):
                verify(PAYLOAD, signature(other), name, 0.0)
    path.unlink()
    with pytest.raises(SignatureError, match="is not among the allowed signers"):
        verify(PAYLOAD, signature(BOB), "bobby", 0.0)


def test_a_broken_new_version_leaves_the_last_good_one_in_force(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said once, loudly, with the line; when it is put right, it counts."""
    path = tmp_path / "allowed_signers"
    path.write_text(signer_line("alice", ALICE.public))
    verify = trust.verifier(config(tmp_path))
    assert verify(PAYLOAD, signature(), "alice", 0.0)
    path.write_text(f"{signer_line('bob', BOB.public)}alice ssh-ed25519 AAAA%\n")
    for _ in range(2):
        assert verify(PAYLOAD, signature(), "alice", 0.0)
    [broken] = [record for record in caplog.records if record.message == "trust.broken"]
    assert broken.levelno == logging.ERROR
    assert broken.__dict__["error"] == f"{path}:2: no key of ssh-ed25519: not base64"
    assert broken.__dict__["in_force"] == "what the file said before"
    path.write_text(signer_line("bob", BOB.public))
    assert verify(PAYLOAD, signature(BOB), "bob", 0.0)
    with pytest.raises(SignatureError):
        verify(PAYLOAD, signature(), "alice", 0.0)


@pytest.mark.parametrize("name", ["allowed_signers", "revoked_keys"])
def test_a_file_that_was_never_right_lets_nobody_in(tmp_path: Path, name: str) -> None:
    """Who might be revoked is not believed; the daemon serves on, and believes when the file is put right."""
    (tmp_path / "allowed_signers").write_text(signer_line("alice", ALICE.public))
    good = (tmp_path / name).read_text() if name == "allowed_signers" else ""
    for broken in (b"\xff", b"hello\n"):
        (tmp_path / name).write_bytes(broken)
        verify = trust.verifier(config(tmp_path))
        with pytest.raises(SignatureError, match=f"nobody is trusted before .*{name} is put right"):
            verify(PAYLOAD, signature(), "alice", 0.0)
        (tmp_path / name).write_text(good)
        assert verify(PAYLOAD, signature(), "alice", 0.0)


def test_a_file_that_cannot_be_read_is_like_a_broken_one(tmp_path: Path) -> None:
    """A folder in its place leaves in force what it said before."""
    path = tmp_path / "allowed_signers"
    path.write_text(signer_line("alice", ALICE.public))
    reread = Reread(path, allowed_signers.parse)
    assert len(list(reread.value())) == 1
    path.unlink()
    path.mkdir()
    assert len(list(reread.value())) == 1


@pytest.mark.parametrize(
    ("allowed", "revoked", "said"),
    [
        (None, "", "allowed_signers: there is no such file, so nobody is trusted: 'crpc keys trust"),
        ("alice\n", "", "allowed_signers:1: a line has names"),
        ("", "hello\n", "revoked_keys:1: no key: a line has a type"),
        ("", "SHA256:short\n", "revoked_keys:1: no key"),
    ],
)
def test_the_check_names_what_is_wrong_with_the_files(
    tmp_path: Path, allowed: str | None, revoked: str, said: str
) -> None:
    """A line each, with file and line."""
    if allowed is not None:
        (tmp_path / "allowed_signers").write_text(allowed)
    (tmp_path / "revoked_keys").write_text(revoked)
    [error] = trust.problems(config(tmp_path))
    assert said in error
    assert "\n" not in error


# -- the node's own key


def test_the_nodes_key_is_made_once_and_is_its_own(tmp_path: Path) -> None:
    """Nobody else may read it; the next start finds the same; several that make it at once agree on one."""
    with ThreadPoolExecutor(8) as pool:
        found = {key.public for key in pool.map(trust.node_key, [tmp_path / "state"] * 8)}
    assert {trust.node_key(tmp_path / "state").public} == found
    assert stat.S_IMODE((tmp_path / "state" / "node_key").stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["node_key"]


def test_a_nodes_key_that_cannot_serve_is_named(tmp_path: Path) -> None:
    """Readable by others, of another kind, broken, or in a place where nothing can be kept."""
    path = tmp_path / "node_key"
    trust.node_key(tmp_path)
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="others may read it: 'chmod 600"):
        trust.node_key(tmp_path)
    path.chmod(0o600)
    path.write_text("hello")
    with pytest.raises(ConfigError, match="node_key: no private key that can be read"):
        trust.node_key(tmp_path)
    with pytest.raises(ConfigError, match="the node's key cannot be kept: Not a directory: set 'state'"):
        trust.node_key(path / "below")


# -- what is sent again


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    """One node that believes alice."""
    (tmp_path / "allowed_signers").write_text(signer_line("alice", ALICE.public))
    with memory_fleet(tmp_path, {"web1": {}}, verify=trust.verifier(config(tmp_path))) as network:
        network.transport.open_replies(REPLIES)
        yield network


def signed(asked: Request) -> str:
    return messages.seal(messages.encode(asked), sshsig.signing_with(ALICE))


def marking(tmp_path: Path, **changes: object) -> Request:
    return request("shell", "run", caller="alice", data={"command": f"echo x >> {tmp_path}/mark"}, **changes)


@pytest.mark.parametrize("minutes", [0, 1, 4, 10, 60, 119, 121, 60 * 24])
def test_a_replay_after_minutes_does_not_run(network: Network, tmp_path: Path, minutes: int) -> None:
    """As long as a captured message could be fresh its id is known, and long before that is forgotten it is too old."""
    asked = marking(tmp_path, ttl=MAX_TTL)
    now = network.transport.now()
    node = network.nodes["web1"]
    node.pipeline.handle(Delivery(signed(asked), sent=now, received=now, receipt=""))
    assert replies(network)[0].statuscode == 0
    later = now + 60 * minutes
    other = marking(tmp_path / "elsewhere", targets=())
    node.pipeline.handle(
        Delivery(signed(other), sent=later, received=later, receipt="")
    )  # time passes for the journal too
    node.pipeline.handle(Delivery(signed(asked), sent=later, received=later, receipt=""))
    again = replies(network)[0]
    assert again.replayed or again.reason == "expired"
    assert (tmp_path / "mark").read_text() == "x\n"


def test_a_replay_after_a_restart_does_not_run(network: Network, tmp_path: Path) -> None:
    """A daemon that remembers nothing refuses what was signed before it began, whenever it is sent."""
    asked = marking(tmp_path, time=time.time() - 60)
    now = network.transport.now()
    network.nodes["web1"].pipeline.handle(Delivery(signed(asked), sent=now, received=now, receipt=""))
    reply = replies(network)[0]
    assert (reply.statuscode, reply.reason) == (5, "expired")
    assert "before this node's journal began" in reply.statusmsg
    assert not (tmp_path / "mark").exists()


def test_nobody_is_answered_who_is_not_believed(network: Network, tmp_path: Path) -> None:
    """Unauthentic requests are counted, and nothing else; a reply would tell a stranger who listens."""
    asked = marking(tmp_path)
    for body in (messages.seal(messages.encode(asked), lambda _: None), signed(replace(asked, caller="bob"))):
        network.nodes["web1"].pipeline.handle(Delivery(body, sent=time.time(), received=time.time(), receipt=""))
    assert settled(network, "unvalidated", 2) == 2
    assert replies(network, 1, wait=0.3) == []
    assert not (tmp_path / "mark").exists()
    assert not (tmp_path / "web1.audit.jsonl").exists()
