"""Note when the parts of a call were done, for the event `call.timings` of the log."""

from __future__ import annotations

import logging
import time

log = logging.getLogger(__name__)

SIGNED, SENT, FIRST_REPLY, LAST_REPLY = "signed", "sent", "first_reply", "last_reply"
_ONCE = frozenset({SIGNED, SENT, FIRST_REPLY})  # of a rollout, the first wave counts


class CallTimings:
    """When each part of a call was done, in milliseconds since the call was made."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._done: dict[str, float] = {}

    def note(self, part: str) -> None:
        """Note that a part is done now."""
        if part not in _ONCE or part not in self._done:
            self._done[part] = (time.monotonic() - self._began) * 1000

    def log(self, discovery_ms: float, replies: int) -> None:
        """Log the parts of a call that has ended."""
        if log.isEnabledFor(logging.DEBUG):
            parts = {f"{part}_ms": round(done, 1) for part, done in self._done.items()}
            parts["ended_ms"] = round((time.monotonic() - self._began) * 1000, 1)
            log.debug("call.timings", extra={"discovery_ms": round(discovery_ms, 1), **parts, "replies": replies})
