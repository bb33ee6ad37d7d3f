"""Start the warm process, or find it."""

from __future__ import annotations

import marshal
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from collective import durations
from collective.clients.warm import place
from collective.clients.warm.front import HEADER, READY
from collective.errors import CollectiveError, ConfigError, Unreachable, UsageError
from collective.ownership import replaceable

DEFAULT_IDLE = 600.0  # seconds
_REPORT_SECONDS = 5.0
_MAX_REPORT = 4096  # bytes
_PAUSE = 0.05  # seconds between looks at a process that starts


def start(idle: float, files: list[str] | None = None) -> None:
    """Start the warm process of this user for these surroundings; it ends when one serves already.

    It ends also when one of `files` changes. Raises ConfigError if there is no folder for the socket.
    """
    path = _path(create=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_") or name == "AWS_DATA_PATH"}
    with open(f"{path}.log", "w", encoding="utf-8") as log:  # noqa: PTH123
        subprocess.Popen(
            [*_python(), "-m", "collective.clients.warm.server", str(idle), path, *(files or ())],
            env=kept,
            cwd="/",  # with `-m`, Python would import modules from the current folder
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            start_new_session=True,
        )


def start_if_configured() -> None:
    """Start the warm process if `warm` is set in client.yaml; a call does not fail if this fails."""
    if os.environ.get("COLLECTIVE_WARM") == "no":
        return
    with suppress(CollectiveError, OSError):
        from collective.config import client_file, read_client

        file = client_file()
        config = read_client(file)
        if config.warm and not Path(_path(create=True)).exists():
            start(durations.read_wait(config.warm), [str(file.absolute())])


def status() -> Mapping[str, Any] | None:
    """Return the process ID, calls, running calls and idle time of the warm process; None if there is none."""
    connection = _connected()
    if connection is None:
        return None
    with connection:
        try:
            if connection.recv(1) != READY:
                return None
            connection.sendall(bytes(HEADER))
            found = marshal.loads(connection.recv(_MAX_REPORT))  # noqa: S302 - of the same user
        except (OSError, ValueError, EOFError, TypeError):
            return None
    return found if isinstance(found, dict) else None


def wait(seconds: float) -> Mapping[str, Any]:
    """Return the state of a process that was just started; raise Unreachable if it does not serve."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if (found := status()) is not None:
            return found
        time.sleep(_PAUSE)
    log = Path(f"{_path(create=False)}.log")
    words = log.read_text(encoding="utf-8").strip().splitlines() if log.exists() else []
    raise Unreachable(f"warm: the process did not start within {seconds:.0f} s: {words[-1] if words else 'no reason'}")


def stop() -> int | None:
    """Ask the warm process to end, and return its ID; None if there is none. It ends when its calls have ended."""
    found = status()
    if found is None:
        return None
    with suppress(ProcessLookupError):
        os.kill(int(found["pid"]), signal.SIGTERM)
    return int(found["pid"])


def _connected() -> socket.socket | None:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(_REPORT_SECONDS)
        connection.connect(_path(create=False))
        peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    except (OSError, CollectiveError):
        connection.close()
        return None
    if struct.unpack("3i", peer)[1] != os.geteuid():
        connection.close()
        return None
    return connection


def _path(*, create: bool) -> str:
    """Return the path of the socket for these surroundings."""
    where = place.folder()
    if not where:
        raise ConfigError("warm: no folder for its socket (set XDG_RUNTIME_DIR or HOME)")
    if problem := replaceable(Path(where)):  # such as another user's XDG_RUNTIME_DIR, which sudo may have kept
        raise ConfigError(f"warm: {problem}")
    if create:
        Path(where).mkdir(parents=True, exist_ok=True, mode=0o700)
    if not place.is_private(where):
        raise ConfigError(f"warm: {where} must be a folder of this user that no other user can enter (chmod 700)")
    path = place.socket_path(where)
    if not path:
        raise UsageError(f"warm: the path of a socket in {where} is too long (set XDG_RUNTIME_DIR to a shorter one)")
    return path


def _python() -> list[str]:
    """Return the interpreter with the flags of this one, on which the name of the socket depends."""
    return [sys.executable, *subprocess._args_from_interpreter_flags()]  # type: ignore[attr-defined] # noqa: SLF001
