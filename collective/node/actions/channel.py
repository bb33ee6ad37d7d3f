"""Send and receive messages of bytes over one end of a socket pair: between the daemon and an action's monitor.

Each message is preceded by its length, in four bytes. The fork server imports this module, so it imports little.
"""

from __future__ import annotations

import select
import socket

_LENGTH = 4  # bytes


class Channel:
    """One end of a connection in both directions. It closes with its process."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end

    @classmethod
    def pair(cls) -> tuple[Channel, Channel]:
        """Return the two ends of a new connection."""
        one, other = socket.socketpair()
        return cls(one), cls(other)

    def fileno(self) -> int:
        """Return the descriptor, which is readable when a message, or the end, has arrived."""
        return self._end.fileno()

    def limit(self, seconds: float) -> None:
        """Let each step of sending and receiving fail with TimeoutError after some seconds."""
        self._end.settimeout(seconds)

    def send(self, message: bytes) -> None:
        """Send a message. Raise OSError if the other end is closed."""
        self._end.sendall(len(message).to_bytes(_LENGTH, "big"))
        self._end.sendall(message)

    def receive(self, largest: int) -> bytes:
        """Return the next message. Raise EOFError at the end, OSError for one of more than `largest` bytes."""
        length = int.from_bytes(self._read(_LENGTH), "big")
        if length > largest:
            raise OSError(f"a message of {length} bytes exceeds the limit of {largest} bytes")
        return bytes(self._read(length))

    def wait(self, seconds: float) -> bool:
        """Wait until something can be received; return False if nothing was within some seconds."""
        waiting = select.poll()
        waiting.register(self._end, select.POLLIN)
        return bool(waiting.poll(seconds * 1000))

    def close(self) -> None:
        """Close this end."""
        self._end.close()

    def _read(self, length: int) -> bytearray:
        content = bytearray(length)
        view, done = memoryview(content), 0
        while done < length:
            read = self._end.recv_into(view[done:])
            if not read:
                raise EOFError("the other end is closed")
            done += read
        return content
