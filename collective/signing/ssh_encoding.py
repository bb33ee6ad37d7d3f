"""Read and write the data types of SSH (RFC 4251, section 5).

uint32, uint64   big-endian            string   a uint32 length and that many bytes
mpint            a string with a big-endian number, after a zero byte if its first bit would be set
"""

from __future__ import annotations

from collective.errors import SignatureError


class SSHReader:
    """Reads values from `data`. Raises SignatureError, naming `what` the data is, when it is not valid."""

    def __init__(self, data: bytes, what: str) -> None:
        self._data = data
        self._what = what
        self.position = 0

    @property
    def more(self) -> bool:
        """Whether there is unread data."""
        return self.position < len(self._data)

    def take(self, size: int) -> bytes:
        """Return the next `size` bytes."""
        end = self.position + size
        if end > len(self._data):
            raise SignatureError(f"{self._what} is truncated")
        taken = self._data[self.position : end]
        self.position = end
        return taken

    def uint32(self) -> int:
        """Return the next uint32."""
        return int.from_bytes(self.take(4), "big")

    def uint64(self) -> int:
        """Return the next uint64."""
        return int.from_bytes(self.take(8), "big")

    def string(self) -> bytes:
        """Return the bytes of the next string."""
        return self.take(self.uint32())

    def text(self) -> str:
        """Return the next string, an ASCII name."""
        try:
            return self.string().decode("ascii")
        except UnicodeDecodeError:
            raise SignatureError(f"{self._what} contains a name that is not ASCII") from None

    def mpint(self) -> int:
        """Return the next mpint. Raise SignatureError for a negative one, which keys and signatures never have."""
        number = int.from_bytes(self.string(), "big", signed=True)
        if number < 0:
            raise SignatureError(f"{self._what} contains a negative number")
        return number

    def end(self) -> None:
        """Raise SignatureError when there is unread data."""
        if self.more:
            raise SignatureError(f"{self._what} has extra data at its end")


def uint32(number: int) -> bytes:
    """Return a number as a uint32."""
    return number.to_bytes(4, "big")


def string(value: bytes | str) -> bytes:
    """Return bytes, or an ASCII name, as an SSH string."""
    data = value.encode("ascii") if isinstance(value, str) else value
    return uint32(len(data)) + data


def mpint(number: int) -> bytes:
    """Return a non-negative number as an mpint."""
    return string(number.to_bytes(number.bit_length() // 8 + 1, "big") if number else b"")
