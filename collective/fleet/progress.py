"""How far a call has come: counts of nodes by state, for progress displays."""

from __future__ import annotations

import math
from dataclasses import dataclass

MAX_AWAITED = 20  # names of nodes that are still awaited


@dataclass(frozen=True)
class CallProgress:
    """The number of expected nodes in each state. `elapsed` is in seconds.

    `running` nodes have been sent to, and have neither answered nor timed out; `waiting` nodes have not been sent to.
    `awaited` are the first of these names, those sent to longest ago first. `batch` is the size of a wave, 0 without
    waves; `max_fail` the number of failed and silent nodes that stops the rollout, None without one.
    """

    total: int = 0
    ok: int = 0
    failed: int = 0
    silent: int = 0
    running: int = 0
    waiting: int = 0
    awaited: tuple[str, ...] = ()
    batch: int = 0
    max_fail: int | None = None
    elapsed: float = 0.0

    @property
    def answered(self) -> int:
        """The number of nodes that have answered."""
        return self.ok + self.failed

    @property
    def finished(self) -> int:
        """The number of nodes that have answered or timed out."""
        return self.answered + self.silent

    @property
    def wave(self) -> int:
        """The number of the current wave, from 1; 0 without waves."""
        return math.ceil((self.total - self.waiting) / self.batch) if self.batch else 0

    @property
    def waves(self) -> int:
        """The number of all waves; 0 without waves."""
        return math.ceil(self.total / self.batch) if self.batch else 0

    @property
    def remaining(self) -> float | None:
        """The seconds until the end, if the other nodes take as long as those that have finished; None at first."""
        if not self.finished or self.finished >= self.total:
            return None
        return self.elapsed / self.finished * (self.total - self.finished)
