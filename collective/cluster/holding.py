"""Hold a place while the program runs: renew it, report what has happened, and notice when another machine has it.

While the table is unreachable the place stays with this machine, because no other machine can take it either.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from collective.cluster.state import ClusterPlace, ClusterState, StoredCluster
from collective.cluster.steps import Start
from collective.cluster.table import ClusterStore
from collective.cluster_lease import RENEW
from collective.errors import CollectiveError
from collective.log_limiter import LogLimiter
from collective.periodic import PeriodicThread

log = logging.getLogger(__name__)

_MOST_TRIES = 50  # writes that other machines prevent, until the next renewal
_LAST = 10.0  # seconds that the last write may take


class HeldPlace:
    """The place `start.place` of a cluster, which this process holds."""

    def __init__(
        self, name: str, store: ClusterStore, start: Start, pause: Callable[[float], None] = time.sleep
    ) -> None:
        self.name = name
        self.start = start
        self._store = store
        self._pause = pause
        self._wanted: dict[str, Any] = {}
        self._stored = True
        self._lock = threading.Lock()
        self._lost = threading.Event()
        self._problem = ""
        self._limiter = LogLimiter()
        self._thread = PeriodicThread("cluster", self._renew_in_thread, RENEW)

    def keep(self) -> None:
        """Renew the place in a thread from now on."""
        self._thread.start()

    @property
    def problem(self) -> str:
        """Why this process has the place no more; empty while it has it."""
        return self._problem if self._lost.is_set() else ""

    def report_replaced(self) -> None:
        """Store that the machines before have been removed."""
        self._store_flags(replaces=())

    def report_started(self) -> None:
        """Store that the program runs; if this machine begins the cluster, the others may start theirs."""
        self._store_flags(started=True, replaces=())

    def release(self) -> None:
        """Store that this process has ended, and renew the place no more. The machine keeps its place."""
        self._thread.stop(_LAST)
        if not self._lost.is_set():
            self._store_flags(ended=True)

    def renew(self) -> None:
        """Renew the place once, and store what could not be stored before. Raises TransportError and ConfigError."""
        with self._lock:
            if self._lost.is_set():
                return
            if not self._stored:
                self._write()
            if not self._store.renew(self.start.place):
                self._examine(self._store.read())

    def _store_flags(self, **flags: Any) -> None:
        """Store changes of the place now, or with the next renewal if the table cannot be used."""
        with self._lock:
            self._wanted |= flags
            self._stored = False
            try:
                self._write()
            except CollectiveError as error:  # such as expired credentials: the program must not end because of it
                self._log(error)

    def _write(self) -> None:
        for _ in range(_MOST_TRIES):
            stored = self._store.read()
            place = self._examine(stored)
            if place is None or stored.state is None:
                return
            state = _with_flags(stored.state, replace(place, **self._wanted))
            if state == stored.state or self._store.write(stored, state):
                self._stored = True
                return
            self._pause(random.uniform(0.01, 0.1))  # noqa: S311 - other machines write at the same time

    def _examine(self, stored: StoredCluster) -> ClusterPlace | None:
        """Return the place as it is stored; None, and note why, when this process does not have it."""
        mine = self.start.place
        places = stored.state.places if stored.state else ()
        place = next((one for one in places if one.number == mine.number), None)
        if place is not None and place.process == mine.process:
            return place
        if place is None:
            self._problem = "the registry has lost this node's place"
        elif place.identity == mine.identity:
            self._problem = f"another process joined as '{mine.identity}' (each node needs its own identity)"
        else:
            self._problem = f"'{place.identity}' has taken the place of this node, which was not heard of for too long"
        self._lost.set()
        return None

    def _renew_in_thread(self) -> None:
        try:
            self.renew()
        except CollectiveError as error:
            self._log(error)
        except Exception:
            log.exception("cluster.internal_error")

    def _log(self, error: Exception) -> None:
        if self._limiter.allows():
            log.warning("cluster.renewal_failed", extra={"error": f"cluster {self.name}: place not renewed: {error}"})


def _with_flags(state: ClusterState, place: ClusterPlace) -> ClusterState:
    """Return the state with a changed place; the cluster is ready when the machine that begins it has started."""
    beginning = state.beginning
    if beginning and place.started and place.token == beginning.token and not beginning.ready:
        state = replace(state, beginning=replace(beginning, ready=True))
    return state.with_place(place)
