"""Files that other users can change, and files that the daemon cannot write, are reported; nothing is created."""

from __future__ import annotations

import grp
import os
import pwd
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from collective.config import NodeConfig
from collective.node import trust
from collective.node.check.permissions import below, problems
from collective.node.plugins import agents

ME = os.geteuid()
OTHER_USER = 4711
USER = pwd.getpwuid(ME).pw_name


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """An agent file in a folder that only its owner can change."""
    path = tmp_path / "agents" / "odd.py"
    path.parent.mkdir(mode=0o755)
    path.touch(mode=0o644)
    return path


@contextmanager
def another_user() -> Iterator[None]:
    """Switch to a user without access to pytest's folders."""
    os.setresuid(OTHER_USER, OTHER_USER, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


def test_paths_that_only_root_and_the_daemon_can_change_are_accepted(plugin: Path) -> None:
    """Paths below /tmp and paths that do not exist are accepted too."""
    assert list(problems([plugin, plugin.parent, plugin.with_name("none.py")], {}, ME)) == []


@pytest.mark.parametrize("which", [lambda path: path, lambda path: path.parent], ids=["the file", "its folder"])
def test_paths_that_all_users_can_change_are_reported(plugin: Path, which: Callable[[Path], Path]) -> None:
    """A writable folder counts, because a file in it can be replaced."""
    opened = which(plugin)
    opened.chmod(0o777)
    (line,) = problems([plugin, plugin], {}, ME)
    assert line == f"{opened}: writable by all users (use 'chmod o-w {opened}')"


@pytest.mark.skipif(ME != 0, reason="a file of root's group")
def test_users_of_an_access_control_list_are_reported(plugin: Path) -> None:
    """The mode shows only root's group. A user who may write is reported; one who may not, and root, are not."""
    for permissions, mask, user, reported in ((6, 6, OTHER_USER, True), (6, 4, OTHER_USER, False), (6, 6, 0, False)):
        set_list(plugin, permissions, mask, user)
        found = list(problems([plugin], {}, ME))
        line = f"{plugin}: writable by user {user} through its access control list (use 'setfacl -b {plugin}')"
        assert found == ([line] if reported else [])


def set_list(path: Path, permissions: int, mask: int, user: int) -> None:
    """Give a file an access control list in which one user is named (acl(5))."""
    none = 0xFFFFFFFF
    entries = ((1, 6, none), (2, permissions, user), (4, 4, none), (16, mask, none), (32, 4, none))
    try:
        os.setxattr(
            path,
            "system.posix_acl_access",
            struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *one) for one in entries),
        )
    except OSError as error:
        pytest.skip(f"the file system has no access control lists: {error.strerror}")


@pytest.mark.skipif(ME != 0, reason="only root can change owners")
@pytest.mark.parametrize(
    ("name", "members", "reported"),
    [("users", [], True), (USER, [], False), (USER, [USER], False), (USER, ["mallory"], True)],
)
def test_a_group_that_others_share_is_reported(
    plugin: Path, monkeypatch: pytest.MonkeyPatch, name: str, members: list[str], reported: bool
) -> None:
    """Some systems have one group for all users; a group with the name of the user is the user's own."""
    os.chown(plugin, -1, OTHER_USER)
    plugin.chmod(0o664)
    monkeypatch.setattr(os, "getegid", lambda: OTHER_USER)
    monkeypatch.setattr(grp, "getgrgid", lambda number: grp.struct_group((name, "x", number, members)))
    line = f"{plugin}: writable by group {OTHER_USER} (use 'chmod g-w {plugin}')"
    assert list(problems([plugin], {}, ME)) == ([line] if reported else [])


def test_the_target_folder_of_a_link_is_checked(plugin: Path, tmp_path: Path) -> None:
    """A link to a file in a writable folder is reported."""
    link = tmp_path / "link.py"
    link.symlink_to(plugin)
    plugin.parent.chmod(0o777)
    assert [line.partition(":")[0] for line in problems([link], {}, ME)] == [str(plugin.parent)]


@pytest.mark.skipif(ME != 0, reason="only root can change owners")
def test_paths_of_other_owners_and_groups_are_reported(plugin: Path) -> None:
    """An owner can change a file whatever its mode is; a group can if the mode allows it."""
    os.chown(plugin, OTHER_USER, 0)
    os.chown(plugin.parent, 0, OTHER_USER)
    plugin.parent.chmod(0o775)
    found = [line.partition(" (")[0] for line in problems([plugin], {}, 0)]
    assert found == [f"{plugin}: writable by user {OTHER_USER}", f"{plugin.parent}: writable by group {OTHER_USER}"]


