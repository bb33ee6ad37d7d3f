"""Remove the temporary folders of fork servers that were killed, together with their daemon, by SIGKILL.

The standard library makes the folder `pymp-…` for the socket of a fork server, and removes it only at a normal exit.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import tempfile
import time
from pathlib import Path

_PATTERN = "pymp-*"
_YOUNGEST = 60.0  # seconds: a process may be about to listen in a younger folder


def remove_abandoned_sockets() -> None:
    """Remove each folder of this user that has nothing but sockets on which no process listens."""
    for folder in Path(tempfile.gettempdir()).glob(_PATTERN):
        with contextlib.suppress(OSError):
            found = folder.lstat()
            own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077
            if own and found.st_mtime < time.time() - _YOUNGEST:
                _remove_if_dead(folder)


def _remove_if_dead(folder: Path) -> None:
    paths = list(folder.iterdir())
    if paths and all(_is_dead(path) for path in paths):
        for path in paths:
            path.unlink()
        folder.rmdir()


def _is_dead(path: Path) -> bool:
    if not stat.S_ISSOCK(path.lstat().st_mode):
        return False
    # A probe of another type: a fork server ends with an EOFError when a connection sends nothing.
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return True
        except OSError:  # EPROTOTYPE: a process uses it
            return False
        return False
