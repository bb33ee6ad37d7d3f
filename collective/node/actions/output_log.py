"""Pass what an action and its commands write on to the daemon's log: a bounded part, without secrets.

The monitor reads the pipe until the action has ended. A process that the action left running gets SIGPIPE when it
writes afterwards, so it must have redirected its output. The fork server preloads this module, so it imports little.
"""

from __future__ import annotations

import contextlib
import os
import selectors
from collections.abc import Sequence

from collective.masking import hide

LIMIT = 64 * 1024  # characters of one action's output in the daemon's log
_CHUNK = 1 << 16


class OutputLog:
    """The pipe for an action's output. `writer` is the worker's end, `reader` the monitor's."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self.reader, self.writer = os.pipe()
        self._secrets = secrets
        # A secret that begins within the limit is kept whole, so that it is masked.
        self._room = LIMIT + max((len(secret.encode()) for secret in secrets), default=0)
        self._kept = bytearray()
        self._length = 0

    def read(self) -> bool:
        """Read once from the pipe; return False at its end."""
        chunk = os.read(self.reader, _CHUNK)
        self._kept += chunk[: self._room - len(self._kept)]
        self._length += len(chunk)
        return bool(chunk)

    def finish(self, destination: int = 2) -> None:
        """Read what is left in the pipe, and write the log. Never raises: the log may be closed or full."""
        with contextlib.suppress(OSError):
            while readable(self.reader) and self.read():
                pass
            os.write(destination, self.text().encode(errors="replace"))

    def text(self) -> str:
        """Return the part for the log, with a last line about the rest."""
        text = hide(self._kept.decode(errors="replace"), self._secrets)[:LIMIT]
        if self._length <= self._room:
            return text
        return f"{text}\n[… the action wrote {self._length} bytes, the rest is omitted …]\n"


def readable(descriptor: int) -> bool:
    """Return whether a read would not block."""
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        return bool(selector.select(0))
