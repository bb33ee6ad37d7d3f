"""The API for plugins: the decorators `action` and `data`, `Aborted`, and `run` for commands.

    from collective.agent import Aborted, Reply, action, run

    @action
    def greet(name: str, *, settings: Settings) -> Reply:
        '''Return a greeting.'''
        return {"greeting": f"Hello {name}"}

The parameters are the inputs of the DDL. A function can also name these keyword-only parameters:

    settings   the content of settings/<agent>.yaml, {} without one
    caller     the request's caller, a string
    facts      the node's facts, a mapping
    deadline   when the node stops this action, in seconds of time.monotonic()
    dry_run    whether to report what would be changed, and to change nothing; if and only if the DDL of the action
               has "dry_run": true

A data function is used in filters. Its file and DDL are in a subfolder `data` of the agents' folders. The file has the
function's name, `query` is the argument in the filter, and the result has the fields that filters compare:

    @data
    def mount(query: str) -> Reply:
        '''Return whether a path is a mount point.'''
        return {"mounted": os.path.ismount(query)}

    crpc find -S "mount('/srv').mounted=true"

It can name the same keyword-only parameters, and one more:

    agents     the metadata of the node's agents, from their DDLs: {name: metadata}
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from errno import ENOEXEC
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeVar

from collective.errors import Aborted, Failed, InvalidInput, MissingInput
from collective.plain_scripts import by_shell
from collective.processes import kill_group
from collective.run_as import as_user

__all__ = [
    "OUTPUT_LIMIT",
    "SUPPLIED",
    "SUPPLIED_TO_DATA",
    "Aborted",
    "Completed",
    "Facts",
    "Failed",
    "InvalidInput",
    "MissingInput",
    "OutputStore",
    "Reply",
    "Settings",
    "action",
    "as_user",
    "check",
    "data",
    "run",
    "time_left",
]

Reply = dict[str, Any]
Settings = Mapping[str, Any]
Facts = Mapping[str, Any]
OutputStore = Callable[[str], IO[bytes]]  # opens the file of a stream: `stdout` or `stderr`
SUPPLIED = frozenset({"settings", "caller", "facts", "deadline", "dry_run"})
SUPPLIED_TO_DATA = SUPPLIED - {"dry_run"} | {"agents"}

_Function = TypeVar("_Function", bound=Callable[..., Any])
_MARK = "__collective_action__"
_DATA_MARK = "__collective_data__"
_CHECK_MARK = "__collective_check__"
OUTPUT_LIMIT = 512 * 1024  # bytes kept of each output stream: half from its start, half from its end


def action(function: _Function) -> _Function:
    """Mark a function as an action and return it unchanged, so that tests can call it directly."""
    setattr(function, _MARK, True)
    return function


def is_action(thing: object) -> bool:
    """Return whether `thing` is a function marked with `action`."""
    return callable(thing) and getattr(thing, _MARK, False) is True


def data(function: _Function) -> _Function:
    """Mark a function as a data function and return it unchanged."""
    setattr(function, _DATA_MARK, True)
    return function


def is_data(thing: object) -> bool:
    """Return whether `thing` is a function marked with `data`."""
    return callable(thing) and getattr(thing, _DATA_MARK, False) is True


def check(function: _Function) -> _Function:
    """Mark a function as a check of the node's setup and return it unchanged.

    It gets the settings and yields one line for each problem. The node logs them when it loads the agent, and
    `collectived --check` prints them. It must not change anything, and must be quick.
    """
    setattr(function, _CHECK_MARK, True)
    return function


def is_check(thing: object) -> bool:
    """Return whether `thing` is a function marked with `check`."""
    return callable(thing) and getattr(thing, _CHECK_MARK, False) is True


class Completed(NamedTuple):
    """The result of a command. `exitcode` is negative for a signal, as in `subprocess`.

    `stdout_bytes` and `stderr_bytes` are what it wrote, kept or not.
    """

    exitcode: int
    stdout: str
    stderr: str
    timed_out: bool = False
    stdout_bytes: int = 0
    stderr_bytes: int = 0


def run(
    command: Sequence[str],
    *,
    stdin: str = "",
    timeout: float | None = None,
    cwd: str | Path | None = None,
    env: Mapping[str, str] | None = None,
    user: str | None = None,
    group: int | None = None,
    keep: int = OUTPUT_LIMIT,
    store: OutputStore | None = None,
) -> Completed:
    """Run a command and return its exit code and output.

    `command` is a list of arguments, never a shell line. `env` is added to the environment; `LC_ALL` is `C.UTF-8`
    unless set there. Bytes that are not UTF-8 are replaced by U+FFFD. Of each stream at most `keep` bytes are kept,
    half from the start and half from the end, with a line between them that says how many are missing. After
    `timeout` seconds the command and its process group are killed, and `timed_out` is set. With `user` it runs as
    that user and with that user's environment; nothing of the node's environment is passed on. `group` is a group
    number instead of the user's own group. A stream of which not everything is kept is written to `store` as a whole.

    Raises Aborted if the command cannot be started, InvalidInput if the user does not exist.
    """
    process = _start(command, cwd, as_user(user, env, group))
    pipes = {"stdout": process.stdout, "stderr": process.stderr}
    streams = [_Stream(pipe, keep, partial(store, name) if store else None) for name, pipe in pipes.items()]
    feeder = threading.Thread(target=_feed, args=(process.stdin, stdin), daemon=True)
    feeder.start()
    timed_out = False
    try:
        process.wait(timeout)
    except subprocess.TimeoutExpired:
        timed_out = True
        _kill(process)
    stdout, stderr = (stream.text() for stream in streams)
    sizes = [stream.size for stream in streams]
    return Completed(process.returncode, stdout, stderr, timed_out, *sizes)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a command with its process group. A node that is not root cannot kill what sudo runs."""
    kill_group(process)
    try:
        process.wait(1.0)
    except subprocess.TimeoutExpired:
        process.returncode = -signal.SIGKILL  # as the caller expects it; it also keeps Popen from waiting later


