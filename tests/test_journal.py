"""The journal: what has been taken on is remembered for as long as it may come again, whatever happens to the node."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from collective.errors import ConfigError, Failed
from collective.messages import MAX_TTL
from collective.node.storage.journal import ANSWERED, DONE, KEPT, STARTED, TAKEN, Journal, JournalEntry
from collective.node.trust import node_key

BEGAN = 1000.0

Open = Callable[..., Journal]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the journal lies."""
    return tmp_path / "journal.sqlite"


@pytest.fixture
def reopen(path: Path) -> Iterator[Open]:
    """Open the journal as the next daemon finds it: what the one before had open is closed."""
    last: list[Journal] = []

    def open_again(**options: int) -> Journal:
        for journal in last:
            journal.close()
        last[:] = [Journal(path, lambda: BEGAN, **options)]
        last[0].mark_beginning()
        return last[0]

    yield open_again
    for journal in last:
        journal.close()


@pytest.fixture
def journal(reopen: Open) -> Journal:
    """A new journal."""
    return reopen()


def begin(journal: Journal, name: str, now: float = BEGAN, body: str = "asked") -> None:
    journal.begin(name, sent=now - 1, received=now, until=now + 60, reply_to="replies", body=body)


def state(journal: Journal, name: str) -> str | None:
    entry = journal.find(name)
    return entry.state if entry else None


def test_what_was_not_taken_on_is_not_found(journal: Journal) -> None:
    """A new request has no entry."""
    assert journal.find("a") is None


def test_a_request_keeps_what_it_takes_to_go_on_with_it(journal: Journal, reopen: Open) -> None:
    """The message as it came, when it was sent, until when and where somebody waits: after a restart too."""
    begin(journal, "a")
    assert reopen().find("a") == JournalEntry("a", TAKEN, BEGAN - 1, BEGAN + 60, "replies", "asked", "")


def test_an_answer_is_kept_and_the_message_is_not(journal: Journal, reopen: Open) -> None:
    """Once answered, nobody needs the request's own text, which may hold secrets."""
    begin(journal, "a")
    assert journal.finish("a", "answer")
    entry = reopen().find("a")
    assert entry is not None
    assert (entry.state, entry.body, entry.reply) == (ANSWERED, "", "answer")


def test_every_state_survives_the_daemon(journal: Journal, reopen: Open) -> None:
    """What the next daemon finds is where the one before had come to, in the order of arrival."""
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


def test_the_answer_of_a_forgotten_request_is_let_go(journal: Journal) -> None:
    """Finishing what was never begun changes nothing, and says so."""
    assert not journal.finish("a", "answer")
    assert journal.find("a") is None


def test_entries_are_kept_longer_than_a_request_can_be_valid(journal: Journal) -> None:
    """Up to the last second a repeated request is known; after it, it is forgotten."""
    for name, now in (("a", BEGAN), ("b", BEGAN + KEPT), ("c", BEGAN + KEPT + 1)):
        assert journal.find("a") is not None or name == "a"
        begin(journal, name, now)
        journal.finish(name, "answer")
    assert journal.find("a") is None
    assert journal.find("b") is not None
    assert KEPT > MAX_TTL + 2 * 300


def test_what_still_runs_is_never_forgotten(journal: Journal) -> None:
    """An action may take longer than an answer is kept."""
    begin(journal, "a")
    journal.start("a")
    begin(journal, "b", BEGAN + 10 * KEPT)
    assert journal.find("a") is not None


def test_a_full_journal_forgets_nothing_and_says_busy(reopen: Open) -> None:
    """Room is made by age alone, never by number."""
    journal = reopen(most_entries=2)
    for name in ("a", "b"):
        begin(journal, name)
        journal.done(name)
    with pytest.raises(Failed, match="the journal holds 2 requests") as caught:
        begin(journal, "c", BEGAN + 1)
    assert caught.value.reason == "busy"
    assert journal.find("a") is not None
    begin(journal, "c", BEGAN + KEPT + 1)
    assert journal.find("c") is not None


