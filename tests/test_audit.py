"""The audit: two lines for each request, or no action; kept whole over crashes, full disks and rotations."""

from __future__ import annotations

import json
import os
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.messages import REPLY, REQUEST

from collective.audit import chain
from collective.errors import Failed
from collective.messages import Envelope
from collective.node.storage.audit_log import AuditLog

ENVELOPE = Envelope('{"type": "request"}', "QUFB" * 40, {})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the audit is."""
    return tmp_path / "audit.jsonl"


def entries(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def unbroken(*paths: Path, head: str | None = None) -> bool:
    return chain.verify(paths, head=head).problems == []


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Let no file grow beyond `size` bytes: a write that crosses it is cut short, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_request_leaves_two_lines(path: Path) -> None:
    """What was decided, and what came of it, with the id that ties them together, each with the hash before it."""
    audit = AuditLog(path, clock=lambda: 5.0)
    audit.decision(
        REQUEST,
        {"package": "zsh"},
        "allowed",
        "operators",
        asks=[("fstat", "/etc/hosts")],
        fingerprint="SHA256:abc",
        skew=0.12345,
    )
    audit.outcome(REPLY)
    decision, outcome = entries(path)
    assert decision == {
        "event": "decision",
        "time": 5.0,
        "request": REQUEST.id,
        "caller": "alice@example.com",
        "fingerprint": "SHA256:abc",
        "sender": "laptop-7",
        "agent": "package",
        "action": "install",
        "data": {"package": "zsh"},
        "asks": [["fstat", "/etc/hosts"]],
        "verdict": "allowed",
        "rule": "operators",
        "skew": 0.123,
        "previous": None,
    }
    assert outcome == {
        "event": "outcome",
        "time": 5.0,
        "request": REQUEST.id,
        "statuscode": 0,
        "reason": None,
        "elapsed_ms": 912.4,
        "replayed": False,
        "previous": chain.digest(path.read_bytes().splitlines()[0]),
    }
    assert audit.head == chain.digest(path.read_bytes().splitlines()[1])


def test_only_the_owner_may_read_it(path: Path) -> None:
    """Inputs are nobody else's business."""
    AuditLog(path).outcome(REPLY)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_new_daemon_continues_the_chain(path: Path) -> None:
    """It reads the last line, however long that is."""
    AuditLog(path).decision(REQUEST, {"a": "x" * 300_000}, "allowed", None)
    AuditLog(path).outcome(REPLY)
    audit = AuditLog(path)
    audit.outcome(REPLY)
    assert unbroken(path, head=audit.head)
    assert len(entries(path)) == 3


@pytest.mark.parametrize("torn", [b'{"event": "deci', b"x", b'{"a": "' + b"y" * 200_000, b"\xff\x00"])
def test_a_line_that_a_crash_has_torn_is_noted(path: Path, caplog: pytest.LogCaptureFixture, torn: bytes) -> None:
    """Half a line is cut off, quoted in the next one, and the chain goes on."""
    AuditLog(path).outcome(REPLY)
    with path.open("ab") as file:
        file.write(torn)
    assert chain.verify([path]).problems == []  # what is being written looks the same
    AuditLog(path).outcome(REPLY)
    _, gap, outcome = entries(path)
    assert (gap["event"], gap["lost"], outcome["event"]) == ("gap", 0, "outcome")
    assert gap["torn"].startswith(torn[:15].decode("ascii", "backslashreplace"))
    assert len(gap["torn"]) <= 4096
    report = chain.verify([path])
    assert (report.problems, len(report.notes)) == ([], 1)
    assert [record.getMessage() for record in caplog.records] == ["audit.torn"]


def test_a_file_of_one_torn_line(path: Path) -> None:
    """The very first line may be the one."""
    path.write_bytes(b'{"event"')
    AuditLog(path).outcome(REPLY)
    assert [entry["event"] for entry in entries(path)] == ["gap", "outcome"]
    assert unbroken(path)


def test_nobody_can_forge_a_line(path: Path) -> None:
    """Whatever the inputs say, a decision is one line of ASCII."""
    AuditLog(path).decision(REQUEST, {"a": 'x\n{"event": "decision"}\u2028\x1b[2J'}, "denied", None)
    (line,) = path.read_bytes().splitlines()
    assert line.isascii()
    assert b"\x1b" not in line


@pytest.mark.parametrize("place", ["folder", "missing/audit.jsonl"])
def test_what_cannot_be_audited_is_not_done(tmp_path: Path, place: str) -> None:
    """A decision that cannot be written ends the request, and says where."""
    (tmp_path / "folder").mkdir()
    with pytest.raises(Failed, match=rf"audit .*{place}: cannot be written: ") as caught:
        AuditLog(tmp_path / place).decision(REQUEST, {}, "allowed", "x")
    assert caught.value.reason == "crashed"


