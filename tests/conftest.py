"""Fixtures that several test modules share."""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from support.actions import PLUGIN
from support.cgroups import MOUNTED
from support.environment import make_neutral
from support.jobs import OpenJobs
from support.journal_entries import BEGAN, OpenJournal
from support.node_server import CODE, DDL, REPLIES
from support.simulated import Make
from support.waiting import wait_until

from collective.agents import _nrpe_config
from collective.node.actions.fork_server import ForkServer
from collective.node.jobs.store import open_database
from collective.node.storage.journal import Journal, JournalLimits
from collective.testing import Network, memory_fleet
from collective.testing.simulation import Simulation

# A shell's background jobs ignore SIGINT, and what `nohup` starts ignores SIGHUP; commands would inherit both.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
_nrpe_config.CONFIG = "/no/such/nrpe.cfg"  # this machine may have one, with checks for another user
make_neutral()  # before anything is collected: some values are read once
hypothesis.settings.register_profile("any machine", deadline=None)  # how long an example takes depends on its load
hypothesis.settings.load_profile("any machine")


@pytest.fixture(autouse=True)
def _unchanged_logger() -> Iterator[None]:
    """Restore the level and the handlers of the product's logger, which each command sets: later tests read both."""
    logger = logging.getLogger("collective")
    level, handlers = logger.level, list(logger.handlers)
    yield
    logger.setLevel(level)
    logger.handlers[:] = handlers


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    """A folder with one agent's code and DDL."""
    folder = tmp_path / "plugins"
    folder.mkdir()
    (folder / "odd.py").write_text(CODE)
    (folder / "odd.json").write_text(json.dumps(DDL))
    return folder


@pytest.fixture
def open_jobs() -> Iterator[OpenJobs]:
    """Return a function that opens a node's database of jobs; each is closed after the test."""
    with contextlib.ExitStack() as stack:
        yield lambda path: stack.enter_context(contextlib.closing(open_database(path)))


@pytest.fixture
def journal_path(tmp_path: Path) -> Path:
    """The path of the journal."""
    return tmp_path / "journal.sqlite"


@pytest.fixture
def reopen(journal_path: Path) -> Iterator[OpenJournal]:
    """A function that closes the journal and opens it again, as a restarted daemon does."""
    last: list[Journal] = []

    def open_again(**limits: int) -> Journal:
        for journal in last:
            journal.close()
        last[:] = [Journal(journal_path, lambda: BEGAN, limits=JournalLimits(**limits))]
        last[0].mark_beginning()
        return last[0]

    yield open_again
    for journal in last:
        journal.close()


@pytest.fixture
def journal(reopen: OpenJournal) -> Journal:
    """A new journal."""
    return reopen()


@pytest.fixture
def network(tmp_path: Path, plugins: Path) -> Iterator[Network]:
    """One node that takes two actions at once, of `odd` too, and lets three more wait, two of them of one agent."""
    with memory_fleet(
        tmp_path,
        {"web1": {"role": "web"}},
        code=[plugins],
        ddls=[plugins],
        max_actions=2,
        max_queued=3,
        agent_limits={"odd": 2},
    ) as network:
        network.transport.open_replies(REPLIES)
        yield network


@pytest.fixture
def simulation(plugins: Path, tmp_path: Path) -> Make:
    """Make simulations whose nodes have the agent `odd`."""
    numbers = itertools.count()

    def make(*args: object, **named: object) -> Simulation:
        folder = tmp_path / str(next(numbers))
        folder.mkdir()
        return Simulation(folder, *args, code=[plugins], ddls=[plugins], **named)  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="session")
def fork_server() -> Iterator[ForkServer]:
    """One fork server for all tests, as a daemon has one."""
    server = ForkServer()
    yield server
    server.close()


@pytest.fixture
def own_group() -> Iterator[Path]:
    """A control group below which groups can be created; the test is skipped where the machine allows none."""
    if not MOUNTED or os.geteuid() != 0:
        pytest.skip("this machine does not allow creating control groups (version 2)")
    folder = MOUNTED[0] / f"collective-test-{uuid.uuid4().hex[:8]}"
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"{folder} cannot be created: {error.strerror}")
    yield folder
    (folder / "cgroup.kill").write_text("1")
    wait_until(lambda: removed(folder), 30)


def removed(folder: Path) -> bool:
    """Remove a control group with the groups in it; return whether none of them has a process any more."""
    with contextlib.suppress(OSError):
        for below in folder.iterdir():
            if below.is_dir():
                below.rmdir()
        folder.rmdir()
    return not folder.exists()


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """A file with actions of all sorts."""
    path = tmp_path / "odd.py"
    path.write_text(PLUGIN)
    return path
