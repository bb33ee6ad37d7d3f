"""Give a command line to the warm process, and behave as if it ran here. Nothing but modules in C is imported.

The warm process gets the arguments, the environment, the umask and the ignored signals, and as open files standard
input, output and error, the current folder and the terminal. Signals are passed on. When the child stops, this process
stops too; it ends as the child ends: with the same exit code, or by the same signal.

Whatever is unusual is left to the usual way: `run` returns, and nothing has happened.
"""

import _signal  # type: ignore[import-not-found]
import _socket
import marshal
import os
import sys

from collective.clients.warm import place

# What the two sides send: one byte; after STOPPED 1 byte, the signal; after ENDED 4 bytes, the status of wait
READY, GO, COLD, STOPPED, ENDED = b"R", b"G", b"C", b"S", b"E"
SIGNAL = b"K"  # 1 byte: the signal
HEADER = 8  # bytes, the length of the request

_SIGNALS = (
    *(_signal.SIGHUP, _signal.SIGINT, _signal.SIGQUIT, _signal.SIGTERM, _signal.SIGUSR1, _signal.SIGUSR2),
    *(_signal.SIGWINCH, _signal.SIGTSTP, _signal.SIGALRM),
)
_CREDENTIALS = 12  # bytes of SO_PEERCRED: process, user and group
_ANSWER = 5.0  # seconds within which the warm process must have started the child
_LOST = 70  # the exit code when the warm process was killed


def run(argv: list[str]) -> None:
    """End this process as the command line in the warm process does; return if there is none, or it is unusual."""
    where = place.folder()
    if not place.is_private(where) or argv[1:2] == ["warm"] or os.environ.get("COLLECTIVE_WARM") == "no":
        return
    files = _open_files()  # first: a socket would get the number of a closed stream
    if files is None:
        return
    try:
        connection = _connect(place.socket_path(where))
    except OSError:
        connection = None
    if connection is not None:
        _hand_over(connection, argv, files)
    for file in files[3:]:
        os.close(file)


def _connect(path: str):  # type: ignore[no-untyped-def]
    """Return a connection to the warm process of this user; None if it is not this user's."""
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    connection.connect(path)
    peer = connection.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, _CREDENTIALS)
    return connection if int.from_bytes(peer[4:8], sys.byteorder) == os.geteuid() else None


def _hand_over(connection, argv: list[str], files: list[int]) -> None:  # type: ignore[no-untyped-def]
    ignored = [number for number in _SIGNALS if _signal.getsignal(number) == _signal.SIG_IGN]
    mask = [int(number) for number in _signal.pthread_sigmask(_signal.SIG_BLOCK, [])]
    request = marshal.dumps((argv, dict(os.environb), _umask(), ignored, mask, len(files)))
    relay = _Relay(connection)
    relay.begin([number for number in _SIGNALS if number not in ignored])
    rights = b"".join(file.to_bytes(4, sys.byteorder) for file in files)
    connection.settimeout(_ANSWER)  # the server may be stopped; it ends a child whose caller has gone
    try:
        if connection.recv(1) != READY:  # first: files that were sent to a stopped process would stay open there
            raise OSError
        header = len(request).to_bytes(HEADER, sys.byteorder)
        connection.sendmsg([header], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])
        connection.sendall(request)
        answer = connection.recv(1)
    except OSError:
        answer = COLD
    if answer == GO:
        connection.settimeout(None)
        relay.follow()
    relay.end()
    connection.close()


def _open_files() -> list[int] | None:
    """Return standard input, output and error, the current folder and the terminal; None if they are unusual.

    A program that asks on the terminal itself, whatever its input is, cannot do so from the warm process. So what is
    in the background of its terminal, or has a terminal and yet neither reads nor reports there, runs in the usual way.
    """
    try:
        for file in (0, 1, 2):
            os.fstat(file)
        here = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return None
    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
    except OSError:
        return [0, 1, 2, here]
    if os.isatty(0) and os.isatty(2) and os.tcgetpgrp(terminal) == os.getpgrp():
        return [0, 1, 2, here, terminal]
    os.close(terminal)
    os.close(here)
    return None


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


class _Relay:
    """Passes signals to the child, and does to this process what happens to the child."""

    def __init__(self, connection) -> None:  # type: ignore[no-untyped-def]
        self._connection = connection
        self._before: dict[int, object] = {}
        self._passed: list[int] = []

    def begin(self, signals: list[int]) -> None:
        """Pass on these signals from now on."""
        for number in signals:
            self._before[number] = _signal.signal(number, self._pass_on)

    def end(self) -> None:
        """Handle signals as before, also those that came meanwhile: the child has not been started."""
        for number, handler in self._before.items():
            _signal.signal(number, handler)
        for number in self._passed:
            os.kill(os.getpid(), number)

    def follow(self) -> None:
        """Wait for the end of the child, and end like it."""
        while True:
            event = self._read(1)
            if event == STOPPED:
                self._stop(self._read(1)[0])
            elif event == ENDED:
                self._finish(int.from_bytes(self._read(4), sys.byteorder))
            else:
                os.write(2, b"crpc: the warm process was killed while it ran this command\n")
                os._exit(_LOST)

    def _pass_on(self, number: int, _frame: object) -> None:
        self._passed.append(number)
        try:  # noqa: SIM105 - contextlib is slow to import
            self._connection.send(SIGNAL + bytes([number]))
        except OSError:
            pass

    def _read(self, size: int) -> bytes:
        content = b""
        while len(content) < size:
            try:
                part = self._connection.recv(size - len(content))
            except OSError:
                part = b""
            if not part:
                return b"\0" * size
            content += part
        return content

    def _stop(self, number: int) -> None:
        """Stop this process as the child was stopped; let the child go on after that."""
        if number == _signal.SIGSTOP:
            os.kill(os.getpid(), number)
        else:
            before = _signal.signal(number, _signal.SIG_DFL)
            os.kill(os.getpid(), number)
            _signal.signal(number, before)
        self._pass_on(_signal.SIGCONT, None)

    def _finish(self, status: int) -> None:
        """End with the exit code of the child, or by the signal that has ended it."""
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            if number != _signal.SIGKILL:
                _signal.signal(number, _signal.SIG_DFL)
            os.kill(os.getpid(), number)
        os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
