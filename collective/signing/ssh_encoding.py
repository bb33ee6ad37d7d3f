"""The data types of SSH, read and written: RFC 4251, section 5.

uint32, uint64   big-endian            string   a uint32 and so many bytes
mpint            a string that holds a number, big-endian, with a zero byte in front when its first bit is set
"""

from __future__ import annotations

from collective.errors import SignatureError


class SSHReader:
    """Takes one value after the other off `data`; SignatureError, naming `what` it is, when that cannot be."""

    def __init__(self, data: bytes, what: str) -> None:
        self._data = data
        self._what = what
        self.position = 0

    @property
    def more(self) -> bool:
        """Whether anything is left."""
        return self.position < len(self._data)

    def take(self, size: int) -> bytes:
        """Return the next `size` bytes."""
        end = self.position + size
        if end > len(self._data):
            raise SignatureError(f"{self._what} is cut short")
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
        """Return the next string, which is a name: ASCII."""
        try:
            return self.string().decode("ascii")
        except UnicodeDecodeError:
            raise SignatureError(f"{self._what} holds a name that is not ASCII") from None

    def mpint(self) -> int:
        """Return the next mpint; there are no negative ones in what we read."""
        number = int.from_bytes(self.string(), "big", signed=True)
        if number < 0:
            raise SignatureError(f"{self._what} holds a negative number")
        return number

    def end(self) -> None:
        """Raise SignatureError when anything is left."""
        if self.more:
            raise SignatureError(f"{self._what} is longer than it should be")


def uint32(number: int) -> bytes:
    """Return a number as a uint32."""
    return number.to_bytes(4, "big")


def string(value: bytes | str) -> bytes:
    """Return bytes, or a name, as a string."""
    data = value.encode("ascii") if isinstance(value, str) else value
    return uint32(len(data)) + data


def mpint(number: int) -> bytes:
    """Return a number that is not negative as an mpint."""
    return string(number.to_bytes(number.bit_length() // 8 + 1, "big") if number else b"")
