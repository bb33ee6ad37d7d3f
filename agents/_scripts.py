"""Keep the script of a request in a file while it runs.

    <temporary folder>/collective-script-XXXXXXXX/   root's, mode 0711: its user can enter, but not change it
                                          script     its user's, mode 0500

The user that the script runs as could replace any file in a folder of its own, also by a link to a file of root's.
Therefore the folder stays the node's, and the owner of the script is changed through its open descriptor.

The folder is locked (flock(2)) as long as its action runs. A folder without a lock was left by an action that was
killed, and the next script or `clean` removes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from collective.agent import Aborted
from collective.ownership import replaceable

PREFIX = "collective-script-"
_NAME = "script"
_UNLOCKED = 60.0  # seconds that an action has between creating its folder and locking it
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@contextlib.contextmanager
def stored(text: str, uid: int, gid: int) -> Iterator[Path]:
    """Store a script for one user; yield its path, and remove it at the end.

    Raises Aborted if it cannot be stored, or if other users could replace the folder.
    """
    place = _temporary_folder()
    remove_abandoned()
    try:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
        descriptor = os.open(folder, _FOLDER_FLAGS)
    except OSError as error:
        raise Aborted(f"cannot store the script in '{place}': {error.strerror}") from None
    try:
        _write(descriptor, text, uid, gid)
        yield folder / _NAME
    except _StoreError as error:
        raise Aborted(f"cannot store the script in '{folder}': {error}") from None
    finally:
        _remove(folder, descriptor)
        os.close(descriptor)


def command(text: str, path: Path, interpreter: str | None) -> list[str]:
    """Return the command that runs a script: `interpreter`, or its `#!` line as execve(2) reads it, or /bin/sh.

    The kernel is not asked to run the file: a temporary folder can be mounted noexec.
    """
    if interpreter:
        return [interpreter, str(path)]
    if not text.startswith("#!"):
        return ["/bin/sh", str(path)]
    line = text[2:].partition("\n")[0].strip(" \t")
    program, _, argument = line.replace("\t", " ").partition(" ")
    if not program or program.endswith("\r"):
        raise Aborted(f"the first line of the script names no interpreter: {line!r} (lines end with \\n)")
    return [program, *filter(None, [argument.strip()]), str(path)]


def remove_abandoned() -> None:
    """Remove the folders of scripts whose actions were killed. Those of other users are not touched."""
    for folder in Path(_temporary_folder()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            descriptor = os.open(folder, _FOLDER_FLAGS)
            try:
                found = os.fstat(descriptor)
                if found.st_uid == os.geteuid() and found.st_mtime < time.time() - _UNLOCKED:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    _remove(folder, descriptor)
            finally:
                os.close(descriptor)


class _StoreError(Exception):
    """A script cannot be written."""


def _write(folder: int, text: str, uid: int, gid: int) -> None:
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        with open(os.open(_NAME, _FILE_FLAGS, 0o500, dir_fd=folder), "wb") as file:  # noqa: PTH123 - a descriptor
            file.write(text.encode())
            if uid != os.geteuid():
                os.fchown(file.fileno(), uid, gid)
        os.fchmod(folder, 0o711)
    except OSError as error:
        raise _StoreError(error.strerror) from None


def _remove(folder: Path, descriptor: int) -> None:
    """Remove a folder of this node's scripts. Only the node's user can have put anything into it."""
    with contextlib.suppress(OSError):
        for name in os.listdir(descriptor):
            os.unlink(name, dir_fd=descriptor)
        folder.rmdir()


def _temporary_folder() -> Path:
    """Return the temporary folder; raise Aborted if other users can replace what is in it."""
    place = Path(tempfile.gettempdir())
    if problem := replaceable(place / PREFIX):  # a name in it: the folder itself may be sticky, as /tmp is
        raise Aborted(f"cannot store the script in '{place}': {problem}")
    return place