def _start(command: Sequence[str], cwd: str | Path | None, identity: dict[str, Any]) -> subprocess.Popen[bytes]:
    """Start a command in its own session.

    Popen enters `cwd` before it changes the user, so root would enter folders that are closed to the user. For another
    user the child enters it afterwards.
    """
    enter_later = str(cwd or "/") != "/" and "user" in identity
    more = {
        "cwd": None if enter_later else cwd,
        "preexec_fn": (lambda: os.chdir(str(cwd))) if enter_later else None,
        **identity,
    }
    try:
        return _popen(list(command), more)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        if isinstance(error, subprocess.SubprocessError) and enter_later:
            message = f"cannot enter folder '{cwd}' as this user (check that it exists and that the user may enter it)"
            raise Aborted(message) from None
        # `filename` of an OSError is the folder or the command, whichever is missing.
        what = getattr(error, "filename", None) or command[0]
        if cwd is not None and str(what) == str(cwd):
            raise Aborted(f"cannot enter folder '{cwd}': {getattr(error, 'strerror', error)}") from None
        raise Aborted(f"cannot run '{what}': {getattr(error, 'strerror', None) or error}") from None


def _popen(command: list[str], more: Mapping[str, Any]) -> subprocess.Popen[bytes]:
    pipe = subprocess.PIPE
    try:
        return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True, **more)
    except OSError as error:
        script = by_shell(command, (more.get("env") or {}).get("PATH")) if error.errno == ENOEXEC else None
        if script is None:
            raise
        return _popen(script, more)


def time_left(deadline: float, margin: float = 1.0) -> float:
    """Return how many seconds a command can take so that the reply is sent before `deadline`.

    `margin` seconds, or a fifth of the remaining time if that is less, are reserved for the reply.
    """
    left = max(0.0, deadline - time.monotonic())
    return max(0.1, left - min(margin, left / 5))


def _feed(pipe: IO[bytes] | None, text: str) -> None:
    assert pipe is not None  # noqa: S101 - Popen was called with PIPE
    try:
        with pipe:
            pipe.write(text.encode())
    except OSError:
        pass  # the command closed its standard input


class _Stream:
    """Read a pipe to its end in the background and keep at most `keep` bytes: the start and the end.

    A child that the command left running can keep the pipe open, so `text` waits for the end only a second, and up to
    another one while there is something to read: this process may just have been paused.
    """

    def __init__(self, pipe: IO[bytes] | None, keep: int, store: Callable[[], IO[bytes]] | None = None) -> None:
        assert pipe is not None  # noqa: S101 - Popen was called with PIPE
        self._pipe = pipe
        self._half = keep // 2
        self._head = bytearray()
        self._tail = bytearray()
        self._dropped = 0
        self._store = store
        self._file: IO[bytes] | None = None  # opened when not everything is kept
        self.size = 0
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with self._pipe:
            while chunk := os.read(self._pipe.fileno(), 65536):
                self.size += len(chunk)
                self._store_chunk(chunk)
                room = self._half - len(self._head)
                self._head += chunk[:room]
                self._tail += chunk[room:]
                if len(self._tail) > 2 * self._half:
                    self._cut()
        if self._file is not None:
            self._file.close()

    def _store_chunk(self, chunk: bytes) -> None:
        """Write a chunk to the store, once there is more than is kept; a full disk only ends the storing."""
        if self._store is None or self.size <= 2 * self._half:
            return
        try:
            if self._file is None:
                self._file = self._store()
                self._file.write(bytes(self._head + self._tail))
            self._file.write(chunk)
        except OSError:
            self._store = None

    def _cut(self) -> None:
        excess = max(0, len(self._tail) - self._half)
        del self._tail[:excess]
        self._dropped += excess

    def _is_readable(self) -> bool:
        """Return whether the pipe has output that has not been read, or has ended."""
        poll = select.poll()
        try:
            poll.register(self._pipe, select.POLLIN)
        except ValueError:  # the thread has closed it
            return True
        return bool(poll.poll(0))

    def text(self) -> str:
        self._thread.join(timeout=1.0)
        for _ in range(10):
            if not self._thread.is_alive() or not self._is_readable():
                break
            self._thread.join(timeout=0.1)
        head, tail = bytes(self._head), bytes(self._tail)
        excess = max(0, len(tail) - self._half)
        dropped = self._dropped + excess
        if not dropped:
            return (head + tail).decode(errors="replace")  # joined first: a character may span both
        gap = f"\n[… {dropped} bytes omitted …]\n"
        return head.decode(errors="replace") + gap + tail[excess:].decode(errors="replace")
