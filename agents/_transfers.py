"""Collect the pieces of a large file in a private folder until it is complete.

    <staging>/<caller>-<transfer>     the pieces so far; removed at the end, or a day after the last piece

`_staging.py` limits what they take up. A piece is written at its offset, so a piece that is sent again does no harm.
Pieces before it must be there. The whole is used only if its SHA-256 is the announced one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from collective.agent import Aborted
from collective.agents._private import private
from collective.agents._staging import locked, make_room

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
def staged(path: Path, piece: Piece) -> Iterator[BinaryIO]:
    """Write a piece, and yield the file with all pieces so far, whose `path` is that of `staging_path`.

    Raises PieceMissing if an earlier one is missing, Failed (busy) if there are too many unfinished transfers, and
    Aborted if other users can access the folder.
    """
    private(path.parent)
    try:
        with _received(path, piece) as file:
            yield file
    except FileNotFoundError:
        raise PieceMissing(0, piece.offset) from None
    except OSError as error:
        raise Aborted(f"{path}: {error.strerror}") from None


def finish(path: Path) -> None:
    """Remove the pieces of a transfer."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()


def digest(file: BinaryIO) -> str:
    """Return the SHA-256 of a file from its start, in hexadecimal digits."""
    file.seek(0)
    found = hashlib.sha256()
    while block := file.read(_BLOCK):
        found.update(block)
    return found.hexdigest()


def _received(path: Path, piece: Piece) -> BinaryIO:
    """Write a piece to the file of its transfer, and return that file."""
    with locked(path.parent):
        before = path.lstat().st_size if piece.offset else 0
        make_room(path, max(before, piece.offset + len(piece.content)))
        flags = _FLAGS if piece.offset else _FLAGS | os.O_CREAT
        file = open(os.open(path, flags, 0o600), "r+b")  # noqa: PTH123, SIM115 - a descriptor, which the caller closes
        try:
            _write(file, piece)
        except BaseException:
            file.close()
            raise
        return file


def _write(file: BinaryIO, piece: Piece) -> None:
    received = os.fstat(file.fileno()).st_size
    if piece.offset > received:
        raise PieceMissing(received, piece.offset)
    file.seek(piece.offset)
    file.write(piece.content)
    file.flush()
