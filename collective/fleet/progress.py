"""How far a call has come: counts of nodes by state, for progress displays."""

from __future__ import annotations

from dataclasses import dataclass

MAX_AWAITED = 20  # names of nodes that are still awaited


@dataclass(frozen=True)
class CallProgress:
    """The number of expected nodes in each state. `elapsed` is in seconds.

    `running` nodes have been sent to, and have neither answered nor timed out; `retrying` ones will be sent to again,
    `waiting` ones have not been sent to. `awaited` are the first names of running nodes, those sent to longest ago
    first. `wave` is the number of the current wave, from 1. `max_fail` is how many failed or silent nodes stop the
    rollout, None without a limit. `paused`: the rollout is held, or waits at a gate.
    """

    total: int = 0
    ok: int = 0
    failed: int = 0
    silent: int = 0
    running: int = 0
    retrying: int = 0
    waiting: int = 0
    awaited: tuple[str, ...] = ()
    wave: int = 1
    waves: int = 1
    max_fail: int | None = None
    paused: bool = False
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
    def remaining(self) -> float | None:
        """The seconds until the end, if the other nodes take as long as those that have finished; None at first."""
        if not self.finished or self.finished >= self.total:
            return None
        return self.elapsed / self.finished * (self.total - self.finished)
