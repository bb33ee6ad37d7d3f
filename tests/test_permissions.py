"""Files that others may change under the daemon, and files that it cannot write itself: found, and nothing made."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from collective.node.permissions import faults

ME = os.geteuid()
STRANGER = 4711


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """A file in a folder of its own."""
    path = tmp_path / "agents" / "odd.py"
    path.parent.mkdir(mode=0o755)
    path.touch(mode=0o644)
    return path


def test_what_only_root_and_we_may_change_is_right(plugin: Path) -> None:
    """Also below /tmp, where everybody may add files, and what is not there at all."""
    assert list(faults([plugin, plugin.parent, plugin.with_name("none.py")], {}, ME)) == []


@pytest.mark.parametrize("which", [lambda path: path, lambda path: path.parent], ids=["the file", "its folder"])
def test_what_everybody_may_change_is_named_with_what_to_do(plugin: Path, which: Callable[[Path], Path]) -> None:
    """Who may write the folder may put another file in its place."""
    opened = which(plugin)
    opened.chmod(0o777)
    (line,) = faults([plugin, plugin], {}, ME)
    assert line == f"{opened}: everybody may change it, and what this node does with it: chmod o-w {opened}"


def test_the_folder_that_a_link_leads_to_counts(plugin: Path, tmp_path: Path) -> None:
    """A link into somebody's home is somebody's file."""
    link = tmp_path / "link.py"
    link.symlink_to(plugin)
    plugin.parent.chmod(0o777)
    assert [line.partition(":")[0] for line in faults([link], {}, ME)] == [str(plugin.parent)]


@pytest.mark.skipif(ME != 0, reason="only root gives files away")
def test_what_belongs_to_somebody_else_is_found(plugin: Path) -> None:
    """An owner may change it, whatever its mode says; so may a group."""
    os.chown(plugin, STRANGER, 0)
    os.chown(plugin.parent, 0, STRANGER)
    plugin.parent.chmod(0o775)
    said = [line.partition(" may")[0] for line in faults([plugin], {}, 0)]
    assert said == [f"{plugin}: user {STRANGER}", f"{plugin.parent}: group {STRANGER}"]


def test_what_can_be_made_later_is_right_and_not_made(tmp_path: Path) -> None:
    """The nearest folder that is there decides."""
    assert list(faults([], {"state": tmp_path / "a" / "b" / "journal.sqlite"}, ME)) == []
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_is_named_by_its_key(tmp_path: Path) -> None:
    """A file in the place of a folder, and a file system without writing (not even root may write below /proc)."""
    (tmp_path / "file").touch()
    below = {"state": tmp_path / "file" / "journal.sqlite", "audit": Path("/proc/sys/kernel/audit.jsonl")}
    state, *audit = faults([], below, ME)
    assert state == f"state: {tmp_path / 'file'}: is no folder: take it away, or name another"
    assert not audit or audit[0].startswith("audit: /proc/sys/kernel: cannot be written")
