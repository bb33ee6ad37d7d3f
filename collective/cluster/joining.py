"""Join a cluster: read the item, take the next step, and wait, until the program can be started."""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from collective.cluster.observed import ObservedPlaces
from collective.cluster.place_file import KeptPlace, PlaceFile
from collective.cluster.state import StoredCluster
from collective.cluster.steps import Joiner, Start, Wait, Write, next_step
from collective.cluster.table import ClusterStore
from collective.cluster_lease import RENEW
from collective.errors import ClusterRefused, Unreachable

_POLL = 1.0  # seconds between two reads at first
_LATER_POLL = 5.0  # and after a minute: a spare may wait for weeks
_SOON = 60.0  # seconds
_MOST_TRIES = 20  # writes that other machines prevent, until a machine does not leave


@dataclass(frozen=True)
class JoinWaiting:
    """How a joiner waits: for how long at most, in seconds, and by which clock. `report` gets lines for people."""

    limit: float = float("inf")
    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep
    report: Callable[[str], None] = lambda _line: None


def new_process() -> str:
    """Return what identifies one process that joins."""
    return secrets.token_hex(16)


class ClusterJoin:
    """One machine that joins. `file` keeps its place on this machine."""

    def __init__(self, me: Joiner, store: ClusterStore, file: PlaceFile, waiting: JoinWaiting | None = None) -> None:
        kept = file.read()
        self._me = replace(me, token=kept.token, has_data=me.has_data and kept.started) if kept else _new(me)
        self._store = store
        self._file = file
        self._waiting = waiting or JoinWaiting()
        self._seen = ObservedPlaces(self._waiting.clock)
        self._reported = ""
        self._renewed = 0.0

    def wait(self) -> Start:
        """Return when the program can be started.

        Raises UsageError for another size, ClusterRefused, TransportError except Unreachable, and ConfigError.
        """
        began = self._waiting.clock()
        while True:
            pause, unreachable = _POLL, None
            try:
                step = self.step()
                if isinstance(step, Start):
                    return step
                about = step.about
                pause = random.uniform(0.05, 0.3) if isinstance(step, Write) else _POLL  # noqa: S311 - others write too
            except Unreachable as error:
                about, unreachable = f"the registry cannot be reached, trying again: {error}", error
            self._report(about)
            passed = self._waiting.clock() - began
            if passed >= self._waiting.limit:
                if unreachable:
                    raise unreachable
                raise ClusterRefused(self._me.name, f"no place after {passed:.0f} s: {about}")
            self._waiting.pause(_LATER_POLL if pause == _POLL and passed > _SOON else pause)

    def step(self) -> Write | Wait | Start:
        """Take one step and return it. Raises what `wait` raises, and Unreachable."""
        stored = self._store.read()
        self._seen.see(stored)
        step = next_step(self._me, stored.state, self._seen)
        if isinstance(step, Write) and not self._store.write(stored, step.state):
            step = replace(step, about="")  # another machine was faster: the next step may be another one
        self._keep(stored)
        if isinstance(step, Start):
            self._remember(step.place.token)
        return step

    def withdraw(self) -> None:
        """Give up a place in a cluster that is forming; keep one in a cluster that runs."""
        stored = self._store.read()
        state = stored.state
        place = state.place_of(self._me.machine.identity) if state else None
        if state is None or place is None or place.process != self._me.process:
            return
        if state.beginning is None:
            self._store.write(stored, state.without([place.number]))
        else:
            self._store.write(stored, state.with_place(replace(place, ended=True)))

    def _keep(self, stored: StoredCluster) -> None:
        """Renew the place that this process has already, and note its token on this machine."""
        place = stored.state.place_of(self._me.machine.identity) if stored.state else None
        if place is None or place.process != self._me.process:
            return
        self._remember(place.token)
        now = self._waiting.clock()
        if now >= self._renewed + RENEW:
            self._store.renew(place)
            self._renewed = now

    def _remember(self, token: str) -> None:
        if token != self._me.token:
            self._file.write(KeptPlace(token))
            self._me = replace(self._me, token=token, has_data=False)

    def _report(self, about: str) -> None:
        if about and about != self._reported:
            self._waiting.report(f"cluster {self._me.name}: {about}")
        self._reported = about


def _new(me: Joiner) -> Joiner:
    return replace(me, token=None, has_data=False)


def leave(name: str, identity: str, store: ClusterStore, file: PlaceFile) -> bool:
    """Give up the place of a machine whose program was stopped; return whether it had one."""
    for _ in range(_MOST_TRIES):
        stored = store.read()
        state = stored.state
        place = state.place_of(identity) if state else None
        kept = file.read()
        if state is None or place is None or kept is None or place.token != kept.token:
            file.remove()
            return False
        forming = state.beginning is None
        left = state.without([place.number]) if forming else state.with_place(replace(place, ended=True, vacant=True))
        if left == state or store.write(stored, left):
            file.remove()
            return True
    raise ClusterRefused(name, "other machines write at the same time (try again)")
