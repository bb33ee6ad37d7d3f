"""The identity that a command of an agent runs with: user, groups and environment variables.

collective.agent.run and the agents use `as_user`; the worker of an action uses `account_environment`.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from typing import Any

from collective.errors import Aborted, InvalidInput
from collective.processes import MARK

# systemd.exec(5), "Environment Variables in Spawned Processes": $PATH of system services.
STANDARD_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def account_environment() -> dict[str, str]:
    """Return HOME, USER, LOGNAME, SHELL and PATH of this process's user, however the process was started.

    A PATH that is set is kept. A user without an entry in passwd(5) has the home folder `/`.
    """
    path = os.environ.get("PATH") or STANDARD_PATH
    try:
        return _account(pwd.getpwuid(os.geteuid()), path)
    except KeyError:
        number = str(os.geteuid())
        return {"HOME": "/", "USER": number, "LOGNAME": number, "SHELL": "/bin/sh", "PATH": path}


def as_user(user: str | None, env: Mapping[str, str] | None = None, group: int | None = None) -> dict[str, Any]:
    """Return arguments of Popen to run as `user`, with that user's groups and environment, and `env` added.

    The child changes its groups, its group and its user before it executes the command; leaving user 0 drops all
    capabilities, also ambient ones (capabilities(7)). `group` is a group number that replaces the user's own one.
    Without a user the node's environment is passed on, with HOME, USER, LOGNAME and SHELL of the node's user.

    Raises InvalidInput if the user does not exist, Aborted if the node cannot change its user.
    """
    language = {"LC_ALL": "C.UTF-8"}
    if user is None:
        return {"env": {**os.environ, **account_environment(), **language, **(env or {})}}
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise InvalidInput(f"user '{user}' does not exist on this node") from None
    mark = {MARK: os.environ[MARK]} if MARK in os.environ else {}
    environment = {**_account(entry, STANDARD_PATH), **mark, **language, **(env or {})}
    if entry.pw_uid == os.geteuid() and group in (None, os.getegid()):
        return {"env": environment}
    if os.geteuid() != 0:
        own = account_environment()["USER"]
        raise Aborted(f"cannot run as user '{user}': this node runs as '{own}', not root (omit the user)")
    primary = entry.pw_gid if group is None else group
    return {
        "user": entry.pw_uid,
        "group": primary,
        "extra_groups": os.getgrouplist(user, primary),
        "env": environment,
    }


def _account(entry: pwd.struct_passwd, path: str) -> dict[str, str]:
    return {
        "HOME": entry.pw_dir or "/",
        "USER": entry.pw_name,
        "LOGNAME": entry.pw_name,
        "SHELL": entry.pw_shell or "/bin/sh",
        "PATH": path,
    }
