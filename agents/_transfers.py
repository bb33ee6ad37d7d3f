"""Collect the pieces of a large file in a private folder until it is complete.

    <staging>/<transfer>     the pieces so far; removed at the end, or a day after the last piece

A piece is written at its offset, so a piece that is sent again does no harm. Pieces before it must be there. The whole
is used only if its SHA-256 is the announced one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from collective.agent import Aborted
from collective.ownership import replaceable

_ABANDONED = 86400.0  # seconds
_BLOCK = 1 << 20  # bytes
_FLAGS = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True)
class Piece:
    """A part of a file: `content` begins at `offset`. `size` and `sha256` are those of the whole file.

    All pieces of a file have the same `transfer`; without one, the content is the whole file.
    """

    content: bytes
    offset: int
    transfer: str | None
    size: int
    sha256: str


class PieceMissing(Aborted):
    """A piece before this one has not been received, or its transfer is complete."""

    def __init__(self, received: int, offset: int) -> None:
        super().__init__(f"a piece is missing: {received} bytes received, the next piece begins at {offset}")


@contextlib.contextmanager
def staged(folder: Path, transfer: str, piece: Piece) -> Iterator[BinaryIO]:
    """Write a piece, and yield the file with all pieces so far. Raises PieceMissing if an earlier one is missing."""
    path = _private(folder) / transfer
    _remove_abandoned(folder)
    try:
        flags = _FLAGS if piece.offset else _FLAGS | os.O_CREAT
        with open(os.open(path, flags, 0o600), "r+b") as file:  # noqa: PTH123 - a descriptor
            received = os.fstat(file.fileno()).st_size
            if piece.offset > received:
                raise PieceMissing(received, piece.offset)
            file.seek(piece.offset)
            file.write(piece.content)
            file.flush()
            yield file
    except FileNotFoundError:
        raise PieceMissing(0, piece.offset) from None
    except OSError as error:
        raise Aborted(f"{path}: {error.strerror}") from None


def finish(folder: Path, transfer: str) -> None:
    """Remove the pieces of a transfer."""
    with contextlib.suppress(FileNotFoundError):
        (folder / transfer).unlink()


def digest(file: BinaryIO) -> str:
    """Return the SHA-256 of a file from its start, in hexadecimal digits."""
    file.seek(0)
    found = hashlib.sha256()
    while block := file.read(_BLOCK):
        found.update(block)
    return found.hexdigest()


def _private(folder: Path) -> Path:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
    except OSError as error:
        raise Aborted(f"{folder}: {error.strerror}") from None
    if problem := replaceable(folder):
        raise Aborted(problem)
    return folder


def _remove_abandoned(folder: Path) -> None:
    for path in folder.iterdir():
        with contextlib.suppress(OSError):
            if path.lstat().st_mtime < time.time() - _ABANDONED:
                path.unlink()
