"""Watch the registry: read it, compare, confirm failures, and store the events.

with StateFile(None, "production") as store … Watcher(registry, store, MemberView(), BySilence())
watcher.step()            one read; returns the events, which are stored until `store.delivered(events)`
watcher.snapshot          the members after it
"""

from __future__ import annotations

import logging
import math

from collective.errors import TransportError
from collective.log_limiter import LogLimiter
from collective.membership.confirmation import BySilence, FailureConfirmation
from collective.membership.members import ALIVE, REAP, Event, Membership
from collective.membership.state_file import StateFile
from collective.membership.tracker import NewEvent, Tracker
from collective.membership.view import MemberView
from collective.registry import Nodes
from collective.watch_settings import EVERY

log = logging.getLogger(__name__)

READS_PER_HEARTBEAT = 3  # by default, so that a missing heartbeat is noticed soon
SHORTEST_PAUSE = 1.0  # seconds between two reads by default


class Watcher:
    """Watches the nodes in `registry` that `view` selects, for the `collective`.

    `store` has the members of an earlier watcher. The nodes that are there at the very first step join initially.
    `confirmation` decides about nodes without heartbeats. With `settle`, a change must last for as many seconds.
    """

    def __init__(
        self,
        registry: Nodes,
        store: StateFile,
        view: MemberView,
        confirmation: FailureConfirmation | None = None,
        *,
        collective: str,
        settle: float = 0.0,
    ) -> None:
        self._registry = registry
        self._store = store
        self._confirmation = confirmation or BySilence()
        self._collective = collective
        self._tracker = Tracker(view, store.members(), settle)
        self._time = 0.0
        self._limiter = LogLimiter()

    @property
    def snapshot(self) -> Membership:
        """The members after the last step."""
        return Membership(self._collective, self._time, dict(self._tracker.members))

    def step(self) -> list[Event]:
        """Read the registry once, and return the new events, which are stored. Raises TransportError, ConfigError."""
        verdicts = self._confirmation.results()  # before the read, so that what is read is newer
        contents, self._time = self._registry.read(), self._registry.now()
        initial = self._store.is_new
        found = self._tracker.observe(contents, self._time, verdicts, settle=not initial)
        self._confirmation.begin(self._tracker.suspects(self._time))
        events = [self._event(change, initial) for change in found]
        if not events and not initial:
            return []
        return self._store.add(events, [change.member.identity for change in found if change.kind == REAP])

    def pause(self, every: float | None) -> float:
        """Return the seconds until the next step: `every`, or by default as often as the heartbeats need."""
        if every is not None:
            return every
        periods = [one.period for one in self._tracker.members.values() if one.state == ALIVE]
        return min(EVERY, max(SHORTEST_PAUSE, min(periods, default=math.inf) / READS_PER_HEARTBEAT))

    def attempt(self) -> list[Event]:
        """Do a step; an unreachable registry is logged, and has no events."""
        try:
            return self.step()
        except TransportError as error:
            if self._limiter.allows():
                log.warning("membership.unreadable", extra={"error": f"registry cannot be read: {error}"})
            return []

    def _event(self, change: NewEvent, initial: bool) -> Event:
        return Event(0, change.kind, self._time, change.member, change.changes, change.reason, initial)