def test_a_full_device_is_said(path: Path) -> None:
    """`No space left on device`, in those words."""
    path.symlink_to("/dev/full")
    with pytest.raises(Failed, match="cannot be written: No space left on device"):
        AuditLog(path).decision(REQUEST, {}, "allowed", "x")


def test_a_line_that_did_not_fit_leaves_nothing_behind(path: Path) -> None:
    """Half a line is taken back; the next one that fits tells how many are missing, and the chain is whole."""
    audit = AuditLog(path)
    audit.outcome(REPLY)
    size = path.stat().st_size
    with file_size_limit(size + 50):
        for _ in range(2):
            with pytest.raises(Failed, match="File too large"):
                audit.decision(REQUEST, {}, "allowed", "x")
        assert path.stat().st_size == size
    audit.outcome(REPLY)
    _, gap, _ = entries(path)
    assert (gap["event"], gap["lost"], gap["torn"]) == ("gap", 2, None)
    assert unbroken(path, head=audit.head)


def test_a_node_may_be_told_to_go_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Without `required` the missing line is logged, and counted in the file once it can be written."""
    path = tmp_path / "later" / "audit.jsonl"
    audit = AuditLog(path, required=False)
    audit.decision(REQUEST, {}, "allowed", "x")
    assert [record.getMessage() for record in caplog.records] == ["audit.failed"]
    path.parent.mkdir()
    audit.outcome(REPLY)
    assert [(entry["event"], entry.get("lost")) for entry in entries(path)] == [("gap", 1), ("outcome", None)]


@pytest.mark.parametrize("create", [True, False])
def test_a_rotated_file_is_continued_in_the_next(path: Path, create: bool) -> None:
    """After a move, with or without an empty file in its place, the first new line follows the last old one."""
    audit = AuditLog(path)
    audit.outcome(REPLY)
    old = path.with_suffix(".1")
    path.rename(old)
    if create:
        path.touch()
    audit.outcome(REPLY)
    assert (len(entries(old)), len(entries(path))) == (1, 1)
    assert unbroken(old, path, head=audit.head)
    assert "older files" in chain.verify([path]).problems[0]
    assert chain.verify([path], after=chain.digest(old.read_bytes()[:-1])).problems == []


def test_a_file_that_was_copied_and_emptied_is_continued(path: Path) -> None:
    """As logrotate's copytruncate leaves it."""
    audit = AuditLog(path)
    audit.outcome(REPLY)
    old = path.with_suffix(".1")
    old.write_bytes(path.read_bytes())
    os.truncate(path, 0)
    audit.outcome(REPLY)
    assert unbroken(old, path)


def test_an_old_copy_in_its_place_does_not_hide_what_is_missing(path: Path) -> None:
    """Whoever puts a shorter file there while the daemon runs has broken the chain."""
    audit = AuditLog(path)
    audit.outcome(REPLY)
    shorter = path.read_bytes()
    audit.outcome(REPLY)
    path.unlink()
    path.write_bytes(shorter)
    audit.outcome(REPLY)
    assert not unbroken(path)


def test_lines_of_several_threads_do_not_mix(path: Path) -> None:
    """Each line is whole, and the chain is one, however many write at once."""
    audit = AuditLog(path)

    def write() -> None:
        for _ in range(50):
            audit.decision(REQUEST, {"a": "x" * 2000}, "denied", None)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(entries(path)) == 200
    assert unbroken(path, head=audit.head)


def test_the_signed_request_is_kept_beside_it(tmp_path: Path, path: Path) -> None:
    """As the two files that `ssh-keygen -Y verify` reads; once more for a second delivery, and for nobody else."""
    audit = AuditLog(path, envelopes=tmp_path)
    for _ in range(2):
        audit.decision(REQUEST, {}, "allowed", None, envelope=ENVELOPE)
    payload, signature = tmp_path / f"{REQUEST.id}.payload", tmp_path / f"{REQUEST.id}.sig"
    assert payload.read_text() == ENVELOPE.payload
    assert payload.stat().st_mode & 0o777 == 0o600
    first, *middle, last = signature.read_text().splitlines()
    assert (first, last) == ("-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----")
    assert "".join(middle) == ENVELOPE.signature
    assert max(map(len, middle)) <= 70


def test_a_request_that_cannot_be_kept_is_not_done(tmp_path: Path, path: Path) -> None:
    """Its folder is part of the audit."""
    with pytest.raises(Failed, match="missing: cannot be written: No such file"):
        AuditLog(path, envelopes=tmp_path / "missing").decision(REQUEST, {}, "allowed", None, envelope=ENVELOPE)
    assert not path.exists()
