"""Count how often each request has come again: the first few times are audited and answered, later ones are not.

SQS delivers twice now and then. Who may write to a node's queue and has captured a request can send it without end,
and shall fill no disk by it.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable

from collective.node.storage.journal import MOST_ENTRIES

log = logging.getLogger(__name__)

ANSWERED = 10  # repetitions of one request
_LOG_PERIOD = 60.0  # seconds between log lines


class DuplicateCounter:
    """The counts of one daemon, by request id, for one thread: of so many ids as the journal knows at once."""

    def __init__(self, most: int = MOST_ENTRIES, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._counts: OrderedDict[str, int] = OrderedDict()  # the one that has come last is last
        self._next_log = clock()

    def add(self, request_id: str) -> bool:
        """Count a repetition; return whether it is worth an answer."""
        count = self._counts.pop(request_id, 0) + 1
        self._counts[request_id] = count
        if len(self._counts) > self._most:
            self._counts.popitem(last=False)
        if count > ANSWERED:
            self._log(request_id, count)
        return count <= ANSWERED

    def _log(self, request_id: str, count: int) -> None:
        if self._clock() >= self._next_log:
            self._next_log = self._clock() + _LOG_PERIOD
            error = f"it has come again {count} times: neither audited nor answered any more"
            log.warning("request.repeated", extra={"request": request_id, "error": error})
