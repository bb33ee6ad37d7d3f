"""Where the warm process listens. This module is imported by each `crpc`: nothing but modules in C.

The name of the socket depends on all that the warm process cannot take over from a caller: the installation, the user
and groups, the locale, Python's variables and flags, namespaces and the priority. In other surroundings, another
process is used, or none.
"""

import os
import sys

_VARIABLES = ("LANG", "LANGUAGE", "AWS_DATA_PATH", "TZDIR", "OPENSSL_CONF", "SSLKEYLOGFILE")
_PREFIXES = ("PYTHON", "LC_", "LD_", "COVERAGE")
_NAMESPACES = ("mnt", "net", "pid", "user")
_LONGEST = 107  # bytes of the path of a socket
_PRIME = 2**61 - 1


def folder() -> str:
    """Return the folder of the sockets; an empty string without a home folder."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime:
        return f"{runtime}/collective-warm"
    state = os.environ.get("XDG_STATE_HOME")
    home = os.environ.get("HOME")
    if not state and not home:
        return ""
    return f"{state or f'{home}/.local/state'}/collective/warm"


def is_private(path: str) -> bool:
    """Return whether a folder exists, belongs to this user, and no other user can enter it."""
    try:
        found = os.lstat(path)
    except OSError:
        return False
    kind_and_mode = found.st_mode & 0o170077
    return found.st_uid == os.geteuid() == os.getuid() and kind_and_mode == 0o040000


def socket_path(where: str) -> str:
    """Return the path of the socket in the folder `where` for these surroundings; empty if it would be too long."""
    path = f"{where}/{_surroundings():x}"
    return path if len(os.fsencode(path)) <= _LONGEST else ""


def _surroundings() -> int:
    environment = sorted(
        (name, value) for name, value in os.environ.items() if name in _VARIABLES or name.startswith(_PREFIXES)
    )
    root = os.stat("/")  # noqa: PTH116 - pathlib is slow to import
    parts = (
        sys.executable,
        __file__,
        repr(sys.flags),
        sys._xoptions,  # noqa: SLF001 - documented
        environment,
        (os.geteuid(), os.getegid(), sorted(os.getgroups())),
        os.nice(0),
        [os.readlink(f"/proc/self/ns/{name}") for name in _NAMESPACES],  # noqa: PTH115
        (root.st_dev, root.st_ino),
    )
    return int.from_bytes(os.fsencode(repr(parts)), "big") % _PRIME
