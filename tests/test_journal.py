"""The journal keeps requests for as long as they may be delivered again, whatever happens to the node."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from support.journal_entries import BEGAN, VALID, OpenJournal, begin, make_entry, state

from collective.errors import Failed
from collective.messages import MAX_SKEW
from collective.node.storage.journal import (
    ANSWERED,
    CLOCK_MARGIN,
    DONE,
    STARTED,
    TAKEN,
    Journal,
)

KEPT = VALID + CLOCK_MARGIN


def test_an_unknown_request_has_no_entry(journal: Journal) -> None:
    """`find` returns None for a request that was not recorded."""
    assert journal.find("a") is None


def test_an_entry_has_what_is_needed_to_resume_the_request(journal: Journal, reopen: OpenJournal) -> None:
    """The entry has the message, its times and the reply address, also after a restart."""
    begin(journal, "a")
    assert reopen().find("a") == make_entry("a")


def test_a_reply_replaces_the_message(journal: Journal, reopen: OpenJournal) -> None:
    """The message is deleted once there is a reply, because it may contain secrets."""
    begin(journal, "a")
    assert journal.finish("a", "answer")
    entry = reopen().find("a")
    assert entry is not None
    assert (entry.state, entry.body, entry.reply) == (ANSWERED, "", "answer")


@pytest.mark.parametrize("end", ["finish", "done", "killed"])
def test_a_deleted_secret_is_in_no_file(journal_path: Path, reopen: OpenJournal, end: str) -> None:
    """The write-ahead log keeps what was deleted, so it is truncated when a message with secrets is deleted."""
    journal = reopen()
    secret = "hunter2" * 2000  # it fills pages of its own
    journal.begin(replace(make_entry("a"), body=secret), BEGAN, secret=True)
    assert b"hunter2" in on_disk(journal_path)
    if end == "killed":  # and the log left behind: the next daemon resumes the request
        copies = {file: file.read_bytes() for file in journal_path.parent.glob("journal.sqlite*")}
        journal.close()
        for file, content in copies.items():
            file.write_bytes(content)
        journal = Journal(journal_path, lambda: BEGAN)
        journal.resume("a")
    if end == "finish":
        journal.finish("a", "answer")
    else:
        journal.done("a")
    assert b"hunter2" not in on_disk(journal_path)
    journal.close()


def on_disk(journal_path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in journal_path.parent.glob("journal.sqlite*"))


def test_every_state_survives_a_restart(journal: Journal, reopen: OpenJournal) -> None:
    """A restarted daemon finds each entry in its last state, in the order of arrival."""
    for name in ("d", "c", "b", "a", "e"):
        begin(journal, name)
    journal.start("c")
    journal.start("b")
    journal.finish("b", "answer")
    journal.done("a")
    journal = reopen()
    found = [state(journal, name) for name in "abcde"]
    assert found == [DONE, ANSWERED, STARTED, TAKEN, TAKEN]
    assert [journal.left(word) for word in (TAKEN, STARTED, ANSWERED)] == [["d", "e"], ["c"], ["b"]]


def test_a_reply_without_an_entry_is_not_stored(journal: Journal) -> None:
    """`finish` of an unknown request returns False and adds no entry."""
    assert not journal.finish("a", "answer")
    assert journal.find("a") is None


def test_entries_are_kept_as_long_as_their_message_can_come_again(journal: Journal) -> None:
    """An entry is found up to its last second, and deleted after that."""
    for name, now in (("a", BEGAN), ("b", BEGAN + KEPT), ("c", BEGAN + KEPT + 1)):
        assert journal.find("a") is not None or name == "a"
        begin(journal, name, now)
        journal.finish(name, "answer")
        journal.done(name)
    assert journal.find("a") is None
    assert journal.find("b") is not None


def test_a_reply_that_was_not_sent_is_kept_until_its_caller_times_out(journal: Journal) -> None:
    """An action may run for longer than its message is valid."""
    begin(journal, "a", until=BEGAN + 5 * KEPT)
    journal.finish("a", "answer")
    begin(journal, "b", BEGAN + 4 * KEPT)
    assert journal.find("a") is not None
    begin(journal, "c", BEGAN + 6 * KEPT)
    assert journal.find("a") is None


def test_a_running_request_is_never_deleted(journal: Journal) -> None:
    """An action may run for longer than entries are kept."""
    begin(journal, "a")
    journal.start("a")
    begin(journal, "b", BEGAN + 10 * KEPT)
    assert journal.find("a") is not None


def test_a_full_journal_deletes_nothing_and_reports_busy(reopen: OpenJournal) -> None:
    """Entries are deleted by age only, never by number."""
    journal = reopen(entries=2)
    for name in ("a", "b"):
        begin(journal, name)
        journal.done(name)
    with pytest.raises(Failed, match="the journal is full: 2 requests") as caught:
        begin(journal, "c", BEGAN + 1)
    assert caught.value.reason == "busy"
    assert journal.find("a") is not None
    begin(journal, "c", BEGAN + KEPT + 1)
    assert journal.find("c") is not None


def test_a_journal_full_of_large_replies_reports_busy(reopen: OpenJournal) -> None:
    """The size on disk is limited too, and deleting old replies makes room."""
    journal = reopen(size=1_000_000)
    begin(journal, "a")
    journal.finish("a", os.urandom(1_000_000).hex())
    with pytest.raises(Failed, match=r"the journal is full: 1\d{6} bytes"):
        begin(journal, "b")
    journal.done("a")
    begin(journal, "b", BEGAN + KEPT + 1)


def test_a_request_sent_before_the_journal_began_is_too_early(journal: Journal) -> None:
    """A request sent before the journal began is too early, because it may have run with an earlier journal."""
    assert journal.too_early(BEGAN - 0.001, BEGAN)
    assert journal.too_early(BEGAN, BEGAN - 0.001)
    assert not journal.too_early(BEGAN, BEGAN)


def test_a_lost_journal_refuses_what_a_fast_clock_may_have_signed_before(
    journal_path: Path, reopen: OpenJournal
) -> None:
    """A request that ran may have been signed by a clock that was ahead, so its signed time is later than it ran."""
    reopen().close()
    for part in journal_path.parent.glob("journal.sqlite*"):
        if part.suffix != ".began":
            part.unlink()
    later = reopen()
    assert later.too_early(BEGAN + 100, BEGAN + MAX_SKEW - 0.001)
    assert not later.too_early(BEGAN + 100, BEGAN + MAX_SKEW)


def test_a_journal_of_an_older_format_is_replaced_without_a_pause(
    journal: Journal, journal_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The requests in it have an older format, which is refused however often they are sent again."""
    journal.close()
    content = journal_path.read_bytes()
    journal_path.write_bytes(content[:60] + (1).to_bytes(4, "big") + content[64:])
    later = Journal(journal_path, lambda: BEGAN + 500)
    later.mark_beginning()
    assert [record.getMessage() for record in caplog.records] == ["database.replaced"]
    assert not later.too_early(BEGAN + 500, BEGAN + 500)
    later.close()


