"""Describe when nodes run an action as a background job.

Background()                               at once; the reply only says that it was accepted
Background(delay=1800, splay=600)          in 30 minutes, each node up to 10 minutes later
Background(start=1790000000.0, grace=60)   at a time, and at most a minute later
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from collective.errors import UsageError
from collective.messages import MAX_DELAY

GRACE = 300.0  # seconds
KEEP = 86400.0  # seconds


@dataclass(frozen=True)
class Background:
    """When a job begins, in seconds: `start` in Unix seconds by the server's clock, or `delay` after the request.

    `splay` is the longest further delay, different for each node. `grace` is how late it may begin on a node that was
    off or busy. `keep` is how long its result is kept. Raises UsageError for an invalid value.
    """

    start: float | None = None
    delay: float = 0.0
    splay: float = 0.0
    grace: float = GRACE
    keep: float = KEEP

    def __post_init__(self) -> None:
        """Raise UsageError for an invalid value."""
        if self.start is not None and self.delay:
            raise UsageError("delay: not allowed with start")
        for name, value in asdict(self).items():
            if name != "start" and not 0 <= value <= MAX_DELAY:
                raise UsageError(f"{name} '{value}': must be a number of seconds, at most {MAX_DELAY:.0f}")

    def to_data(self) -> dict[str, Any]:
        """Return the member `job` of a request."""
        return asdict(self)
