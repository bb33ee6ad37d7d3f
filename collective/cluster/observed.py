"""How long places have not been renewed, as this process has seen it, by its own clock.

A place that was never seen before counts as renewed now. So a wrong clock of another machine does no harm, and neither
does an outage of the table: places age only from one successful read to the next, and never by more than a few periods.
"""

from __future__ import annotations

from collections.abc import Callable

from collective.cluster.state import ClusterPlace, StoredCluster

_LONGEST = 10.0  # seconds that count at most between two reads: no machine can renew while the table is unreachable

_Renewal = tuple[str, int]  # the process, and how often it has renewed the place


class ObservedPlaces:
    """What was seen of the places of one cluster. `clock` returns seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last_read: float | None = None
        self._ages: dict[int, float] = {}
        self._renewals: dict[int, _Renewal] = {}
        self._renewed: set[str] = set()

    def see(self, stored: StoredCluster) -> None:
        """Note a state that was read just now."""
        now = self._clock()
        passed = 0.0 if self._last_read is None else min(now - self._last_read, _LONGEST)
        self._last_read = now
        places = stored.state.places if stored.state else ()
        before, ages = self._renewals, self._ages
        self._renewals = {place.number: (place.process, stored.beats.get(place.number, 0)) for place in places}
        self._ages = {}
        for number, renewal in self._renewals.items():
            same = before.get(number) == renewal
            self._ages[number] = ages[number] + passed if same else 0.0
            if not same and number in before and before[number][0] == renewal[0]:
                self._renewed.add(renewal[0])

    def age(self, place: ClusterPlace) -> float:
        """Return for how many seconds a place was seen without a renewal."""
        return self._ages.get(place.number, 0.0)

    def was_renewed(self, place: ClusterPlace) -> bool:
        """Return whether its process has renewed the place before our eyes, so that it certainly runs."""
        return place.process in self._renewed
