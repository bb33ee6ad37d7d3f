"""Choose a folder for the socket of the fork server whose path is short enough.

The path of a Unix socket has at most 107 bytes (unix(7)), and multiprocessing appends 33 to the temporary folder.
"""

from __future__ import annotations

import os
import tempfile
from multiprocessing import util

_LONGEST = 107 - len("/pymp-12345678/listener-12345678")  # bytes of a usable temporary folder
_SHORT = ("/tmp", "/var/tmp", "/run", "/dev/shm")  # noqa: S108 - mkdtemp makes a folder for this user in it


def prepare() -> None:
    """Make multiprocessing create its folder elsewhere when TMPDIR is too long. TMPDIR itself stays for actions."""
    if len(os.fsencode(tempfile.gettempdir())) <= _LONGEST:
        return
    configured, tempfile.tempdir = tempfile.tempdir, _first_writable()
    try:
        util.get_temp_dir()  # creates the folder, once
    finally:
        tempfile.tempdir = configured


def _first_writable() -> str | None:
    return next((folder for folder in _SHORT if os.access(folder, os.W_OK | os.X_OK)), None)
