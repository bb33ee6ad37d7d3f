"""Decide whether other users of this machine can change or replace a file that the node trusts.

`collectived --check` uses it for all files of a node, the loaders of plugins for each file before it is used, and the
standard agents for folders in which they act as root.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Collection
from pathlib import Path

from collective.access_lists import writers


def replaceable(path: Path, users: Collection[int] = (), groups: Collection[int] = ()) -> str | None:
    """Return the problem if others than root, the node's user, `users` and `groups` can change `path` or its parents.

    Links are followed; where they lead is checked too. A path that does not exist has no problem.
    """
    targets = dict.fromkeys((path.absolute(), Path(os.path.realpath(path))))  # Path.resolve() raises for circular links
    trusted = {0, os.geteuid(), *users}
    for target in targets:
        for part in (target, *target.parents):
            if problem := writable_by_others(part, trusted, groups, may_be_sticky=part != path):
                return problem
    return None


def writable_by_others(
    path: Path, trusted: Collection[int], groups: Collection[int] = (), *, may_be_sticky: bool
) -> str | None:
    """Return the problem if users who are not `trusted` can write `path`; None if not, or if it does not exist."""
    try:
        found = path.stat()
    except OSError:
        return None  # a path that cannot be read is reported where it is read
    if stat.S_ISCHR(found.st_mode) and not may_be_sticky:
        return None  # /dev/null, which stays empty; only root makes devices
    if found.st_uid not in trusted:
        return f"{path}: writable by user {found.st_uid} (use 'chown {os.geteuid()} {path}')"
    if may_be_sticky and stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX:
        return None  # such as /tmp: others can add files there, but not replace existing files of this node
    if found.st_mode & stat.S_IWOTH:
        return f"{path}: writable by all users (use 'chmod o-w {path}')"
    if not found.st_mode & stat.S_IWGRP:
        return None
    if found.st_gid not in (0, *groups) and not _is_own(found.st_gid):
        return f"{path}: writable by group {found.st_gid} (use 'chmod g-w {path}')"
    for kind, number in writers(path):
        if number not in (trusted if kind == "user" else (0, *groups)):
            return f"{path}: writable by {kind} {number} through its access control list (use 'setfacl -b {path}')"
    return None


def _is_own(group: int) -> bool:
    """Return whether a group is that of the node's user alone: some systems give all users the same one."""
    if group != os.getegid():
        return False
    try:
        found, user = grp.getgrgid(group), pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # a number without a name, as in containers
        return True
    return found.gr_name == user and {*found.gr_mem} <= {user}
