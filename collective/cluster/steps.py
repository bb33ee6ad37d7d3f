"""The next step of a machine that joins a cluster: a function of the state and of what was observed.

                     no item, or an abandoned one ─► Write: a new cluster with this machine in the first place
    forming          own place, others missing    ─► Wait
                     own place, all places taken  ─► Write: this machine begins it (one such write succeeds)
    begun            own place                    ─► Start
                     all places of others         ─► Wait as a spare; Write: the place of a machine that has failed

Every Write is conditional on the version that was read, so of two machines that take the same step one succeeds, and
the other one decides again.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace

from collective.cluster.observed import ObservedPlaces
from collective.cluster.state import MAX_REPLACED, ClusterBeginning, ClusterMachine, ClusterPlace, ClusterState
from collective.cluster_lease import LEASE, REPLACE_AFTER, RETURN
from collective.errors import ClusterRefused, UsageError
from collective.text import plural


@dataclass(frozen=True)
class Joiner:
    """A machine that joins the cluster `name`.

    `token` is that of the place which it had before, None for a new machine; `has_data`: it has run the program there,
    and still has its data. `process` is new for each joiner. `needs_ready`: it reports when its program is ready.
    """

    name: str
    machine: ClusterMachine
    size: int
    process: str
    token: str | None = None
    has_data: bool = False
    replace_after: float = REPLACE_AFTER
    needs_ready: bool = False


@dataclass(frozen=True)
class Write:
    """Write this state if the item has not changed since it was read; `about` is a line for people."""

    state: ClusterState
    about: str = ""


@dataclass(frozen=True)
class Wait:
    """Wait and read again; `about` says for what."""

    about: str


@dataclass(frozen=True)
class Start:
    """Start the program. `first`: this machine begins the cluster; `forming`: the cluster did not run before."""

    state: ClusterState
    place: ClusterPlace
    first: bool
    forming: bool


Step = Write | Wait | Start


def next_step(me: Joiner, state: ClusterState | None, seen: ObservedPlaces) -> Step:
    """Return the next step. Raises UsageError for another size, and ClusterRefused."""
    if state is None or _is_abandoned(state, me, seen):
        _check_data(me, "the registry has no such cluster")
        return Write(_new(me), "taking a place")
    if state.size != me.size:
        if state.beginning is None and not any(map(seen.was_renewed, state.places)):
            return Wait(f"making sure that '{state.creator}' runs, which gave it {plural(state.size, 'place')}")
        raise UsageError(
            f"cluster {me.name}: it has {plural(state.size, 'place')}, set by '{state.creator}', not {me.size} "
            "(use the same --size on all nodes)"
        )
    place = state.place_of(me.machine.identity)
    if place is None:
        return _step_of_newcomer(me, state, seen)
    if place.process != me.process:
        return _step_to_return(me, state, place, seen)
    if state.beginning is None:
        return _step_of_forming(me, state, place, seen)
    return _step_of_begun(state, place, state.beginning, seen)


def _is_abandoned(state: ClusterState, me: Joiner, seen: ObservedPlaces) -> bool:
    """Return whether a cluster that never began has no other machine any more, and another size than asked for."""
    others = [place for place in state.places if place.process != me.process]
    gone = all(seen.age(place) >= LEASE for place in others)
    return state.beginning is None and gone and (state.size != me.size or not state.places)


def _new(me: Joiner) -> ClusterState:
    state = ClusterState(secrets.token_hex(16), me.size, me.machine.identity)
    return state.with_place(_taken(0, me))


def _taken(
    number: int, me: Joiner, token: str | None = None, replaces: tuple[ClusterMachine, ...] = ()
) -> ClusterPlace:
    return ClusterPlace(number, me.machine, token or secrets.token_hex(16), me.process, replaces=replaces)


def _check_data(me: Joiner, why: str) -> None:
    """Raise ClusterRefused for a machine with data of a place that it does not have any more."""
    if me.has_data:
        hint = "remove its data and run 'crpc cluster leave' here, to join as a new machine"
        raise ClusterRefused(me.name, f"{why}, and this node has data of it ({hint})")


def _step_of_newcomer(me: Joiner, state: ClusterState, seen: ObservedPlaces) -> Step:
    _check_data(me, f"the place of '{me.machine.identity}' was given to another machine")
    if state.beginning is None:
        present = _present(state, seen)
        number = present.free_number()
        if number is None:
            return Wait(f"all {plural(state.size, 'place')} are taken: waiting as a spare")
        return Write(present.with_place(_taken(number, me)), "taking a place")
    return _step_of_spare(me, state, seen)


def _present(state: ClusterState, seen: ObservedPlaces) -> ClusterState:
    """Return a forming cluster without the machines that have gone."""
    return state.without(place.number for place in state.places if place.vacant or seen.age(place) >= LEASE)


def _step_of_spare(me: Joiner, state: ClusterState, seen: ObservedPlaces) -> Step:
    """Take the place of a machine that has failed, when no other place is being taken."""
    for place in state.places:
        if not place.started and not _has_failed(place, me, seen):
            return Wait(f"'{place.identity}' is starting: waiting as a spare")
    for place in sorted(state.places, key=lambda one: not one.vacant):
        if _has_failed(place, me, seen):
            replaces = (*place.replaces, place.machine)[-MAX_REPLACED:]
            taken = _taken(place.number, me, replaces=replaces)
            return Write(state.with_place(taken), f"taking the place of '{place.identity}'")
    return Wait(f"all {plural(state.size, 'place')} are taken: waiting as a spare")


def _has_failed(place: ClusterPlace, me: Joiner, seen: ObservedPlaces) -> bool:
    return place.vacant or seen.age(place) >= me.replace_after


def _step_to_return(me: Joiner, state: ClusterState, place: ClusterPlace, seen: ObservedPlaces) -> Step:
    """Take the own place again, unless a process on another machine still holds it."""
    if seen.was_renewed(place):
        raise ClusterRefused(
            me.name, f"another process joined as '{place.identity}', and it runs (each node needs its own identity)"
        )
    if not (place.ended or place.vacant) and seen.age(place) < RETURN:
        return Wait("making sure that no other process has this node's place")
    same = me.token == place.token and (me.has_data or not place.started) and not place.vacant
    if same or state.beginning is None:
        returned = replace(_taken(place.number, me, place.token), started=place.started, replaces=place.replaces)
        return Write(state.with_place(returned), "returning to its place")
    lost = _taken(place.number, me, replaces=(*place.replaces, place.machine)[-MAX_REPLACED:])
    return Write(state.with_place(lost), "returning to its place without its data")


def _step_of_forming(me: Joiner, state: ClusterState, place: ClusterPlace, seen: ObservedPlaces) -> Step:
    present = _present(state, seen).with_place(place)
    if len(present.places) < state.size:
        missing = state.size - len(present.places)
        about = f"waiting for {plural(missing, 'more machine')} of {state.size}"
        return Write(present, about) if len(present.places) < len(state.places) else Wait(about)
    beginning = ClusterBeginning(place.machine, place.token, state.machines, me.needs_ready)
    return Write(replace(state, beginning=beginning), "this node begins it")


def _step_of_begun(state: ClusterState, place: ClusterPlace, beginning: ClusterBeginning, seen: ObservedPlaces) -> Step:
    if place.started:
        return Start(state, place, first=False, forming=False)
    first = beginning.token == place.token
    if first or (beginning.ready or not beginning.needs_ready):
        return Start(state, place, first, forming=not place.replaces)
    if any(_is_beginning(one, beginning, seen) for one in state.places):
        return Wait(f"waiting until '{beginning.machine.identity}' has begun it")
    again = replace(beginning, machine=place.machine, token=place.token)
    restarted = replace(state, beginning=again).with_place(
        replace(place, replaces=())
    )  # the cluster begins empty, so no member is removed from it
    return Write(restarted, f"this node begins it in place of '{beginning.machine.identity}'")


def _is_beginning(place: ClusterPlace, beginning: ClusterBeginning, seen: ObservedPlaces) -> bool:
    """Return whether the machine that begins a cluster is still at it."""
    return place.token == beginning.token and not place.vacant and seen.age(place) < LEASE
