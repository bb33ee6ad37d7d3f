"""The signers that a node trusts, its own key, and replayed requests."""

from __future__ import annotations

import itertools
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
from collective.reread import NoValidVersion, ReloadedFile, ReloadEvents
from collective.signing import allowed_signers, keys, sshsig
from collective.signing.allowed_signers import AllowedSigners, signer_line
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


def test_the_fingerprint_of_the_signing_key_is_returned(tmp_path: Path) -> None:
    """A key may sign only for the caller names in its line of the file."""
    (tmp_path / "allowed_signers").write_text(signer_line("alice", ALICE.public))
    verify = trust.verifier(config(tmp_path))
    assert verify(PAYLOAD, signature(), "alice", 0.0) == ALICE.public.fingerprint
    with pytest.raises(SignatureError, match=r"may not sign as 'bob' \(allowed: alice\)"):
        verify(PAYLOAD, signature(), "bob", 0.0)


@pytest.mark.parametrize("accept_unsigned", [False, True])
def test_unsigned_requests_are_accepted_only_with_accept_unsigned(tmp_path: Path, accept_unsigned: bool) -> None:
    """A wrong signature is rejected in either case."""
    (tmp_path / "allowed_signers").write_text(signer_line("alice", ALICE.public))
    verify = trust.verifier(config(tmp_path, accept_unsigned=accept_unsigned))
    if accept_unsigned:
        assert verify(PAYLOAD, None, "alice", 0.0) is None
    else:
        with pytest.raises(SignatureError, match="the request of 'alice' is not signed"):
            verify(PAYLOAD, None, "alice", 0.0)
    with pytest.raises(SignatureError, match="is not in the allowed signers"):
        verify(PAYLOAD, signature(BOB), "alice", 0.0)
    with pytest.raises(SignatureError, match="is not valid"):
        verify(PAYLOAD + " ", signature(), "alice", 0.0)


def test_a_key_must_be_valid_when_the_server_received_the_request(tmp_path: Path) -> None:
    """The clocks of the node and of the caller do not matter."""
    line = signer_line("alice", ALICE.public).replace("namespaces", 'valid-before="20000101Z",namespaces')
    (tmp_path / "allowed_signers").write_text(line)
    verify = trust.verifier(config(tmp_path))
    assert verify(PAYLOAD, signature(), "alice", 946684800.0)
    with pytest.raises(SignatureError, match="has expired"):
        verify(PAYLOAD, signature(), "alice", 946684801.0)


@pytest.mark.parametrize("form", ["key", "fingerprint", "comment"])
def test_a_revoked_key_is_rejected(tmp_path: Path, form: str) -> None:
    """A line with a key or fingerprint, and an optional comment, revokes that key immediately."""
    (tmp_path / "allowed_signers").write_text(signer_line("alice", ALICE.public) + signer_line("bob", BOB.public))
    verify = trust.verifier(config(tmp_path))
    assert verify(PAYLOAD, signature(), "alice", 0.0)
    public = ALICE.public
    lines = {"key": public.line, "fingerprint": public.fingerprint, "comment": f"{public.fingerprint} lost phone"}
    (tmp_path / "revoked_keys").write_text(f"# lost\n\n{lines[form]}\n")
    with pytest.raises(SignatureError, match="is revoked"):
        verify(PAYLOAD, signature(), "alice", 0.0)
    assert verify(PAYLOAD, signature(BOB), "bob", 0.0)


# -- files that change


def test_a_changed_file_is_loaded(tmp_path: Path) -> None:
    """A change is detected whether the size changes or not, and however soon it follows the last one."""
    path = tmp_path / "allowed_signers"
    verify = trust.verifier(config(tmp_path))
    for _ in range(3):
        for name, key, other in (("alice", ALICE, BOB), ("bobby", BOB, ALICE)):
            path.write_text(signer_line(name, key.public))
            assert verify(PAYLOAD, signature(key), name, 0.0)
            with pytest.raises(SignatureError):
                verify(PAYLOAD, signature(other), name, 0.0)
    path.unlink()
    with pytest.raises(SignatureError, match="is not in the allowed signers"):
        verify(PAYLOAD, signature(BOB), "bobby", 0.0)


