"""The audit log: two lines per request, also over crashes, full disks and rotations; without them no action."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.messages import REPLY, REQUEST

from collective.audit import chain, records
from collective.audit.cutting import MAX_LINE
from collective.errors import Failed
from collective.messages import Envelope
from collective.node.storage.audit_log import AuditLog

DIGEST = REPLY.digest
ENVELOPE = Envelope('{"type": "request"}', "QUFB" * 40, {})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The path of the audit log."""
    return tmp_path / "audit.jsonl"


def entries(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def is_unbroken(*paths: Path, head: str | None = None) -> bool:
    return chain.verify(paths, head=head).problems == []


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Limit files to `size` bytes: a longer write is truncated, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_request_has_two_lines(path: Path) -> None:
    """The decision and the outcome have the id of the request, and each has the hash of the previous line."""
    audit = AuditLog(path, clock=lambda: 5.0)
    audit.decision(
        REQUEST,
        DIGEST,
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
        "digest": DIGEST,
        "caller": "alice@example.com",
        "fingerprint": "SHA256:abc",
        "sender": "laptop-7",
        "agent": "package",
        "action": "install",
        "dry_run": False,
        "job": None,
        "data": {"package": "zsh"},
        "asks": [["fstat", "/etc/hosts"]],
        "verdict": "allowed",
        "rule": "operators",
        "approvers": [],
        "reason": None,
        "targets": 1,
        "run": None,
        "skew": 0.123,
        "previous": None,
    }
    assert outcome == {
        "event": "outcome",
        "time": 5.0,
        "request": REQUEST.id,
        "digest": DIGEST,
        "statuscode": 0,
        "reason": None,
        "elapsed_ms": 912.4,
        "replayed": False,
        "previous": chain.digest(path.read_bytes().splitlines()[0]),
    }
    assert audit.head == chain.digest(path.read_bytes().splitlines()[1])


def test_only_the_owner_can_read_the_audit_log(path: Path) -> None:
    """The audit log is readable by its owner only, because inputs in it may be confidential."""
    AuditLog(path).outcome(REPLY)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_new_daemon_continues_the_chain(path: Path) -> None:
    """A new daemon reads the last line, which may have any length."""
    rule = "x" * 300_000
    AuditLog(path).decision(REQUEST, DIGEST, {}, "allowed", rule)
    AuditLog(path).outcome(REPLY)
    audit = AuditLog(path)
    audit.outcome(REPLY)
    assert is_unbroken(path, head=audit.head)
    assert len(entries(path)) == 3


@pytest.mark.parametrize("torn", [b'{"event": "deci', b"x", b'{"a": "' + b"y" * 200_000, b"\xff\x00"])
def test_a_line_torn_by_a_crash_is_recorded(path: Path, caplog: pytest.LogCaptureFixture, torn: bytes) -> None:
    """An incomplete line is removed and quoted in the next one, and the chain continues."""
    AuditLog(path).outcome(REPLY)
    with path.open("ab") as file:
        file.write(torn)
    assert chain.verify([path]).problems == []  # a line that is being written looks the same
    AuditLog(path).outcome(REPLY)
    _, gap, outcome = entries(path)
    assert (gap["event"], gap["lost"], outcome["event"]) == ("gap", 0, "outcome")
    assert gap["torn"].startswith(torn[:15].decode("ascii", "backslashreplace"))
    assert len(gap["torn"]) <= 4096
    report = chain.verify([path])
    assert (report.problems, len(report.notes)) == ([], 1)
    assert [record.getMessage() for record in caplog.records] == ["audit.torn"]


def test_a_file_with_only_a_torn_line_is_continued(path: Path) -> None:
    """The first line of a file may be the incomplete one."""
    path.write_bytes(b'{"event"')
    AuditLog(path).outcome(REPLY)
    assert [entry["event"] for entry in entries(path)] == ["gap", "outcome"]
    assert is_unbroken(path)


def test_inputs_cannot_forge_a_line(path: Path) -> None:
    """A decision is one ASCII line, whatever the inputs contain."""
    AuditLog(path).decision(REQUEST, DIGEST, {"a": 'x\n{"event": "decision"}\u2028\x1b[2J'}, "denied", None)
    (line,) = path.read_bytes().splitlines()
    assert line.isascii()
    assert b"\x1b" not in line


@pytest.mark.parametrize("place", ["folder", "missing/audit.jsonl"])
def test_a_decision_that_cannot_be_written_fails_the_request(tmp_path: Path, place: str) -> None:
    """The error for a decision that cannot be written has the path of the audit log."""
    (tmp_path / "folder").mkdir()
    with pytest.raises(Failed, match=rf"audit log .*{place}: cannot be written: ") as caught:
        AuditLog(tmp_path / place).decision(REQUEST, DIGEST, {}, "allowed", "x")
    assert caught.value.reason == "crashed"


def test_a_full_device_is_reported(path: Path) -> None:
    """The error for a full device has the text of the system, `No space left on device`."""
    path.symlink_to("/dev/full")
    with pytest.raises(Failed, match="cannot be written: No space left on device"):
        AuditLog(path).decision(REQUEST, DIGEST, {}, "allowed", "x")


def test_a_failed_write_leaves_no_partial_line(path: Path) -> None:
    """A partial line is removed; the next line records how many are missing, and the chain is unbroken."""
    audit = AuditLog(path)
    audit.outcome(REPLY)
    size = path.stat().st_size
    with file_size_limit(size + 50):
        for _ in range(2):
            with pytest.raises(Failed, match="File too large"):
                audit.decision(REQUEST, DIGEST, {}, "allowed", "x")
        assert path.stat().st_size == size
    audit.outcome(REPLY)
    _, gap, _ = entries(path)
    assert (gap["event"], gap["lost"], gap["torn"]) == ("gap", 2, None)
    assert is_unbroken(path, head=audit.head)


def test_without_required_a_missing_line_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The number of missing lines is written once the file can be written again."""
    path = tmp_path / "later" / "audit.jsonl"
    audit = AuditLog(path, required=False)
    audit.decision(REQUEST, DIGEST, {}, "allowed", "x")
    assert [record.getMessage() for record in caplog.records] == ["audit.failed"]
    path.parent.mkdir()
    audit.outcome(REPLY)
    assert [(entry["event"], entry.get("lost")) for entry in entries(path)] == [("gap", 1), ("outcome", None)]


@pytest.mark.parametrize("create", [True, False])
def test_the_chain_continues_after_a_rotation(path: Path, create: bool) -> None:
    """After a rename, with or without a new empty file, the first new line follows the last old one."""
    audit = AuditLog(path)
    audit.outcome(REPLY)
    old = path.with_suffix(".1")
    path.rename(old)
    if create:
        path.touch()
    audit.outcome(REPLY)
    assert (len(entries(old)), len(entries(path))) == (1, 1)
    assert is_unbroken(old, path, head=audit.head)
    assert "older files" in chain.verify([path]).problems[0]
    assert chain.verify([path], after=chain.digest(old.read_bytes()[:-1])).problems == []


def test_the_chain_continues_after_a_copy_and_truncation(path: Path) -> None:
    """The chain continues after a copy and truncation, as `copytruncate` of logrotate does them."""
    audit = AuditLog(path)
    audit.outcome(REPLY)
    old = path.with_suffix(".1")
    old.write_bytes(path.read_bytes())
    os.truncate(path, 0)
    audit.outcome(REPLY)
    assert is_unbroken(old, path)


def test_an_older_copy_of_the_file_breaks_the_chain(path: Path) -> None:
    """Replacing the file with a shorter copy while the daemon runs is detected."""
    audit = AuditLog(path)
    audit.outcome(REPLY)
    shorter = path.read_bytes()
    audit.outcome(REPLY)
    path.unlink()
    path.write_bytes(shorter)
    audit.outcome(REPLY)
    assert not is_unbroken(path)


def test_several_threads_write_one_chain(path: Path) -> None:
    """Each line is complete, and the chain is unbroken."""
    audit = AuditLog(path)

    def write() -> None:
        for _ in range(50):
            audit.decision(REQUEST, DIGEST, {"a": "x" * 2000}, "denied", None)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(entries(path)) == 200
    assert is_unbroken(path, head=audit.head)


def test_the_signed_request_is_kept_in_the_envelopes_folder(tmp_path: Path, path: Path) -> None:
    """`ssh-keygen -Y verify` reads its two files, which only the owner can read, and nothing replaces them."""
    audit = AuditLog(path, envelopes=tmp_path)
    for _ in range(2):
        audit.decision(REQUEST, DIGEST, {}, "allowed", None, envelope=ENVELOPE)
    payload, signature = tmp_path / f"{ENVELOPE.digest}.payload", tmp_path / f"{ENVELOPE.digest}.sig"
    assert payload.read_text() == ENVELOPE.payload
    assert payload.stat().st_mode & 0o777 == 0o600
    first, *middle, last = signature.read_text().splitlines()
    assert (first, last) == ("-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----")
    assert "".join(middle) == ENVELOPE.signature
    assert max(map(len, middle)) <= 70
    other = replace(ENVELOPE, signature="QUFC" * 40)  # the same payload, signed again
    audit.decision(REQUEST, DIGEST, {}, "allowed", None, envelope=other)
    assert "QUFC" not in signature.read_text()
    assert sorted(tmp_path.iterdir()) == sorted([path, payload, signature])


def test_a_link_in_the_envelopes_folder_is_not_followed(tmp_path: Path, path: Path) -> None:
    """A file that is there already is kept, and nothing is written to what it links to."""
    target = tmp_path / "target"
    (tmp_path / f"{ENVELOPE.digest}.payload").symlink_to(target)
    AuditLog(path, envelopes=tmp_path).decision(REQUEST, DIGEST, {}, "allowed", None, envelope=ENVELOPE)
    assert not target.exists()


def test_a_second_request_under_the_same_id_has_files_of_its_own(tmp_path: Path, path: Path) -> None:
    """The proof of the first request is not replaced."""
    audit = AuditLog(path, envelopes=tmp_path)
    other = replace(ENVELOPE, payload='{"type": "request", "id": "the same"}')
    for envelope in (ENVELOPE, other):
        audit.decision(REQUEST, envelope.digest, {}, "allowed", None, envelope=envelope)
    assert (tmp_path / f"{ENVELOPE.digest}.payload").read_text() == ENVELOPE.payload
    assert (tmp_path / f"{other.digest}.payload").read_text() == other.payload


def test_large_inputs_are_cut_to_a_length_and_a_digest(path: Path) -> None:
    """The digest still shows what the value was, to anyone who has it."""
    AuditLog(path).decision(REQUEST, DIGEST, {"stdin": "x" * 1_000_000, "user": "root"}, "denied", None)
    [line] = entries(path)
    whole = hashlib.sha256(b'"' + b"x" * 1_000_000 + b'"').hexdigest()
    assert line["data"] == {"stdin": {"$cut": {"length": 1_000_002, "sha256": whole}}, "user": "root"}


WIDE: dict[str, tuple[dict[str, Any], list[tuple[str, str]]]] = {
    "one value": ({"a": "x" * 16_000_000}, []),
    "many values": ({f"input{number}": 1 for number in range(100_000)}, []),
    "long names": ({"n" * 500_000: 1}, []),
    "nested": ({"a": [[["x"] * 1000] * 100]}, []),
    "escapes": ({"a": "\U0001f600" * 1000}, []),
    "many queries": ({}, [("fstat", f"/{number}") for number in range(100_000)]),
    "a long query": ({}, [("f" * 100_000, "x" * 1_000_000)]),
}


@pytest.mark.parametrize("name", WIDE)
def test_a_line_has_a_bounded_size(path: Path, name: str) -> None:
    """Nothing that a caller sends makes a line longer, even if all its names have the longest length."""
    data, asks = WIDE[name]
    face = "\U0001f600"
    request = replace(REQUEST, caller=face * 255, sender=face * 255, agent=face * 64, action=face * 64)
    AuditLog(path).decision(request, DIGEST, data, "denied", None, asks=asks)
    assert path.stat().st_size <= MAX_LINE


def test_an_envelope_that_cannot_be_written_fails_the_request(tmp_path: Path, path: Path) -> None:
    """A request whose envelope cannot be written fails, because envelopes are part of the audit log."""
    with pytest.raises(Failed, match="missing: cannot be written: No such file"):
        AuditLog(path, envelopes=tmp_path / "missing").decision(REQUEST, DIGEST, {}, "allowed", None, envelope=ENVELOPE)
    assert not path.exists()


def test_lines_of_another_kind_are_reported(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A damaged audit log is read as far as possible, with a warning that requests may be missing."""
    path.write_text('{"event": "decision", "previous": "", "request": "1", "digest": "2"}\nhello\n[]\n')
    assert [record.decision["request"] for record in records.read(path)] == ["1"]
    [warning] = [vars(record) for record in caplog.records if record.getMessage() == "audit.broken"]
    assert warning["error"] == f"{path}: 2 lines not of an audit log, not shown (see 'crpc audit verify')"


def test_the_end_of_a_job_that_did_not_start_is_shown(path: Path) -> None:
    """A job that expires has one decision and two outcomes: it was accepted, and it expired."""
    audit = AuditLog(path)
    audit.decision(REQUEST, DIGEST, {}, "allowed", "operators", job="request")
    audit.outcome(replace(REPLY, reason="accepted"))
    audit.outcome(replace(REPLY, statuscode=5, reason="expired"))
    found = list(records.read(path))
    assert [one.outcome and one.outcome["reason"] for one in found] == ["accepted", "expired"]
    assert found[0].decision == found[1].decision
