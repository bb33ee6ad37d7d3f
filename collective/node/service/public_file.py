"""Replace a file that other users and programs read."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path


def put(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Replace a file atomically with one of that `mode`. Raise OSError.

    Another user may own the folder and have created links in it. The temporary file has a new name and is created
    exclusively, so no link is followed.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), mode)
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise
