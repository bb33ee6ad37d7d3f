"""Watch the worker of one action, and kill all of the action's processes when its time is over.

    fork server ─► monitor: waits for  the worker's result │ the deadline │ the daemon's stop or death
                     └─► worker (worker.py): runs the action
                           └─► whatever the action starts

The monitor is the subreaper (prctl(2)) of everything below it: a process that detaches itself becomes the monitor's
child, so none escapes. With a control group (cgroup.py) the worker enters it first, and the kernel kills the whole
group atomically. Processes that a successful action leaves running live on; in every other case all of the action's
processes are dead before the result is reported. The fork server preloads this module, so it imports little.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from collective.node.actions.cgroup import Group
from collective.node.actions.channel import Channel
from collective.node.actions.job import (
    CANCELLED,
    CRASHED,
    INTERRUPTED,
    LARGEST_MESSAGE,
    LARGEST_RESULT,
    TIMEOUT,
    ActionJob,
    ActionResult,
    TimeLimit,
    failed_result,
)
from collective.node.actions.output_log import OutputLog, readable
from collective.node.actions.worker import run_worker
from collective.processes import adopt_orphans, signal_name

_LONGEST_ORDER = 4096  # bytes of what the daemon sends
_CHUNK = 1 << 20  # bytes of one read from the worker's pipe


def monitor_action(connection: Channel, job: ActionJob, limit: TimeLimit, group: Group | None = None) -> None:
    """Run `job` in `group` until its time is over, and send one encoded result over `connection`.

    This is the main function of the monitor's process.
    """
    os.setsid()
    adopt_orphans()
    result_pipe, worker_pipe = os.pipe()
    log = OutputLog(job.secrets)
    if job.program:
        job = job._replace(folder=_new_folder())
    monitor = os.getpid()
    try:
        worker = os.fork()
    except OSError as error:
        _refuse(connection, group, error)
        return
    if worker == 0:
        os.close(result_pipe)
        os.close(log.reader)
        connection.close()
        run_worker(job, worker_pipe, log.writer, monitor, group)
    os.close(worker_pipe)
    os.close(log.writer)
    result: bytes | ActionResult = failed_result("the action's monitor process failed", reason=CRASHED)
    try:
        result = _watch(worker, result_pipe, log, connection, limit)
    finally:
        if isinstance(result, ActionResult):
            _kill_all(group)
            result = result.encode()
        if group:
            group.release()
        if job.folder:
            _remove(job.folder)
        log.finish()
    with contextlib.suppress(OSError):  # the daemon may have died
        connection.send(result)


def _new_folder() -> str:
    """Return the path of a folder for the files of a program; the worker makes it."""
    import tempfile  # few actions are programs

    return f"{tempfile.gettempdir()}/collective-{os.urandom(16).hex()}"


def _remove(folder: str) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)


def _refuse(connection: Channel, group: Group | None, error: OSError) -> None:
    """Report that the worker cannot be started: nothing has run."""
    hint = "raise TasksMax of the service, or its limit of memory"
    message = f"the action was not started: no further process is possible: {error.strerror} ({hint})"
    with contextlib.suppress(OSError):
        connection.send(failed_result(message, reason=CRASHED).encode())
    if group:
        group.release()


def _watch(
    worker: int, result_pipe: int, log: OutputLog, connection: Channel, limit: TimeLimit
) -> bytes | ActionResult:
    """Return what the worker wrote, or an ActionResult that says how it ended; then its processes must be killed."""
    written = bytearray()
    process = os.pidfd_open(worker)
    deadline = time.monotonic() + limit.left
    with selectors.DefaultSelector() as selector:
        for source in (result_pipe, log.reader, process, connection.fileno()):
            selector.register(source, selectors.EVENT_READ)
        while (left := deadline - time.monotonic()) > 0:
            ready = {key.fd for key, _ in selector.select(left)}
            if result_pipe in ready and not _read_chunk(result_pipe, written):
                selector.unregister(result_pipe)
            if log.reader in ready and not log.read():
                selector.unregister(log.reader)
            if len(written) > LARGEST_MESSAGE:
                return failed_result(f"the action wrote more than the limit of {LARGEST_RESULT} bytes", reason=CRASHED)
            if connection.fileno() in ready:
                return _stopped(connection)
            if process in ready:
                while len(written) <= LARGEST_MESSAGE and readable(result_pipe) and _read_chunk(result_pipe, written):
                    pass
                return _exit_result(worker, written)
    message = f"Timed out after {limit.whole:g} s: all processes of the action were killed"
    return failed_result(f"{message} (limits: 'timeout' of the DDL, -t of the call)", reason=TIMEOUT)


def _stopped(connection: Channel) -> ActionResult:
    """Return the result of an action that the daemon ends: by its own end, or because the caller cancels it."""
    try:
        order = connection.receive(_LONGEST_ORDER).decode(errors="replace")
    except (EOFError, OSError):
        order = ""
    if order.startswith(CANCELLED):
        return failed_result(order, reason=CANCELLED)
    return failed_result("interrupted: the node is stopping", reason=INTERRUPTED)


def _read_chunk(result_pipe: int, written: bytearray) -> bool:
    """Append what can be read to `written`; return False at the end of the file."""
    chunk = os.read(result_pipe, _CHUNK)
    written += chunk
    return bool(chunk)


def _exit_result(worker: int, written: bytearray) -> bytes | ActionResult:
    code = os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])
    if code == 0 and 0 < len(written) <= LARGEST_MESSAGE:
        return bytes(written)
    if code < 0:
        return failed_result(f"the action was killed by {signal_name(-code)}", reason=CRASHED)
    return failed_result(f"the action's process exited with code {code} before it returned a result", reason=CRASHED)


def _kill_all(group: Group | None) -> None:
    """Kill all descendants, again and again until none is left: they may fork faster than /proc can be read."""
    if group:
        group.kill()
    while True:
        with contextlib.suppress(Exception):  # one round may fail, for lack of memory for example: the next one follows
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
    """Stop and yield the processes below `pid`. This does not recurse, because the depth of the tree has no limit.

    Each process is stopped before its children are listed, so that it cannot fork faster than this walk.
    """
    parents = [pid]
    while parents:
        for child in _children(parents.pop()):
            _send(child, signal.SIGSTOP)
            yield child
            parents.append(child)


def _children(pid: int) -> Iterator[int]:
    """Yield the children of all threads of `pid` (proc(5): /proc/PID/task/TID/children)."""
    with contextlib.suppress(OSError):  # the process or a thread has ended: the next round sees what this one misses
        for thread in Path(f"/proc/{pid}/task").iterdir():
            yield from map(int, (thread / "children").read_bytes().split())
