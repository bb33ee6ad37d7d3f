"""Watch the registry: read it, compare, confirm failures, and store the events.

store = StateFile(None, "production")
watcher = Watcher(FullReads(registry), store, MemberView(), BySilence(), collective="production")
watcher.step()            one read; returns the events, which are stored until `store.delivered(events)`
watcher.snapshot          the members after it
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

from collective.errors import ConfigError, TransportError
from collective.log_limiter import LogLimiter
from collective.membership.confirmation import BySilence, FailureConfirmation
from collective.membership.members import ALIVE, REAP, Event, Membership
from collective.membership.state_file import StateFile
from collective.membership.tracker import NewEvent, Tracker
from collective.membership.view import MemberView
from collective.registry.feed import Feed
from collective.watch_settings import default_pause

log = logging.getLogger(__name__)

CURSOR = 60.0  # seconds after which the position in the stream is stored, if there are no events


class Watcher:
    """Watches the nodes of a registry that `view` selects, for the `collective`. `feed` reads the registry.

    `store` has the members of an earlier watcher. The nodes that are there at the very first step join initially.
    `confirmation` decides about nodes without heartbeats. With `settle`, a change must last for as many seconds.
    """

    def __init__(
        self,
        feed: Feed,
        store: StateFile,
        view: MemberView,
        confirmation: FailureConfirmation | None = None,
        *,
        collective: str,
        settle: float = 0.0,
    ) -> None:
        self._feed = feed
        self._store = store
        self._view = view
        self._settle = settle
        self._confirmation = confirmation or BySilence()
        self._collective = collective
        self._time = self._stored = 0.0
        self._limiter = LogLimiter()
        self._continue()

    @property
    def snapshot(self) -> Membership:
        """The members after the last step."""
        return Membership(self._collective, self._time, dict(self._tracker.members))

    def step(self) -> list[Event]:
        """Read the registry once, and return the new events, which are stored. Raises TransportError, ConfigError."""
        verdicts = self._confirmation.results()  # before the read, so that what is read is newer
        observations = self._feed.changes(complete=any(one.failed for one in verdicts))
        self._time, initial = self._feed.now(), self._store.is_new
        found: list[NewEvent] = []
        for observation in observations:
            found += self._tracker.observe(observation, self._time, settle=not initial)
        found += self._tracker.judge(verdicts, self._time)
        found += self._tracker.reap()
        self._confirmation.begin(self._tracker.suspects(self._time))
        try:
            return self._store_events(found, initial)
        except ConfigError:  # such as a full disk: the events are found again
            self._continue()
            raise

    def _store_events(self, found: Sequence[NewEvent], initial: bool) -> list[Event]:
        """Store events with the cursor, and from time to time the cursor alone."""
        if not found and not initial and self._time - self._stored < CURSOR:
            return []
        events = [self._event(change, initial) for change in found]
        removed = [change.member.identity for change in found if change.kind == REAP]
        added = self._store.add(events, removed, self._feed.cursor)
        self._stored = self._time
        return added

    def _continue(self) -> None:
        """Begin with what is stored."""
        self._tracker = Tracker(self._view, self._store.members(), self._settle)
        self._feed.resume(self._store.cursor)

    def pause(self, every: float | None) -> float:
        """Return the seconds until the next step: `every`, or by default as often as the heartbeats need."""
        if every is not None:
            return every
        periods = [one.period for one in self._tracker.members.values() if one.state == ALIVE]
        return default_pause(min(periods, default=math.inf))

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
