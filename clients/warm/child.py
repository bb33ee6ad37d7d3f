"""Become what `crpc` would have been: in a fork of the warm process, with the files and the environment of a caller."""

from __future__ import annotations

import io
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from collective import terminal
from collective.clients.warm.front import COLD, GO
from collective.exit_codes import STOPPED

# What replaces this process, starts other programs on the terminal, or is about processes: it runs in the usual way.
_COLD_COMMANDS = frozenset({"lab", "new", "playbook", "plugin", "ssh", "warm"})
_ASKING = (b"credential_process", b"mfa_serial")  # of AWS profiles whose credentials may ask on the terminal


@dataclass(frozen=True)
class WarmRequest:
    """A command line of a caller: its arguments, environment, umask, numbers of signals, and the files of front.py."""

    argv: list[str]
    environment: Mapping[bytes, bytes]
    umask: int
    ignored: Sequence[int]
    mask: Sequence[int]
    files: Sequence[int]


@dataclass(frozen=True)
class Streams:
    """The encodings of standard input, output and error, each with the handling of errors."""

    encodings: Sequence[tuple[str, str]]

    @classmethod
    def of_this_process(cls) -> Streams:
        """Return those that Python has chosen for this environment."""
        return cls([(str(one.encoding), str(one.errors)) for one in (sys.stdin, sys.stdout, sys.stderr)])


def run(request: WarmRequest, connection: socket.socket, streams: Streams) -> None:
    """Run a command line, and end the process. All signals are blocked, and this is the leader of a process group."""
    code = 1
    try:
        _become(request, streams)
        if _is_unusual(request.argv[1:]):
            connection.send(COLD)
            return
        connection.send(GO)
        connection.close()
        code = _call(request)
    except KeyboardInterrupt:
        code = STOPPED
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _call(request: WarmRequest) -> int:
    from collective.clients import crpc, start

    signal.pthread_sigmask(signal.SIG_SETMASK, request.mask)
    code = start.end(crpc.main())  # it returns if threads still run, or a stream cannot be written
    for thread in threading.enumerate():
        if thread is not threading.main_thread() and not thread.daemon:
            thread.join()
    return code


def _become(request: WarmRequest, streams: Streams) -> None:
    _restore_signals(request.ignored)
    os.fchdir(request.files[3])
    os.umask(request.umask)
    os.environ.clear()
    os.environb.update(request.environment)
    time.tzset()
    sys.argv[:] = request.argv
    if len(request.files) > 4:
        terminal.adopt(request.files[4])
    for number, file in enumerate(request.files[:3]):
        os.dup2(file, number)
        os.close(file)
    (input_, output, error) = streams.encodings
    sys.stdin = sys.__stdin__ = _opened(0, "r", input_)  # type: ignore[misc]
    sys.stdout = sys.__stdout__ = _opened(1, "w", output)  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = _opened(2, "w", error)  # type: ignore[misc]


def _restore_signals(ignored: Sequence[int]) -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for other in ignored:
        signal.signal(other, signal.SIG_IGN)


def _opened(number: int, mode: str, encoding: tuple[str, str]) -> io.TextIOWrapper:
    """Open a standard stream as Python does when it starts."""
    raw = io.FileIO(number, mode, closefd=False)
    buffer = io.BufferedReader(raw) if mode == "r" else io.BufferedWriter(raw)
    lines = number == 2 or (number == 1 and raw.isatty())
    return io.TextIOWrapper(buffer, *encoding, newline=None if mode == "r" else "\n", line_buffering=lines)


def _is_unusual(arguments: list[str]) -> bool:
    """Return whether a command line runs another program, or may ask for credentials on the terminal."""
    from collective.clients import crpc, lookup

    if "--debug" in arguments or "--tmux" in arguments:
        return True
    with suppress(Exception, SystemExit):  # a mistake, which is reported when the command line runs
        words = crpc.command_first(arguments)
        if words and (words[0] in _COLD_COMMANDS or lookup.find(words).is_plugin):
            return True
    return terminal.exists() and any(map(_asks, ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE")))


def _asks(variable: str) -> bool:
    """Return whether a file of AWS profiles has a setting by which a program or botocore asks on the terminal."""
    usual = {"AWS_CONFIG_FILE": "~/.aws/config", "AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials"}[variable]
    try:
        content = Path(os.environ.get(variable) or usual).expanduser().read_bytes()
    except (OSError, RuntimeError):
        return False
    return any(word in content for word in _ASKING)
