"""Mode and owner of a rendered file: those of the settings, or else those that the file has."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

from collective.errors import ConfigError
from collective.template_settings import TemplateSettings

_DEFAULT_MODE = 0o644


@dataclass(frozen=True)
class Attributes:
    """A mode, and the numbers of user and group."""

    mode: int
    user: int
    group: int

    def match(self, found: os.stat_result) -> bool:
        """Return whether a file has them."""
        return (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (self.mode, self.user, self.group)

    def set(self, file: int) -> None:
        """Give them to an open file. Raises OSError."""
        found = os.fstat(file)
        if (found.st_uid, found.st_gid) != (self.user, self.group):
            os.fchown(file, self.user, self.group)
        os.fchmod(file, self.mode)


def wanted(settings: TemplateSettings, path: Path) -> Attributes:
    """Return what the file at `path` should have. Raises ConfigError for an unknown user, or without the right."""
    mode, user, group = _present(path)
    if settings.mode is not None:
        mode = settings.mode
    if settings.owner is not None:
        name, _, group_name = settings.owner.partition(":")
        user = _user(name) if name else user
        group = _group(group_name) if group_name else group
    if os.geteuid() != 0 and user != os.geteuid():
        raise ConfigError(f"{settings.dest}: belongs to user {user}, and only root can write files of other users")
    return Attributes(mode, user, group)


def _present(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except FileNotFoundError:
        return _DEFAULT_MODE, os.geteuid(), os.getegid()
    return stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid


def _user(name: str) -> int:
    try:
        return int(name) if name.isdecimal() else pwd.getpwnam(name).pw_uid
    except KeyError:
        raise ConfigError(f"owner: user '{name}' does not exist on this machine") from None


def _group(name: str) -> int:
    try:
        return int(name) if name.isdecimal() else grp.getgrnam(name).gr_gid
    except KeyError:
        raise ConfigError(f"owner: group '{name}' does not exist on this machine") from None
