"""What the author of a plugin imports: `action` or `data`, `Aborted`, and `run` for commands.

    from collective.agent import Aborted, Reply, action, run

    @action
    def greet(name: str, *, settings: Settings) -> Reply:
        '''Say hello.'''
        return {"greeting": f"Hello {name}"}

Parameters are the DDL's inputs. Keyword-only parameters are supplied to a function that names them:

    settings   the content of settings/<agent>.yaml, {} when there is none
    caller     who asked: the request's caller, a string
    facts      the node's facts, a mapping
    deadline   when the node ends this action: seconds on the clock of time.monotonic()

A data function answers questions of filters. Its file and DDL lie in a folder `data` beside the agents' ones; the
file's name is the function's, `query` is what it is asked, and what it returns has the fields that filters compare:

    @data
    def mount(query: str) -> Reply:
        '''Tell of the file system at a path.'''
        return {"mounted": os.path.ismount(query)}

    crpc find -S "mount('/srv').mounted=true"

It may name the same keyword-only parameters, and one more:

    agents     what the DDLs of the node's agents say of themselves: {name: metadata}
"""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

from collective.errors import Aborted, Failed, InvalidInput, MissingInput

__all__ = [
    "SUPPLIED",
    "SUPPLIED_TO_DATA",
    "Aborted",
    "Completed",
    "Facts",
    "Failed",
    "InvalidInput",
    "MissingInput",
    "Reply",
    "Settings",
    "action",
    "data",
    "run",
    "time_left",
]

Reply = dict[str, Any]
Settings = Mapping[str, Any]
Facts = Mapping[str, Any]
SUPPLIED = frozenset({"settings", "caller", "facts", "deadline"})
SUPPLIED_TO_DATA = SUPPLIED | {"agents"}

_Function = TypeVar("_Function", bound=Callable[..., Any])
_MARK = "__collective_action__"
_DATA_MARK = "__collective_data__"
_KEPT = 512 * 1024  # bytes of each stream that a command's result keeps: half from its head, half from its tail


def action(function: _Function) -> _Function:
    """Mark a function as an action, and hand it back unchanged: tests call it like any other."""
    setattr(function, _MARK, True)
    return function


def is_action(thing: object) -> bool:
    """Tell whether `thing` is a function marked with `action`."""
    return callable(thing) and getattr(thing, _MARK, False) is True


def data(function: _Function) -> _Function:
    """Mark a function as a data function, and hand it back unchanged."""
    setattr(function, _DATA_MARK, True)
    return function


def is_data(thing: object) -> bool:
    """Tell whether `thing` is a function marked with `data`."""
    return callable(thing) and getattr(thing, _DATA_MARK, False) is True


@dataclass(frozen=True)
class Completed:
    """A command that has ended. `exitcode` is negative for a signal, as in `subprocess`."""

    exitcode: int
    stdout: str
    stderr: str
    timed_out: bool = False


def run(
    command: Sequence[str],
    *,
    stdin: str = "",
    timeout: float | None = None,
    cwd: str | Path | None = None,
    env: Mapping[str, str] | None = None,
    user: str | None = None,
    keep: int = _KEPT,
) -> Completed:
    """Run a command and return how it ended and what it said.

    The command is a list of arguments, never a shell line. Its messages are in English (`LC_ALL=C.UTF-8`)
    unless `env`, which is added to the environment, says otherwise. Output that is not UTF-8 arrives with
    replacement marks; of more than `keep` bytes the head and the tail stay, and a line says how much is gone.
    After `timeout` seconds the command and its process group are killed, and `timed_out` is set.
    With `user` it runs as that user, with an environment of their own: nothing of the node's is passed on.
    Raises Aborted when the command cannot be started, and InvalidInput when there is no such user.
    """
    try:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=cwd,
            start_new_session=True,
            **as_user(user, env),
        )
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        # Of an OSError, `filename` tells the folder that is not there from the command that is not there.
        what = getattr(error, "filename", None) or command[0]
        if cwd is not None and str(what) == str(cwd):
            raise Aborted(f"the folder '{cwd}' cannot be entered: {getattr(error, 'strerror', error)}") from None
        raise Aborted(f"'{what}' cannot be run: {getattr(error, 'strerror', None) or error}") from None
    streams = [_Stream(process.stdout, keep), _Stream(process.stderr, keep)]
    feeder = threading.Thread(target=_feed, args=(process.stdin, stdin), daemon=True)
    feeder.start()
    timed_out = False
    try:
        process.wait(timeout)
    except subprocess.TimeoutExpired:
        timed_out = True
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    stdout, stderr = (stream.text() for stream in streams)
    return Completed(process.returncode, stdout, stderr, timed_out)


