"""Read a registry before its contents are needed: while it answers, a program imports modules and creates clients."""

from __future__ import annotations

import threading
from queue import SimpleQueue

from collective.registry import Contents, Nodes


class EarlyNodes:
    """The nodes of `registry`. After `begin`, the first `read` waits for what another thread reads."""

    def __init__(self, registry: Nodes) -> None:
        self._registry = registry
        self._reading: SimpleQueue[Contents | BaseException] | None = None

    def begin(self) -> None:
        """Begin to read in a thread, which does not keep the process alive."""
        results: SimpleQueue[Contents | BaseException] = SimpleQueue()
        try:
            threading.Thread(target=self._read, args=(results,), name="registry", daemon=True).start()
        except RuntimeError:  # no further thread is possible: it is read when it is asked for
            return
        self._reading = results

    def now(self) -> float:
        """Return the registry's time in Unix seconds."""
        return self._registry.now()

    def read(self) -> Contents:
        """Return the contents of the registry. Raises TransportError."""
        reading, self._reading = self._reading, None
        if reading is None:
            return self._registry.read()
        found = reading.get()
        if isinstance(found, BaseException):
            raise found
        return found

    def _read(self, results: SimpleQueue[Contents | BaseException]) -> None:
        try:
            found: Contents | BaseException = self._registry.read()
        except BaseException as error:
            found = error
        results.put(found)
