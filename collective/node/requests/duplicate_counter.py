"""Count how often each request is delivered again: the first few duplicates are audited and answered, later ones not.

SQS delivers some messages twice. Anyone who can write to a node's queue and has captured a request can send it again
and again; this must not fill the disk.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable

from collective.log_limiter import LogLimiter
from collective.node.storage.journal import MOST_ENTRIES

log = logging.getLogger(__name__)

ANSWERED = 10  # duplicates of one request that are audited and answered


class DuplicateCounter:
    """Counts duplicates by request digest, for one thread and at most `most` ids: as many as the journal holds."""

    def __init__(self, most: int = MOST_ENTRIES, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._counts: OrderedDict[str, int] = OrderedDict()  # the most recent duplicate is last
        self._log_limiter = LogLimiter(clock=clock)

    def add(self, digest: str) -> bool:
        """Count a duplicate; return whether it is still audited and answered."""
        count = self._counts.pop(digest, 0) + 1
        self._counts[digest] = count
        if len(self._counts) > self._most:
            self._counts.popitem(last=False)
        if count > ANSWERED and self._log_limiter.allows():
            error = f"delivered {count} more times: no longer audited or answered"
            log.warning("request.repeated", extra={"digest": digest, "error": error})
        return count <= ANSWERED