def test_an_invalid_file_leaves_the_last_valid_version_in_force(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The error is logged once with its line; the corrected file is loaded."""
    path = tmp_path / "allowed_signers"
    path.write_text(signer_line("alice", ALICE.public))
    verify = trust.verifier(config(tmp_path))
    assert verify(PAYLOAD, signature(), "alice", 0.0)
    path.write_text(f"{signer_line('bob', BOB.public)}alice ssh-ed25519 AAAA%\n")
    for _ in range(2):
        assert verify(PAYLOAD, signature(), "alice", 0.0)
    [broken] = [record for record in caplog.records if record.message == "trust.broken"]
    assert broken.levelno == logging.ERROR
    assert broken.__dict__["error"] == f"{path}:2: not a key of type ssh-ed25519: not base64"
    assert broken.__dict__["in_force"] == "the last valid version"
    path.write_text(signer_line("bob", BOB.public))
    assert verify(PAYLOAD, signature(BOB), "bob", 0.0)
    with pytest.raises(SignatureError):
        verify(PAYLOAD, signature(), "alice", 0.0)


@pytest.mark.parametrize("name", ["allowed_signers", "revoked_keys"])
def test_with_a_file_that_was_never_valid_no_signer_is_trusted(tmp_path: Path, name: str) -> None:
    """Requests are rejected while either file has not been valid yet, and accepted once it is corrected."""
    (tmp_path / "allowed_signers").write_text(signer_line("alice", ALICE.public))
    good = (tmp_path / name).read_text() if name == "allowed_signers" else ""
    for broken in (b"\xff", b"hello\n"):
        (tmp_path / name).write_bytes(broken)
        verify = trust.verifier(config(tmp_path))
        with pytest.raises(SignatureError, match=f"no signer is trusted: .*{name}: not valid"):
            verify(PAYLOAD, signature(), "alice", 0.0)
        (tmp_path / name).write_text(good)
        assert verify(PAYLOAD, signature(), "alice", 0.0)


def test_an_unreadable_file_leaves_the_last_valid_version_in_force(tmp_path: Path) -> None:
    """A folder at the path counts as an invalid file."""
    path = tmp_path / "allowed_signers"
    path.write_text(signer_line("alice", ALICE.public))
    file = ReloadedFile(
        path,
        allowed_signers.parse,
        events=ReloadEvents("trust.read", "trust.broken"),
        missing=AllowedSigners,
        otherwise=NoValidVersion("nothing"),
    )
    assert len(list(file.value())) == 1
    path.unlink()
    path.mkdir()
    assert len(list(file.value())) == 1


@pytest.mark.parametrize(
    ("allowed", "revoked", "message"),
    [
        (None, "", "allowed_signers: no such file, so no signer is trusted (use 'crpc keys trust"),
        ("alice\n", "", "allowed_signers:1: must be: names"),
        (signer_line("alice", ALICE.public), "hello\n", "revoked_keys:1: not a key: must be a type"),
        (signer_line("alice", ALICE.public), "SHA256:short\n", "revoked_keys:1: not a key"),
        (signer_line("alice", ALICE.public), "SSHKRL\n\0", "revoked_keys: binary key revocation lists (KRL) are not"),
        ("", "", "allowed_signers: no key that may sign now, so no signer is trusted (use 'crpc keys trust"),
        ("# alice\n\n", "", "allowed_signers: no key that may sign now"),
        (f'a valid-before="20200101" {ALICE.public.line}\n', "", "allowed_signers: no key that may sign now"),
        (f'a namespaces="git" {ALICE.public.line}\n', "", "allowed_signers: no key that may sign now"),
        (signer_line("alice", ALICE.public), f"{ALICE.public.line}\n", "allowed_signers: no key that may sign now"),
    ],
    ids=map(str, itertools.count()),  # the keys differ in each process, and test names must not
)
def test_the_check_reports_errors_in_the_key_files(
    tmp_path: Path, allowed: str | None, revoked: str, message: str
) -> None:
    """Each error is one line with file and line number."""
    if allowed is not None:
        (tmp_path / "allowed_signers").write_text(allowed)
    (tmp_path / "revoked_keys").write_text(revoked)
    [error] = trust.problems(config(tmp_path))
    assert message in error
    assert "\n" not in error


def test_a_revocation_applies_at_once_in_spite_of_a_broken_line(tmp_path: Path) -> None:
    """The keys of the valid lines and those of the last valid version are revoked; a valid version replaces both."""
    (tmp_path / "allowed_signers").write_text(signer_line("alice", ALICE.public) + signer_line("bob", BOB.public))
    path = tmp_path / "revoked_keys"
    path.write_text(f"{ALICE.public.line}\n")
    verify = trust.verifier(config(tmp_path))
    assert verify(PAYLOAD, signature(BOB), "bob", 0.0)
    path.write_bytes(f"SHA256:short\n{BOB.public.line} lost in M".encode() + b"\xfcnchen\n")
    for key, name in ((ALICE, "alice"), (BOB, "bob")):
        with pytest.raises(SignatureError, match="is revoked"):
            verify(PAYLOAD, signature(key), name, 0.0)
    path.write_text(f"{ALICE.public.line}\n")
    assert verify(PAYLOAD, signature(BOB), "bob", 0.0)


@pytest.mark.parametrize("opened", ["allowed_signers", "revoked_keys", "."])
@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o666])
def test_a_file_that_others_can_change_is_not_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, opened: str, mode: int
) -> None:
    """At a start no signer is trusted; later the last valid version stays in force, and the log has one line."""
    folder = tmp_path / "trust"
    folder.mkdir()
    if opened == "." and mode == 0o666:
        mode = 0o777
    files = {name: folder / name for name in ("allowed_signers", "revoked_keys")}
    files["allowed_signers"].write_text(signer_line("alice", ALICE.public))
    files["revoked_keys"].write_text(f"{BOB.public.line}\n")
    verify = trust.verifier(config(folder))
    assert verify(PAYLOAD, signature(), "alice", 0.0)
    (folder / opened).chmod(mode)
    protected = opened == "." and mode & 0o1000  # sticky: others cannot replace existing files
    if opened == "." and not protected:
        files["allowed_signers"].write_text(signer_line("mallory", BOB.public))
    for _ in range(3):
        assert verify(PAYLOAD, signature(), "alice", 0.0)
    errors = [record for record in caplog.records if record.getMessage() == "trust.broken"]
    assert len(errors) == (0 if protected else 2 if opened == "." else 1)
    for error in errors:
        assert "writable by all users (use 'chmod o-w" in vars(error)["error"]
        assert vars(error)["in_force"] == "the last valid version"
    if not protected:
        with pytest.raises(SignatureError, match="no signer is trusted"):
            trust.verifier(config(folder))(PAYLOAD, signature(), "alice", 0.0)


# -- the node's own key


def test_the_nodes_key_is_created_once(tmp_path: Path) -> None:
    """Only its owner can read the key; concurrent and later starts use the same key."""
    with ThreadPoolExecutor(8) as pool:
        found = {key.public for key in pool.map(trust.node_key, [tmp_path / "state"] * 8)}
    assert {trust.node_key(tmp_path / "state").public} == found
    assert stat.S_IMODE((tmp_path / "state" / "node_key").stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["node_key"]


def test_an_unusable_node_key_is_reported(tmp_path: Path) -> None:
    """A key file that others can read, that is not valid, or that cannot be written is an error."""
    path = tmp_path / "node_key"
    trust.node_key(tmp_path)
    path.chmod(0o640)
    with pytest.raises(ConfigError, match=r"readable by other users \(use 'chmod 600"):
        trust.node_key(tmp_path)
    path.chmod(0o600)
    path.write_text("hello")
    with pytest.raises(ConfigError, match="node_key: not a valid private key"):
        trust.node_key(tmp_path)
    with pytest.raises(ConfigError, match=r"cannot write the node's key: Not a directory \(set 'state'"):
        trust.node_key(path / "below")


# -- replayed requests


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    """One node that trusts alice."""
    (tmp_path / "allowed_signers").write_text(signer_line("alice", ALICE.public))
    with memory_fleet(tmp_path, {"web1": {}}, verify=trust.verifier(config(tmp_path))) as network:
        network.transport.open_replies(REPLIES)
        yield network


def signed(original: Request) -> str:
    return messages.seal(messages.encode(original), sshsig.signing_with(ALICE))


def marking(tmp_path: Path, **changes: object) -> Request:
    return request("shell", "run", caller="alice", data={"command": f"echo x >> {tmp_path}/mark"}, **changes)


@pytest.mark.parametrize("minutes", [0, 1, 4, 10, 60, 119, 121, 60 * 24])
def test_a_replayed_request_does_not_run_again(network: Network, tmp_path: Path, minutes: int) -> None:
    """The journal keeps a request id for longer than a captured message stays valid."""
    original = marking(tmp_path, ttl=MAX_TTL)
    now = network.transport.now()
    node = network.nodes["web1"]
    node.pipeline.handle(Delivery(signed(original), sent=now, received=now, receipt=""))
    assert replies(network)[0].statuscode == 0
    later = now + 60 * minutes
    other = marking(tmp_path / "elsewhere", targets=())
    node.pipeline.handle(
        Delivery(signed(other), sent=later, received=later, receipt="")
    )  # lets the journal delete old entries
    node.pipeline.handle(Delivery(signed(original), sent=later, received=later, receipt=""))
    again = replies(network)[0]
    assert again.replayed or again.reason == "expired"
    assert (tmp_path / "mark").read_text() == "x\n"


def test_a_request_signed_before_the_journal_began_does_not_run(network: Network, tmp_path: Path) -> None:
    """A daemon with a new journal rejects a request signed before the journal began, whenever it is sent."""
    original = marking(tmp_path, time=time.time() - 60)
    now = network.transport.now()
    network.nodes["web1"].pipeline.handle(Delivery(signed(original), sent=now, received=now, receipt=""))
    reply = replies(network)[0]
    assert (reply.statuscode, reply.reason) == (5, "expired")
    assert "before this node's journal began" in reply.statusmsg
    assert not (tmp_path / "mark").exists()


def test_a_request_without_a_trusted_signature_gets_no_reply(network: Network, tmp_path: Path) -> None:
    """The request is counted and nothing else happens; a reply would reveal the node to a stranger."""
    original = marking(tmp_path)
    for body in (messages.seal(messages.encode(original), lambda _: None), signed(replace(original, caller="bob"))):
        network.nodes["web1"].pipeline.handle(Delivery(body, sent=time.time(), received=time.time(), receipt=""))
    assert settled(network, "unvalidated", 2) == 2
    assert replies(network, 1, wait=0.3) == []
    assert not (tmp_path / "mark").exists()
    assert not (tmp_path / "web1.audit.jsonl").exists()
