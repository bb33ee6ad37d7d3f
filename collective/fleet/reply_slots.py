"""Assign reply queues to calls: each call locks a slot, whose queue no other call uses at the same time.

    <state>/installation           a random suffix, because file locks do not span machines; made again if it is damaged
    <state>/slots/<collective>/N   locked by the call that uses slot N; contains what saves the next call a request

Reply queues are reused, because SQS blocks the name of a deleted queue for 60 s.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import re
import secrets
import socket
from pathlib import Path
from typing import IO

from collective import names
from collective.config import user_name
from collective.errors import ConfigError

_SUFFIX = re.compile(rb"[0-9a-f]{4}")
_PREFIX = 36  # characters of user and host name in the name of a slot


class Slot:
    """A locked slot. `queue` is the name of its reply queue; `known` is what an earlier call stored about it."""

    def __init__(self, queue: str, file: IO[str]) -> None:
        self.queue = queue
        self._file = file
        self.known = _text(file)

    def store(self, known: str) -> None:
        """Store `known` for the next call that uses this slot."""
        if known != self.known:
            self._file.seek(0)
            self._file.truncate()
            self._file.write(known)
            self._file.flush()

    def release(self) -> None:
        """Unlock the slot for other calls."""
        self._file.close()


def _text(file: IO[str]) -> str | None:
    """Return the content of a slot's file; None when it is empty or damaged: it only saves a request."""
    try:
        return file.read() or None
    except UnicodeDecodeError:
        return None


def take(state: Path, collective: str) -> Slot:
    """Lock the first free slot of this installation. Raises ConfigError when `state` cannot be written."""
    try:
        folder = state / "slots" / collective
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        owner = _owner(state)
        for number in itertools.count():
            descriptor = os.open(folder / str(number), os.O_RDWR | os.O_CREAT, 0o600)
            file = os.fdopen(descriptor, "r+", encoding="utf-8")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
            else:
                return Slot(names.reply_queue(collective, f"{owner}-{number}"), file)
    except OSError as error:
        where = error.filename or state
        raise ConfigError(f"{where}: cannot write reply slots: {error.strerror} (set 'state' in client.yaml)") from None
    raise AssertionError("unreachable")


def queues(state: Path, collective: str) -> list[str]:
    """Return the names of the reply queues that calls with this `state` have opened."""
    folder = state / "slots" / collective
    slots = sorted(folder.iterdir()) if folder.is_dir() else []
    opened = [path.name for path in slots if path.stat().st_size]
    return [names.reply_queue(collective, f"{_owner(state)}-{number}") for number in opened]


def _owner(state: Path) -> str:
    """Return the part of queue names that is the same for all slots of this installation."""
    return f"{names.slug(f'{user_name()}-{socket.gethostname()}', _PREFIX)}-{_installation(state)}"


def _installation(state: Path) -> str:
    """Return the suffix of this installation, created on first use; concurrent processes agree on one."""
    path = state / "installation"
    if found := _valid_suffix(path):
        return found
    fresh = path.with_name(f"installation.{secrets.token_hex(4)}")
    fresh.write_text(secrets.token_hex(2), encoding="ascii")
    try:
        os.link(fresh, path)
    except FileExistsError:
        if not _valid_suffix(path):  # damaged, for example by a full disk
            fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
    return _valid_suffix(path) or secrets.token_hex(2)


def _valid_suffix(path: Path) -> str | None:
    """Return the suffix in a file; None when it does not exist or does not hold one."""
    try:
        content = path.read_bytes().strip()
    except FileNotFoundError:
        return None
    return content.decode("ascii") if _SUFFIX.fullmatch(content) else None