def test_a_journal_full_of_large_answers_says_busy(reopen: Open) -> None:
    """Its size on the disk is bounded too, and answers that grow old make room again."""
    journal = reopen(most_bytes=1_000_000)
    begin(journal, "a")
    journal.finish("a", "x" * 1_000_000)
    with pytest.raises(Failed, match=r"the journal holds 1\d{6} bytes"):
        begin(journal, "b")
    begin(journal, "b", BEGAN + KEPT + 1)


def test_what_was_sent_before_it_began_is_too_early(journal: Journal) -> None:
    """Nobody knows whether an earlier daemon has run it."""
    assert journal.too_early(BEGAN - 0.001)
    assert not journal.too_early(BEGAN)


def test_a_journal_that_goes_on_keeps_its_beginning(path: Path, reopen: Open) -> None:
    """A clean restart does not refuse what was sent while the daemon was away."""
    reopen().close()
    later = Journal(path, lambda: BEGAN + 500)
    later.mark_beginning()
    assert not later.too_early(BEGAN)
    later.close()


def test_nobody_else_can_read_it(journal: Journal, path: Path) -> None:
    """Requests and answers may hold secrets."""
    begin(journal, "a")
    for part in path.parent.glob("journal.sqlite*"):
        assert stat.S_IMODE(part.stat().st_mode) == 0o600, part


def test_two_daemons_cannot_have_one_journal(journal: Journal, path: Path) -> None:
    """The second is told where and why, and what the first has open is not touched."""
    program = (
        "import sys; from pathlib import Path; from collective.node.storage.journal import Journal\n"
        "try: Journal(Path(sys.argv[1]), lambda: 0.0)\n"
        "except Exception as fault: print(type(fault).__name__, fault)"
    )
    done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"Failed {path}: cannot be opened: database is locked: is it another daemon's")
    begin(journal, "a")


def test_a_place_that_cannot_be_written_is_an_error_at_the_start(tmp_path: Path) -> None:
    """Path and reason, in a line."""
    with pytest.raises(ConfigError, match=r"nowhere/journal\.sqlite: cannot be opened: .*No such file"):
        Journal(tmp_path / "nowhere" / "journal.sqlite", lambda: BEGAN)