def time_left(deadline: float, margin: float = 1.0) -> float:
    """Return how many seconds a command may take so that its result is answered before `deadline`.

    For the answer `margin` seconds are kept; a fifth of what there is, where that is less.
    """
    left = max(0.0, deadline - time.monotonic())
    return max(0.1, left - min(margin, left / 5))


def as_user(user: str | None, env: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return Popen's arguments to become `user`, with all their groups and an environment of their own.

    Without a user, or for the one that the node runs as, it is the node's environment; `env` is added.
    Raises InvalidInput when there is no such user, and Aborted when the node may not switch.
    """
    language = {"LC_ALL": "C.UTF-8"}
    if user is None:
        return {"env": {**os.environ, **language, **(env or {})}}
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise InvalidInput(f"there is no user '{user}' on this node") from None
    if entry.pw_uid == os.geteuid():
        return as_user(None, env)
    if os.geteuid() != 0:
        own = pwd.getpwuid(os.geteuid()).pw_name
        raise Aborted(f"this node runs as '{own}' and cannot become '{user}': only root can: leave the user out")
    theirs = {
        "HOME": entry.pw_dir,
        "USER": user,
        "LOGNAME": user,
        "SHELL": entry.pw_shell or "/bin/sh",
        "PATH": os.environ.get("PATH", os.defpath),
    }
    return {
        "user": entry.pw_uid,
        "group": entry.pw_gid,
        "extra_groups": os.getgrouplist(user, entry.pw_gid),
        "env": {**theirs, **language, **(env or {})},
    }


def _feed(pipe: IO[bytes] | None, text: str) -> None:
    assert pipe is not None  # noqa: S101 - Popen was asked for it
    try:
        with pipe:
            pipe.write(text.encode())
    except OSError:
        pass  # the command did not want it


class _Stream:
    """Read a pipe to its end in the background, keeping at most `keep` bytes: a head and a tail.

    A command may leave a child behind that holds the pipe open: `text` waits a moment for it, not for ever.
    """

    def __init__(self, pipe: IO[bytes] | None, keep: int) -> None:
        assert pipe is not None  # noqa: S101 - Popen was asked for it
        self._pipe = pipe
        self._half = keep // 2
        self._head = bytearray()
        self._tail = bytearray()
        self._left_out = 0
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with self._pipe:
            while chunk := os.read(self._pipe.fileno(), 65536):
                room = self._half - len(self._head)
                self._head += chunk[:room]
                self._tail += chunk[room:]
                if len(self._tail) > 2 * self._half:
                    self._cut()

    def _cut(self) -> None:
        excess = max(0, len(self._tail) - self._half)
        del self._tail[:excess]
        self._left_out += excess

    def text(self) -> str:
        self._thread.join(timeout=1.0)
        head, tail = bytes(self._head), bytes(self._tail)
        excess = max(0, len(tail) - self._half)
        left_out = self._left_out + excess
        if not left_out:
            return (head + tail).decode(errors="replace")  # in one piece: a character may span both
        marks = f"\n[… {left_out} bytes left out …]\n"
        return head.decode(errors="replace") + marks + tail[excess:].decode(errors="replace")
