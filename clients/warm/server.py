"""The warm process: `python -m collective.clients.warm.server IDLE SOCKET [FILE …]`.

It ends after IDLE seconds without a call, on SIGTERM, when the installed files change or one of the FILEs, and when its
socket is gone. It always waits for the calls that run. It has one thread, because it forks.
"""

from __future__ import annotations

import fcntl
import marshal
import os
import select
import signal
import socket
import struct
import sys
import time
from contextlib import suppress
from pathlib import Path

from collective.clients.streams import notice
from collective.clients.warm import child, preload
from collective.clients.warm.freshness import ImportedFiles, stamps
from collective.clients.warm.front import COLD, ENDED, HEADER, READY, STOPPED

_MAX_REQUEST = 16 * 1024 * 1024  # bytes
_MAX_FILES = 5
_RECEIVE = 2.0  # seconds within which a caller must have sent its request
_LOOK = 30.0  # seconds between looks at the socket and the idle time
_BACKLOG = 64
_HANDOVER = 5.0  # seconds that the next process waits for the calls of the one before
_PAUSE = 0.05  # seconds


class WarmServer:
    """Accepts command lines on a socket and forks a child for each."""

    def __init__(self, path: Path, idle: float, files: list[str], lock: int) -> None:
        self._path = path
        self._lock = lock
        self._idle = idle
        self._streams = child.Streams.of_this_process()
        preload.load()
        self._imported = ImportedFiles()
        self._files = stamps(files)
        self._children: dict[int, socket.socket] = {}
        self._used = time.monotonic()
        self._calls = 0
        self._wake, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, self._note)
        self._stopping = False
        self._listener: socket.socket | None = _listening(path)

    def serve(self) -> None:
        """Serve until there is a reason to end, and no call runs."""
        while self._listener is not None or self._children:
            for ready in self._ready():
                if ready == self._wake:
                    with suppress(BlockingIOError):
                        os.read(self._wake, 4096)
                elif self._listener is not None and ready == self._listener.fileno():
                    self._accept(self._listener)
                else:
                    self._pass_signal(ready)
            self._reap()
            if self._stopping or self._is_done():
                self._close()

    def _note(self, number: int, _frame: object) -> None:
        self._stopping = self._stopping or number == signal.SIGTERM

    def _ready(self) -> list[int]:
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        for connection in self._children.values():
            poll.register(connection, select.POLLIN)
        if self._listener is not None:
            poll.register(self._listener, select.POLLIN)
        left = self._used + self._idle - time.monotonic()
        return [file for file, _ in poll.poll(max(0.0, min(left if not self._children else _LOOK, _LOOK)) * 1000)]

    def _is_done(self) -> bool:
        idle = not self._children and time.monotonic() - self._used >= self._idle
        return idle or not self._path.exists()

    def _close(self) -> None:
        """Accept no more command lines."""
        if self._listener is not None:
            self._path.unlink(missing_ok=True)
            self._listener.close()
            self._listener = None

    def _accept(self, listener: socket.socket) -> None:
        connection, _ = listener.accept()
        self._used = time.monotonic()
        try:
            connection.settimeout(_RECEIVE)
            connection.send(READY)
            received = _receive(connection)
            connection.settimeout(None)
        except (OSError, ValueError, EOFError, TypeError):
            connection.close()
            return
        if received is None:
            self._report(connection)
            return
        if self._is_stale():
            _tell(connection, COLD)
            self._stopping = True
            connection.close()
        else:
            self._fork(received, connection)
        for file in received.files:
            os.close(file)

    def _is_stale(self) -> bool:
        """Return whether a file is not the one that this process has read; the log names it."""
        changed = self._imported.changed() or next(
            (one for one in self._files if stamps([one]) != {one: self._files[one]}), None
        )
        if changed:
            notice(f"{changed} has changed")
        return changed is not None

    def _fork(self, request: child.WarmRequest, connection: socket.socket) -> None:
        before = signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
        try:
            pid = os.fork()
        except OSError:
            pid = -1
        if pid == 0:
            os.setpgid(0, 0)
            self._release()
            child.run(request, connection, self._streams)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if pid < 0:
            _tell(connection, COLD)
            connection.close()
            return
        with suppress(OSError):  # the child has done it
            os.setpgid(pid, pid)
        self._calls += 1
        self._children[pid] = connection

    def _release(self) -> None:
        """Close what belongs to the server, in a child."""
        for connection in self._children.values():
            connection.close()
        if self._listener is not None:
            self._listener.close()
        os.close(self._wake)
        os.close(self._lock)

    def _pass_signal(self, descriptor: int) -> None:
        """Pass the signals that a caller has sent to its child; a caller that is gone was killed."""
        pid = next((pid for pid, one in self._children.items() if one.fileno() == descriptor), None)
        if pid is None:
            return
        try:
            content = self._children[pid].recv(64, socket.MSG_DONTWAIT)
        except OSError:
            content = b""
        with suppress(ProcessLookupError):
            if not content:
                os.kill(pid, signal.SIGKILL)
            for number in content[1::2]:
                os.killpg(pid, number)

    def _reap(self) -> None:
        """Report to callers that a child has stopped or ended."""
        while self._children:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
            except ChildProcessError:
                return
            if pid == 0:
                return
            connection = self._children.get(pid)
            if connection is None:
                continue
            if os.WIFSTOPPED(status):
                _tell(connection, STOPPED + bytes([os.WSTOPSIG(status)]))
                continue
            _tell(connection, ENDED + status.to_bytes(4, sys.byteorder))
            self._children.pop(pid).close()
            self._used = time.monotonic()

    def _report(self, connection: socket.socket) -> None:
        """Answer `crpc warm status`, unless this process is about to be replaced."""
        if self._is_stale():
            self._stopping = True
            connection.close()
            return
        found = {"pid": os.getpid(), "calls": self._calls, "active": len(self._children), "idle_s": self._idle}
        _tell(connection, marshal.dumps(found))
        connection.close()


