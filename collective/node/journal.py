"""Remember requests, so that each runs at most once and a repeated one gets its first answer again.

This journal lives in memory. It forgets with its daemon; what was sent before it began is therefore refused
(`too_early`), for nobody can say whether it has already run. One on disk takes its place behind the same methods.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

from collective.errors import Failed
from collective.messages import MAX_TTL, Reply

KEPT = 2 * MAX_TTL  # seconds; longer than a captured request can still be valid
_CAPACITY = 100_000  # entries


@dataclass
class Entry:
    """One request that has been taken on. `reply` is None while it runs."""

    since: float
    reply: Reply | None = None


class Journal:
    """Entries by request id, dropped by age, never by number. Times are Unix seconds by the server's clock."""

    def __init__(self, began: float, capacity: int = _CAPACITY) -> None:
        self._began = began
        self._capacity = capacity
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._lock = threading.Lock()

    def too_early(self, sent: float) -> bool:
        """Tell whether a request was sent before this journal began, and may have run already."""
        return sent < self._began

    def find(self, request_id: str) -> Entry | None:
        """Return the entry of a request that was taken on before."""
        with self._lock:
            return self._entries.get(request_id)

    def begin(self, request_id: str, now: float) -> None:
        """Take a request on; raise Failed (`busy`) when there is no room, for a live id is never forgotten."""
        with self._lock:
            self._drop_old(now)
            if len(self._entries) >= self._capacity:
                raise Failed(f"the journal holds {self._capacity} requests: try again later", reason="busy")
            self._entries[request_id] = Entry(since=now)

    def finish(self, request_id: str, reply: Reply) -> None:
        """Keep the answer of a request."""
        with self._lock:
            if request_id in self._entries:
                self._entries[request_id].reply = reply

    def _drop_old(self, now: float) -> None:
        while self._entries:
            oldest = next(iter(self._entries.values()))
            if now - oldest.since <= KEPT:
                return
            self._entries.popitem(last=False)
