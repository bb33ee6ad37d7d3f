"""The journal on a disk that is full or damaged, and after a crash."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.journal_entries import BEGAN, OpenJournal, begin, make_entry, state

from collective.errors import ConfigError, Failed
from collective.node.storage.journal import (
    STARTED,
    TAKEN,
    Journal,
)
from collective.node.trust import node_key


def test_a_journal_that_cannot_be_created_is_an_error(tmp_path: Path) -> None:
    """The error has the path and the reason."""
    with pytest.raises(ConfigError, match=r"nowhere/journal\.sqlite: cannot be opened: .*No such file"):
        Journal(tmp_path / "nowhere" / "journal.sqlite", lambda: BEGAN)


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "no database": lambda _: b"this is not a database, and longer than the header of one" * 100,
    "torn": lambda content: content[:4096] + b"\xff" * 4096 + content[8192:],
    "cut short": lambda content: content[: len(content) // 2],
    "of another version": lambda content: content[:60] + (99).to_bytes(4, "big") + content[64:],
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_file_is_kept_and_replaced(
    journal: Journal, journal_path: Path, reopen: OpenJournal, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The node logs the damage, uses a new journal, and rejects requests that may have run before."""
    for number in range(200):
        begin(journal, str(number))
    journal.close()
    damaged = DAMAGE[name](journal_path.read_bytes())
    journal_path.write_bytes(damaged)
    later = Journal(journal_path, lambda: BEGAN + 500)
    later.mark_beginning()
    assert [record.getMessage() for record in caplog.records] == ["database.damaged"]
    assert [kept.read_bytes() for kept in journal_path.parent.glob("*.damaged-*")] == [damaged]
    assert later.find("1") is None
    assert later.too_early(BEGAN + 499, BEGAN + 900)
    assert later.too_early(BEGAN + 501, BEGAN + 501)
    begin(later, "1")
    later.close()


def test_a_file_damaged_while_in_use_is_replaced(
    journal: Journal, journal_path: Path, reopen: OpenJournal, caplog: pytest.LogCaptureFixture
) -> None:
    """The current call fails as busy; later calls use a new journal."""
    for number in range(2000):
        begin(journal, str(number), body="x" * 2000)
    journal = reopen()  # with nothing in its cache
    content = journal_path.read_bytes()
    with journal_path.open("r+b") as file:
        file.write(content[:8192] + b"\xff" * (len(content) - 8192))
    with pytest.raises(Failed, match="try again later") as caught:
        list(map(journal.find, map(str, range(2000))))
    assert caught.value.reason == "busy"
    assert "database.damaged" in caplog.text
    assert journal.too_early(BEGAN - 1, BEGAN - 1)
    begin(journal, "new")
    assert state(journal, "new") == TAKEN


def test_a_full_disk_is_reported_and_loses_nothing(journal_path: Path, reopen: OpenJournal) -> None:
    """A failed write changes nothing, and later writes succeed when there is space again."""
    journal = reopen()
    begin(journal, "a")
    database = journal._database._connection  # noqa: SLF001 - to simulate a full disk
    assert database is not None
    pages = database.execute("PRAGMA page_count").fetchone()[0]
    database.execute(f"PRAGMA max_page_count = {pages}").fetchone()
    with pytest.raises(Failed, match="cannot be read or written: database or disk is full") as caught:
        begin(journal, "b", body="x" * 100_000)
    assert caught.value.reason == "busy"
    assert (state(journal, "a"), state(journal, "b")) == (TAKEN, None)
    database.execute("PRAGMA max_page_count = 1000000").fetchone()
    begin(journal, "b", body="x" * 100_000)
    assert reopen().left(TAKEN) == ["a", "b"]


def on_a_full_disk(program: str, *words: object) -> subprocess.CompletedProcess[str]:
    """Run a program that cannot write to any file (setrlimit(2), RLIMIT_FSIZE)."""
    limited = f"import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n{program}"
    command = [sys.executable, "-c", limited, *map(str, words)]
    environment = {**os.environ, "AWS_DEFAULT_REGION": "eu-west-1"}
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, env=environment)


def test_an_existing_journal_can_be_opened_on_a_full_disk(journal: Journal, journal_path: Path) -> None:
    """Opening a journal writes nothing, so that a daemon can be restarted on a full disk."""
    begin(journal, "a")
    for part in journal_path.parent.glob("journal.sqlite*"):
        shutil.copy(part, part.parent / f"crashed-{part.name}")  # not closed, as after a crash
    program = (
        "from pathlib import Path; from collective.node.storage.journal import Journal; "
        "print(Journal(Path(sys.argv[1]), lambda: 0.0).find('a').body)"
    )
    assert on_a_full_disk(program, journal_path.parent / "crashed-journal.sqlite").stdout == "asked\n"


def test_a_daemon_started_on_a_full_disk_exits_with_75(tmp_path: Path) -> None:
    """With 75 (EX_TEMPFAIL) systemd restarts the daemon, with 78 (EX_CONFIG) it does not."""
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


def test_a_killed_daemon_loses_no_recorded_step(journal_path: Path) -> None:
    """After SIGKILL, the next daemon finds the last step."""
    program = (
        "import os, signal, sys; from pathlib import Path; from collective.node.storage.journal import Journal\n"
        "journal = Journal(Path(sys.argv[1]), lambda: 5.0); journal.mark_beginning()\n"
        "from support.journal_entries import make_entry\n"
        "journal.begin(make_entry('a'), 1000.0); journal.start('a')\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    assert subprocess.run([sys.executable, "-c", program, journal_path], check=False, env=environment).returncode == -9
    journal = Journal(journal_path, lambda: BEGAN)
    assert journal.find("a") == make_entry("a", state=STARTED)
    journal.close()