def test_paths_that_can_be_created_later_are_accepted_and_not_created(tmp_path: Path) -> None:
    """The nearest existing folder is checked."""
    assert list(problems([], {"state": tmp_path / "a" / "b" / "journal.sqlite"}, ME)) == []
    assert list(tmp_path.iterdir()) == []


def test_paths_that_cannot_be_written_are_reported_by_configuration_key(tmp_path: Path) -> None:
    """A file where a folder is needed and a read-only file system (/proc, also for root) are reported."""
    (tmp_path / "file").touch()
    below = {"state": tmp_path / "file" / "journal.sqlite", "audit": Path("/proc/sys/kernel/audit.jsonl")}
    state, *audit = problems([], below, ME)
    assert state == f"state: {tmp_path / 'file'}: not a folder (delete it, or configure another path)"
    assert not audit or audit[0].startswith("audit: /proc/sys/kernel: not writable")


def test_a_sticky_folder_is_accepted_only_above_existing_paths(tmp_path: Path) -> None:
    """Anyone can add an agent to a sticky folder of agents, or create a missing file in it."""
    sticky = tmp_path / "sticky"
    sticky.mkdir()
    sticky.chmod(0o1777)
    (sticky / "agents").mkdir(mode=0o755)
    assert list(problems([sticky / "agents"], {}, ME)) == []
    for listed in (sticky, sticky / "policy.yaml"):
        (line,) = problems([listed], {}, ME)
        assert line.startswith(f"{sticky}: writable by all users")


@pytest.mark.skipif(ME != 0, reason="only root can change owners")
def test_another_owner_of_a_sticky_folder_is_reported(tmp_path: Path) -> None:
    """The owner of a sticky folder can replace files of root in it."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "policy.yaml").touch(0o644)
    os.chown(tmp_path / "etc", OTHER_USER, 0)
    (tmp_path / "etc").chmod(0o1755)
    (line,) = problems([tmp_path / "etc" / "policy.yaml"], {}, 0)
    assert line.startswith(f"{tmp_path}/etc: writable by user {OTHER_USER}")


def test_everything_below_a_folder_is_found_once(tmp_path: Path) -> None:
    """Files at any depth and through links are found; circular links end."""
    (tmp_path / "agents" / "data").mkdir(parents=True)
    (tmp_path / "agents" / "data" / "mine.py").touch()
    (tmp_path / "agents" / "data" / "up").symlink_to(tmp_path / "agents")
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "yours.py").touch()
    (tmp_path / "agents" / "link").symlink_to(tmp_path / "else")
    found = [str(path.relative_to(tmp_path / "agents")) for path in below(tmp_path / "agents")]
    assert found == ["data", "link", "data/mine.py", "data/up", "link/yours.py"]
    assert list(below(tmp_path / "none")) == []


@pytest.mark.skipif(ME != 0, reason="only root can switch users")
def test_a_path_below_an_inaccessible_folder_is_reported(tmp_path: Path) -> None:
    """For a daemon without root, a path that cannot be checked is reported without a traceback."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with another_user():
        found = list(problems([closed / "policy.yaml"], {"state": closed / "state" / "journal.sqlite"}, 0))
    (line,) = found
    assert line.startswith("state: /")
    assert line.endswith(": not writable (change its owner, or configure another path)")


@pytest.mark.skipif(ME != 0, reason="only root can switch users")
def test_plugins_and_keys_below_an_inaccessible_folder_are_reported(tmp_path: Path) -> None:
    """Each unreadable file and folder is one line; a missing folder is not reported."""
    config = NodeConfig("c", "web1", allowed_signers=tmp_path / "signers", revoked_keys=tmp_path / "revoked")
    (tmp_path / "agents").mkdir()
    with another_user():
        found = [*trust.problems(config), *agents.load([tmp_path / "agents"], [tmp_path / "ddl"], tmp_path).problems]
    closed = [tmp_path / name for name in ("signers", "revoked", "ddl", "agents")]
    assert found == [f"{path}: cannot be read: Permission denied" for path in closed]
    assert agents.load([tmp_path / "none"], [tmp_path / "none"], tmp_path).problems == ()
