"""Start the monitors of actions with a fork server (fork_server_main.py), and replace one that does not do its work.

The fork server starts with the first action, and ends when it has had nothing to do for IDLE_LIMIT seconds. One that
does not start a monitor in time, because it was stopped for example, is killed. No monitor has its job by then, so
the next fork server can be asked for the same: nothing runs twice.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Collection
from dataclasses import dataclass, field

from collective.node.actions.channel import Channel

log = logging.getLogger(__name__)

START_LIMIT = 5.0  # seconds
BEGIN_LIMIT = 20.0  # seconds: a fork server imports modules first, which takes long on a busy machine
IDLE_LIMIT = 300.0  # seconds
_MAIN = "from collective.node.actions.fork_server_main import main"  # the agent `process` looks for it
_CODE = f"import sys; sys.path[:] = {{path!r}}; {_MAIN}; main({{orders}}, {{idle_limit!r}})"


class StartedMonitor:
    """A monitor that waits for its job on `channel`. Its descriptor names this very process, also when it has ended."""

    def __init__(self, pid: int, pidfd: int, channel: Channel) -> None:
        self.pid = pid
        self.channel = channel
        self._pidfd = pidfd

    def kill(self) -> None:
        """Kill the monitor, if it has not ended."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def wait(self, seconds: float) -> None:
        """Wait at most some seconds for its end."""
        waiting = select.poll()
        waiting.register(self._pidfd, select.POLLIN)
        waiting.poll(seconds * 1000)

    def close(self) -> None:
        """Close the descriptors; a monitor that runs kills its action."""
        self.channel.close()
        os.close(self._pidfd)


@dataclass
class _Process:
    """A fork server: its process, the socket for orders, and the names of the modules that it has imported."""

    process: subprocess.Popen[bytes]
    orders: socket.socket
    imported: set[str] = field(default_factory=set)
    has_served: bool = False


class ForkServer:
    """Starts monitors, one at a time; safe for any number of threads. It ends when idle for `idle_limit` seconds."""

    def __init__(self, idle_limit: float = IDLE_LIMIT) -> None:
        self._idle_limit = idle_limit
        self._starting = threading.Lock()
        self._server: _Process | None = None

    def start(self, modules: Collection[str] = ()) -> StartedMonitor:
        """Start a monitor in a process that has imported `modules`, if need be with a new fork server.

        Raises OSError or EOFError if a new fork server cannot do it, RuntimeError if no process can be forked.
        """
        with self._starting:
            try:
                return self._start(modules)
            except (OSError, EOFError) as error:
                log.warning("forkserver.restarted", extra={"error": repr(error)})
                self._forget()
            try:
                return self._start(modules)
            except (OSError, EOFError):
                self._forget()  # the next action does not wait for it
                raise

    @property
    def pid(self) -> int | None:
        """The process id of the fork server; None if none runs."""
        server = self._server
        return server.process.pid if server and server.process.poll() is None else None

    def close(self) -> None:
        """Kill the fork server, which ends a start that waits for it. Running monitors do not need it."""
        if server := self._server:
            server.process.kill()

    def _forget(self) -> None:
        if server := self._server:
            server.process.kill()
            self._server = None

    def _begin(self) -> _Process:
        """Start a fork server, and a thread that waits for its end."""
        server = _launched(self._idle_limit)
        try:
            threading.Thread(target=self._reap, args=(server,), name="forkserver", daemon=True).start()
        except RuntimeError:  # no further thread is possible
            server.process.kill()
            server.process.wait()
            server.orders.close()
            raise
        return server

    def _reap(self, server: _Process) -> None:
        """Wait for the end of a fork server: one that ends when idle would stay a zombie until the next action.

        Its socket is closed when no start uses it, which could otherwise read from another file of the same number.
        """
        server.process.wait()
        with self._starting:
            server.orders.close()

    def _start(self, modules: Collection[str]) -> StartedMonitor:
        if self.pid is None:
            self._forget()
        server = self._server = self._server or self._begin()
        is_new = not (server.has_served and server.imported.issuperset(modules))
        server.imported.update(modules)
        limit = BEGIN_LIMIT if is_new else START_LIMIT
        channel, remote = Channel.pair()
        try:
            pid, pidfd = _order(server.orders, modules, remote, limit)
        except TimeoutError:
            log.error("forkserver.stopped", extra={"error": f"no process started within {limit:.0f} s"})
            channel.close()
            raise
        except BaseException:
            channel.close()
            raise
        finally:
            remote.close()
        server.has_served = True
        return StartedMonitor(pid, pidfd, channel)


def _launched(idle_limit: float) -> _Process:
    """Start a fork server, which has this process's import path and standard streams."""
    orders, remote = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    options = getattr(subprocess, "_args_from_interpreter_flags")()  # noqa: B009 - typeshed does not have it
    code = _CODE.format(path=sys.path, orders=remote.fileno(), idle_limit=idle_limit)
    try:
        with remote:
            process = subprocess.Popen([sys.executable, *options, "-c", code], pass_fds=[remote.fileno()])
    except BaseException:
        orders.close()
        raise
    return _Process(process, orders)


def _order(orders: socket.socket, modules: Collection[str], remote: Channel, limit: float) -> tuple[int, int]:
    """Have a monitor forked that has the other end of `remote`; return its process id and pidfd."""
    orders.settimeout(limit)
    socket.send_fds(orders, [" ".join(modules).encode() or b" "], [remote.fileno()])
    answer, descriptors, _, _ = socket.recv_fds(orders, 64, 1, socket.MSG_CMSG_CLOEXEC)
    if not answer:
        raise EOFError("the fork server has ended")
    number = int(answer)
    if number < 0:
        raise RuntimeError(os.strerror(-number))
    if not descriptors:  # this process has no room for it (unix(7), MSG_CTRUNC); the monitor ends without its channel
        raise RuntimeError(os.strerror(errno.EMFILE))
    return number, descriptors[0]
