"""Files that others may change under the daemon, and files that it cannot write itself: found, and nothing made."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from collective.config import NodeConfig
from collective.node import trust
from collective.node.check.permissions import below, problems
from collective.node.plugins import agents

ME = os.geteuid()
STRANGER = 4711


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """A file in a folder of its own."""
    path = tmp_path / "agents" / "odd.py"
    path.parent.mkdir(mode=0o755)
    path.touch(mode=0o644)
    return path


@contextmanager
def somebody_else() -> Iterator[None]:
    """Be a user to whom pytest's folders are closed."""
    os.setresuid(STRANGER, STRANGER, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


def test_what_only_root_and_we_may_change_is_right(plugin: Path) -> None:
    """Also below /tmp, where everybody may add files, and what is not there at all."""
    assert list(problems([plugin, plugin.parent, plugin.with_name("none.py")], {}, ME)) == []


@pytest.mark.parametrize("which", [lambda path: path, lambda path: path.parent], ids=["the file", "its folder"])
def test_what_everybody_may_change_is_named_with_what_to_do(plugin: Path, which: Callable[[Path], Path]) -> None:
    """Who may write the folder may put another file in its place."""
    opened = which(plugin)
    opened.chmod(0o777)
    (line,) = problems([plugin, plugin], {}, ME)
    assert line == f"{opened}: everybody may change it, and what this node does with it: chmod o-w {opened}"


def test_the_folder_that_a_link_leads_to_counts(plugin: Path, tmp_path: Path) -> None:
    """A link into somebody's home is somebody's file."""
    link = tmp_path / "link.py"
    link.symlink_to(plugin)
    plugin.parent.chmod(0o777)
    assert [line.partition(":")[0] for line in problems([link], {}, ME)] == [str(plugin.parent)]


@pytest.mark.skipif(ME != 0, reason="only root gives files away")
def test_what_belongs_to_somebody_else_is_found(plugin: Path) -> None:
    """An owner may change it, whatever its mode says; so may a group."""
    os.chown(plugin, STRANGER, 0)
    os.chown(plugin.parent, 0, STRANGER)
    plugin.parent.chmod(0o775)
    said = [line.partition(" may")[0] for line in problems([plugin], {}, 0)]
    assert said == [f"{plugin}: user {STRANGER}", f"{plugin.parent}: group {STRANGER}"]


def test_what_can_be_made_later_is_right_and_not_made(tmp_path: Path) -> None:
    """The nearest folder that is there decides."""
    assert list(problems([], {"state": tmp_path / "a" / "b" / "journal.sqlite"}, ME)) == []
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_is_named_by_its_key(tmp_path: Path) -> None:
    """A file in the place of a folder, and a file system without writing (not even root may write below /proc)."""
    (tmp_path / "file").touch()
    below = {"state": tmp_path / "file" / "journal.sqlite", "audit": Path("/proc/sys/kernel/audit.jsonl")}
    state, *audit = problems([], below, ME)
    assert state == f"state: {tmp_path / 'file'}: is no folder: take it away, or name another"
    assert not audit or audit[0].startswith("audit: /proc/sys/kernel: cannot be written")


def test_a_sticky_folder_is_right_above_what_is_there_only(tmp_path: Path) -> None:
    """Anyone may add an agent to one that is listed, or make a file that is not there."""
    sticky = tmp_path / "sticky"
    sticky.mkdir()
    sticky.chmod(0o1777)
    (sticky / "agents").mkdir(mode=0o755)
    assert list(problems([sticky / "agents"], {}, ME)) == []
    for listed in (sticky, sticky / "policy.yaml"):
        (line,) = problems([listed], {}, ME)
        assert line.startswith(f"{sticky}: everybody may change it")


@pytest.mark.skipif(ME != 0, reason="only root gives files away")
def test_the_owner_of_a_sticky_folder_may_change_all_in_it(tmp_path: Path) -> None:
    """He may rename what is root's, and put his own there."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "policy.yaml").touch(0o644)
    os.chown(tmp_path / "etc", STRANGER, 0)
    (tmp_path / "etc").chmod(0o1755)
    (line,) = problems([tmp_path / "etc" / "policy.yaml"], {}, 0)
    assert line.startswith(f"{tmp_path}/etc: user {STRANGER} may change it")


def test_all_below_a_folder_is_found_once(tmp_path: Path) -> None:
    """At any depth, through links too, and a link in a circle ends."""
    (tmp_path / "agents" / "data").mkdir(parents=True)
    (tmp_path / "agents" / "data" / "mine.py").touch()
    (tmp_path / "agents" / "data" / "up").symlink_to(tmp_path / "agents")
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "yours.py").touch()
    (tmp_path / "agents" / "link").symlink_to(tmp_path / "else")
    found = [str(path.relative_to(tmp_path / "agents")) for path in below(tmp_path / "agents")]
    assert found == ["data", "link", "data/mine.py", "data/up", "link/yours.py"]
    assert list(below(tmp_path / "none")) == []


@pytest.mark.skipif(ME != 0, reason="only root becomes somebody else")
def test_what_lies_below_a_closed_folder_is_a_finding(tmp_path: Path) -> None:
    """Not a traceback, for a daemon that is not root; what it reads there is told where it is read."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with somebody_else():
        found = list(problems([closed / "policy.yaml"], {"state": closed / "state" / "journal.sqlite"}, 0))
    (line,) = found
    assert line.startswith("state: /")
    assert line.endswith(": cannot be written: chown it, or name another")


@pytest.mark.skipif(ME != 0, reason="only root becomes somebody else")
def test_plugins_and_keys_below_a_closed_folder_are_findings(tmp_path: Path) -> None:
    """A line each, of those that may read nothing there; a folder that is not there is none."""
    config = NodeConfig("c", "web1", allowed_signers=tmp_path / "signers", revoked_keys=tmp_path / "revoked")
    (tmp_path / "agents").mkdir()
    with somebody_else():
        said = [*trust.problems(config), *agents.load([tmp_path / "agents"], [tmp_path / "ddl"], tmp_path).problems]
    closed = [tmp_path / name for name in ("signers", "revoked", "ddl", "agents")]
    assert said == [f"{path}: cannot be read: Permission denied" for path in closed]
    assert agents.load([tmp_path / "none"], [tmp_path / "none"], tmp_path).problems == ()