def test_no_caller_can_fill_the_journal_for_the_others(reopen: OpenJournal) -> None:
    """Entries and bytes of one caller are limited; the error names the caller."""
    journal = reopen(caller_entries=2, caller_size=1000)
    begin(journal, "a")
    begin(journal, "b")
    with pytest.raises(Failed, match="the journal is full for 'alice': 2 requests"):
        begin(journal, "c")
    begin(journal, "c", caller="bob", body="x" * 1000)
    with pytest.raises(Failed, match="the journal is full for 'bob': 1000 bytes"):
        begin(journal, "d", caller="bob")
    begin(journal, "d", caller="carol")


def test_a_reply_that_need_not_be_kept_is_deleted_once_it_was_sent(journal: Journal) -> None:
    """The entry remains, so that the request is known when it comes again."""
    begin(journal, "a", keeps_reply=False)
    journal.finish("a", "answer" * 1000)
    found = journal.find("a")
    assert found is not None
    assert found.reply == "answer" * 1000
    journal.done("a")
    found = journal.find("a")
    assert found is not None
    assert (found.state, found.reply) == (DONE, "")


def test_the_number_of_attempts_survives_a_restart(journal: Journal, reopen: OpenJournal) -> None:
    """A request that ends the daemon is not resumed for ever."""
    begin(journal, "a")
    journal.resume("a")
    found = reopen().find("a")
    assert found is not None
    assert found.resumed == 1


def test_a_reopened_journal_keeps_its_creation_time(journal_path: Path, reopen: OpenJournal) -> None:
    """A restarted daemon accepts requests that were sent while it was stopped."""
    reopen().close()
    later = Journal(journal_path, lambda: BEGAN + 500)
    later.mark_beginning()
    assert not later.too_early(BEGAN, BEGAN)
    later.close()


def test_only_the_owner_can_read_the_journal(journal: Journal, journal_path: Path) -> None:
    """Requests and replies may contain secrets."""
    begin(journal, "a")
    for part in journal_path.parent.glob("journal.sqlite*"):
        assert stat.S_IMODE(part.stat().st_mode) == 0o600, part


def test_two_daemons_cannot_use_one_journal(journal: Journal, journal_path: Path) -> None:
    """The second daemon gets an error, and the first can still write."""
    program = (
        "import sys; from pathlib import Path; from collective.node.storage.journal import Journal\n"
        "try: Journal(Path(sys.argv[1]), lambda: 0.0)\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    done = subprocess.run([sys.executable, "-c", program, journal_path], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(
        f"Failed {journal_path}: cannot be opened: database is locked (is the disk full, or does"
    )
    begin(journal, "a")


def test_a_closed_journal_reports_an_error(journal: Journal) -> None:
    """Threads that still run during a stop get an error, and the file does not count as damaged."""
    journal.close()
    with pytest.raises(Failed, match="the database is closed"):
        journal.start("a")


def test_the_journal_can_be_read_with_sqlite3(journal: Journal, journal_path: Path) -> None:
    """With the daemon stopped, the journal is a plain SQLite file."""
    begin(journal, "a")
    journal.close()
    connection = sqlite3.connect(journal_path)
    assert connection.execute("SELECT id, state FROM requests").fetchall() == [("a", "taken")]
    connection.close()
    assert sorted(journal_path.parent.iterdir()) == [journal_path, journal_path.with_name("journal.sqlite.began")]
