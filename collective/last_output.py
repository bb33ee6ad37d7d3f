"""Keep the end of what a command writes, however much that is."""

from __future__ import annotations

import os
import threading
from typing import IO

from collective.text import escape_controls

_WAIT = 1.0  # seconds to wait for it, because a process that the command leaves running may keep the pipe open


class LastOutput:
    """Reads a pipe in the background, and keeps the last `kept` bytes."""

    def __init__(self, pipe: IO[bytes] | None, kept: int) -> None:
        assert pipe is not None  # noqa: S101 - Popen was called with PIPE
        self._pipe = pipe
        self._room = kept
        self._kept = b""
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def lines(self, most: int) -> str:
        """Return at most the `most` last lines, as one line; those that come later are not waited for."""
        self._thread.join(_WAIT)
        lines = [one.strip() for one in self._kept.decode(errors="replace").splitlines() if one.strip()]
        return escape_controls(" | ".join(lines[-most:]))

    def _read(self) -> None:
        with self._pipe:
            while chunk := os.read(self._pipe.fileno(), 65536):
                self._kept = (self._kept + chunk)[-self._room :]
