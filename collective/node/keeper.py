"""Run one action in a family of processes of its own, and end that family when its time is over.

    fork server ─► keeper: waits for  the worker's answer │ the deadline │ the daemon's word or death
                     └─► worker: imports the agent, calls the action, writes its answer, exits
                           └─► whatever the action starts

The keeper is the family's subreaper (prctl(2)): a process that detaches itself from its parents becomes the keeper's
child, so nothing escapes. Where there is a control group for it (cgroup.py) the worker enters that first, and the
family is ended at one blow. What a finished action leaves running lives on; in every other case the whole family
is dead before anybody is told. This module is preloaded by the fork server: it imports little.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import selectors
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn

from collective.errors import RPCError
from collective.masking import hide
from collective.node.cgroup import Group
from collective.node.importing import imported
from collective.processes import adopt_orphans, die_with_parent

LARGEST_ANSWER = 8 * 1024 * 1024  # bytes of JSON that an action may return
_QUOTED = 200  # characters of stray output that a message shows
_STRAY = 64 * 1024  # characters of it that are kept: enough to find secrets before any of it is quoted


@dataclass(frozen=True)
class Job:
    """What a keeper is to run: `action` of the agent at `path`; `supplied` are keyword-only arguments.

    `secrets` are texts that must not be seen: they are masked in what the action raises and prints. `code` is what
    the file held when it was checked, as `importing.compiled` returns it; None: what it holds now.
    """

    path: str
    action: str
    data: Mapping[str, Any]
    supplied: Mapping[str, Any]
    secrets: tuple[str, ...] = ()
    code: bytes | None = None


@dataclass(frozen=True)
class Answer:
    """How an action ended, as its reply will say it."""

    statuscode: int = 0
    statusmsg: str = "OK"
    reason: str | None = None
    data: Any = field(default_factory=dict)

    def encode(self) -> bytes:
        """Return the answer as UTF-8 JSON; raise TypeError or ValueError for what JSON cannot carry."""
        return json.dumps(asdict(self), ensure_ascii=False, allow_nan=False).encode()


def failed(reason: str, message: str, data: Any = None) -> Answer:
    """Return the answer of an action that did not end by itself, or broke a rule."""
    return Answer(5, message, reason, data or {})


def keep(connection: Connection, job: Job, timeout: float, group: Group | None = None) -> None:
    """Be the keeper of one action: run it for at most `timeout` seconds, in `group`, and send one encoded answer."""
    os.setsid()
    adopt_orphans()
    inlet, outlet = os.pipe()
    keeper, worker = os.getpid(), os.fork()
    if worker == 0:
        os.close(inlet)
        connection.close()
        _work(job, outlet, keeper, group)
    os.close(outlet)
    answer: bytes | Answer = failed("crashed", "the process that keeps the action went wrong")
    try:
        answer = _watch(worker, inlet, connection, time.monotonic() + timeout)
    finally:
        if isinstance(answer, Answer):
            _end_family(group)
            answer = answer.encode()
        if group:
            group.release()
    with contextlib.suppress(OSError):  # the daemon may be gone
        connection.send_bytes(answer)


# -- the keeper


def _watch(worker: int, inlet: int, connection: Connection, deadline: float) -> bytes | Answer:
    """Return what the worker wrote, or how it ended instead; the latter means that its family must end."""
    written = bytearray()
    process = os.pidfd_open(worker)
    with selectors.DefaultSelector() as selector:
        for source in (inlet, process, connection.fileno()):
            selector.register(source, selectors.EVENT_READ)
        while (left := deadline - time.monotonic()) > 0:
            ready = {key.fd for key, _ in selector.select(left)}
            if inlet in ready and not _drain(inlet, written):
                selector.unregister(inlet)
            if connection.fileno() in ready:
                return failed("interrupted", "interrupted: the node is stopping")
            if process in ready:
                while _has_more(inlet) and _drain(inlet, written):
                    pass
                return _how_it_ended(worker, written)
    return failed("timeout", "the action ran into its deadline and was ended, with all that it had started")


def _drain(inlet: int, written: bytearray) -> bool:
    chunk = os.read(inlet, 1 << 20)
    written += chunk
    return bool(chunk)


def _has_more(inlet: int) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(inlet, selectors.EVENT_READ)
        return bool(selector.select(0))


def _how_it_ended(worker: int, written: bytearray) -> bytes | Answer:
    code = os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])
    if code == 0 and written:
        return bytes(written)
    if code < 0:
        return failed("crashed", f"the action was killed by {_signal_name(-code)}")
    return failed("crashed", f"the action's process ended with code {code} before it had answered")


def _signal_name(number: int) -> str:
    known = {one.value: one.name for one in signal.Signals}
    return known.get(number, f"signal {number}")  # real-time signals have no names


def _end_family(group: Group | None) -> None:
    """Kill all descendants, as often as it takes: they may fork faster than one look can see."""
    if group:
        group.kill()
    while True:
        with contextlib.suppress(Exception):  # whatever goes wrong with one look, as without memory: the next is better
            for pid in list(_stopped_descendants(os.getpid())):
                _send(pid, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.001)


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _stopped_descendants(pid: int) -> Iterator[int]:
    """Yield the processes below `pid`. Nothing here may recurse: a family has as many generations as it likes.

    Each is stopped before its children are listed: it forks no more, and leaves the processors to this look.
    """
    parents = [pid]
    while parents:
        for child in _children(parents.pop()):
            _send(child, signal.SIGSTOP)
            yield child
            parents.append(child)


def _children(pid: int) -> Iterator[int]:
    """Yield the children of all threads of `pid` (proc(5): /proc/PID/task/TID/children)."""
    with contextlib.suppress(OSError):  # it ended meanwhile, or a thread did: the next look sees what this one misses
        for thread in Path(f"/proc/{pid}/task").iterdir():
            yield from map(int, (thread / "children").read_bytes().split())


# -- the worker


def _work(job: Job, outlet: int, keeper: int, group: Group | None) -> NoReturn:
    """Be the worker: perform the job, write the answer, and end, whatever happens."""
    die_with_parent(keeper)
    if group:
        group.enter()
    os.setpgid(0, 0)
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        # Ignored by what nohup or a shell's `&` has started, and so by all below it: no job could be interrupted.
        signal.signal(number, signal.SIG_DFL)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)  # what a command of the action prints goes to the daemon's log
    code = 1
    try:
        answer = _encoded(_perform(job))
        with open(outlet, "wb") as stream:
            stream.write(answer)
        code = 0
    finally:
        os._exit(code)


def _perform(job: Job) -> Answer:
    """Call the action; the one ladder from what an action raises to status codes."""
    stray = _Stray()
    try:
        with contextlib.redirect_stdout(stray):
            function = getattr(imported(Path(job.path), job.code), job.action)
            data = function(**job.data, **job.supplied)
    except RPCError as fault:
        if fault.statuscode not in range(1, 6) or not isinstance(fault.reason, str | None):
            return failed("crashed", f"the action raised a {type(fault).__name__} of statuscode {fault.statuscode!r}")
        return Answer(fault.statuscode, hide(str(fault), job.secrets), fault.reason, fault.data)
    except SystemExit as fault:
        return failed("crashed", hide(f"the action called exit({fault.code!r})", job.secrets))
    except BaseException as fault:
        sys.stderr.write(hide(traceback.format_exc(), job.secrets))
        # The name of a bare Exception says nothing; that of a KeyError is half of its message.
        prefix = "" if type(fault) in (Exception, RuntimeError) and str(fault) else f"{type(fault).__name__}: "
        return failed("crashed", hide(f"{prefix}{fault}".rstrip(": "), job.secrets))
    if stray.length:
        quoted = hide(stray.kept, job.secrets)[:_QUOTED]
        message = f"the action printed {stray.length} characters to standard output: {quoted!r}: return or log it"
        return failed("crashed", message, data)
    return Answer(data={} if data is None else data)


class _Stray(io.TextIOBase):
    """What an action prints: only its beginning is kept, however much it is. `length` is characters."""

    def __init__(self) -> None:
        self.kept = ""
        self.length = 0

    def write(self, text: str) -> int:
        """Take what is printed."""
        self.kept += text[: _STRAY - len(self.kept)]
        self.length += len(text)
        return len(text)


def _encoded(answer: Answer) -> bytes:
    try:
        encoded = answer.encode()
    except (TypeError, ValueError, RecursionError) as fault:
        return failed("crashed", f"the action returned what JSON cannot carry: {fault}").encode()
    if len(encoded) > LARGEST_ANSWER:
        message = f"the action returned {len(encoded)} bytes, more than the {LARGEST_ANSWER} that are carried"
        return failed("crashed", message).encode()
    return encoded
