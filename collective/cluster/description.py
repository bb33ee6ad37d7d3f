"""The document of `crpc cluster show`."""

from __future__ import annotations

from typing import Any

from collective.cluster.state import ClusterPlace, ClusterState, StoredCluster


def describe(name: str, stored: StoredCluster, now: float) -> dict[str, Any]:
    """Return the members of the document; `now` is the servers' time."""
    state = stored.state
    if state is None:
        raise ValueError("unknown cluster")
    return {
        "cluster": name,
        "size": state.size,
        "phase": _phase(state),
        "first": state.beginning.machine.identity if state.beginning else None,
        "places": [_place(place, max(0.0, now - stored.seen.get(place.number, now))) for place in state.places],
    }


def _phase(state: ClusterState) -> str:
    if state.beginning is None:
        return "forming"
    waits = state.beginning.needs_ready and not state.beginning.ready
    return "beginning" if waits else "begun"


def _place(place: ClusterPlace, age: float) -> dict[str, Any]:
    return {
        "place": place.number,
        "node": place.identity,
        "address": place.machine.address,
        "state": _state(place),
        "seen": round(age, 1),
        "replaces": [machine.identity for machine in place.replaces],
    }


def _state(place: ClusterPlace) -> str:
    if place.vacant:
        return "vacant"
    if place.ended:
        return "ended"
    return "running" if place.started else "starting"