RUBBISH: dict[str, Callable[[bytes], bytes]] = {
    "no database": lambda _: b"this is no database, and longer than the header of one" * 100,
    "torn": lambda content: content[:4096] + b"\xff" * 4096 + content[8192:],
    "cut short": lambda content: content[: len(content) // 2],
    "of another version": lambda content: content[:60] + (99).to_bytes(4, "big") + content[64:],
}


@pytest.mark.parametrize("name", RUBBISH)
def test_a_damaged_file_is_kept_and_a_new_one_begun(
    journal: Journal, path: Path, reopen: Open, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The node goes on, says so, and refuses what may have run before."""
    for number in range(200):
        begin(journal, str(number))
    journal.close()
    damaged = RUBBISH[name](path.read_bytes())
    path.write_bytes(damaged)
    later = Journal(path, lambda: BEGAN + 500)
    later.mark_beginning()
    assert [record.getMessage() for record in caplog.records] == ["database.damaged"]
    assert [kept.read_bytes() for kept in path.parent.glob("*.damaged-*")] == [damaged]
    assert later.find("1") is None
    assert later.too_early(BEGAN + 499)
    begin(later, "1")
    later.close()


def test_a_file_that_is_damaged_while_it_is_used_is_replaced(
    journal: Journal, path: Path, reopen: Open, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever asks just then is told to try again; from then on the node remembers anew."""
    for number in range(2000):
        begin(journal, str(number), body="x" * 2000)
    journal = reopen()  # with nothing in its cache
    content = path.read_bytes()
    with path.open("r+b") as file:
        file.write(content[:8192] + b"\xff" * (len(content) - 8192))
    with pytest.raises(Failed, match="try again later") as caught:
        list(map(journal.find, map(str, range(2000))))
    assert caught.value.reason == "busy"
    assert "database.damaged" in caplog.text
    assert journal.too_early(BEGAN - 1)
    begin(journal, "new")
    assert state(journal, "new") == TAKEN


def test_a_full_disk_refuses_and_loses_nothing(path: Path, reopen: Open) -> None:
    """What cannot be written is refused with the reason; what was there stays, and works when there is room again."""
    journal = reopen()
    begin(journal, "a")
    database = journal._database._connection  # noqa: SLF001 - stands in for the disk
    assert database is not None
    pages = database.execute("PRAGMA page_count").fetchone()[0]
    database.execute(f"PRAGMA max_page_count = {pages}").fetchone()
    with pytest.raises(Failed, match="cannot be used: database or disk is full") as caught:
        begin(journal, "b", body="x" * 100_000)
    assert caught.value.reason == "busy"
    assert (state(journal, "a"), state(journal, "b")) == (TAKEN, None)
    database.execute("PRAGMA max_page_count = 1000000").fetchone()
    begin(journal, "b", body="x" * 100_000)
    assert reopen().left(TAKEN) == ["a", "b"]


def on_a_full_disk(program: str, *words: object) -> subprocess.CompletedProcess[str]:
    """Run a program that cannot write one byte into any file (setrlimit(2), RLIMIT_FSIZE)."""
    limited = f"import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n{program}"
    command = [sys.executable, "-c", limited, *map(str, words)]
    environment = {**os.environ, "AWS_DEFAULT_REGION": "eu-west-1"}
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, env=environment)


def test_what_is_there_can_be_opened_on_a_full_disk(journal: Journal, path: Path) -> None:
    """Nothing is written by it: a daemon that a full disk has ended begins again, and knows what it has done."""
    begin(journal, "a")
    for part in path.parent.glob("journal.sqlite*"):
        shutil.copy(part, part.parent / f"crashed-{part.name}")  # as a crash leaves it: not closed
    program = (
        "from pathlib import Path; from collective.node.storage.journal import Journal; "
        "print(Journal(Path(sys.argv[1]), lambda: 0.0).find('a').body)"
    )
    assert on_a_full_disk(program, path.parent / "crashed-journal.sqlite").stdout == "asked\n"


def test_a_daemon_that_finds_the_disk_full_asks_to_be_started_again(tmp_path: Path) -> None:
    """75, sysexits.h's EX_TEMPFAIL, in one line: 78 would be taken for something that stays wrong."""
    (tmp_path / "state").mkdir(mode=0o700)
    node_key(tmp_path / "state")
    (tmp_path / "policy.yaml").write_text("rules: []")
    written = {"collective": "test", "identity": "one", "accept_unsigned": True, "registry": "none", "state": "state"}
    (tmp_path / "node.yaml").write_text(json.dumps({**written, "policy": "policy.yaml", "audit": "audit.jsonl"}))
    program = "from collective.node.daemon import main; sys.exit(main(['--config', sys.argv[1]]))"
    done = on_a_full_disk(program, tmp_path / "node.yaml")
    assert done.returncode == 75
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"collectived: {tmp_path}/state/journal.sqlite: cannot be opened: disk I/O error")


def test_a_closed_journal_refuses(journal: Journal) -> None:
    """Threads that are late at a stop change nothing, and do not take the file for damaged."""
    journal.close()
    with pytest.raises(Failed, match="it is closed"):
        journal.start("a")


def test_a_killed_daemon_loses_nothing_that_was_noted(path: Path) -> None:
    """SIGKILL right after a step: the next daemon finds that step done."""
    program = (
        "import os, signal, sys; from pathlib import Path; from collective.node.storage.journal import Journal\n"
        "journal = Journal(Path(sys.argv[1]), lambda: 5.0); journal.mark_beginning()\n"
        "journal.begin('a', sent=1.0, received=2.0, until=3.0, reply_to='r', body='b'); journal.start('a')\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", program, path], check=False).returncode == -9
    journal = Journal(path, lambda: BEGAN)
    assert journal.find("a") == JournalEntry("a", STARTED, 1.0, 3.0, "r", "b", "")
    journal.close()


def test_it_is_sqlite_that_anybody_can_look_into(journal: Journal, path: Path) -> None:
    """With the daemon stopped, sqlite3 reads it."""
    begin(journal, "a")
    journal.close()
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT id, state FROM requests").fetchall() == [("a", "taken")]
    connection.close()
    assert list(path.parent.iterdir()) == [path]