def _tell(connection: socket.socket, event: bytes) -> None:
    with suppress(OSError):  # the caller is gone
        connection.send(event, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)


def _receive(connection: socket.socket) -> child.WarmRequest | None:
    """Return a request, None for a question about the state. Raises OSError, ValueError, EOFError and TypeError."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    if struct.unpack("3i", credentials)[1] != os.geteuid():
        raise PermissionError
    header, files, _, _ = socket.recv_fds(connection, HEADER, _MAX_FILES)
    size = int.from_bytes(header, sys.byteorder)
    if not size and len(header) == HEADER:
        return None
    try:
        if len(files) < _MAX_FILES - 1 or size > _MAX_REQUEST:
            raise ValueError("not a request")
        content = b""
        while len(content) < size:
            part = connection.recv(size - len(content))
            if not part:
                raise EOFError
            content += part
        argv, environment, umask, ignored, mask, _ = marshal.loads(content)  # noqa: S302 - of the same user
    except BaseException:
        for file in files:
            os.close(file)
        raise
    return child.WarmRequest(argv, environment, umask, ignored, mask, files)


def _listening(path: Path) -> socket.socket:
    """Return the socket, which replaces that of a process that was killed."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen(_BACKLOG)
    return listener


def _locked(lock: int, path: Path) -> bool:
    """Lock a file, when a process that has closed its socket ends; return False while another one serves."""
    end = time.monotonic() + _HANDOVER
    while time.monotonic() < end:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if path.exists():
                return False
            time.sleep(_PAUSE)
        else:
            return True
    return False


def main(arguments: list[str]) -> int:
    """Serve, unless another process serves already; return the exit code."""
    idle, path, *files = arguments
    os.umask(0o077)
    lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if not _locked(lock, Path(path)):
        return 0
    WarmServer(Path(path), float(idle), files, lock).serve()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
