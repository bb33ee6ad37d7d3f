"""What the item of a cluster holds, and the changes of it. A state is never changed in place.

The text comes from a table that every node of a collective may be allowed to write, and its parts become words of
commands. So names and addresses have the characters of names and addresses, and sizes have bounds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from ipaddress import IPv6Address
from typing import Any

from collective.errors import ConfigError, UsageError
from collective.names import check_identity

MAX_SIZE = 99  # places of a cluster
MAX_REPLACED = 20  # machines that a successor has to remove
_FORMAT = 1
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")
_IPV6 = re.compile(r"[0-9A-Fa-f:.]{2,45}")
_TOKEN = re.compile(r"[0-9a-f]{32}")


def check_cluster(name: str) -> str:
    """Return `name` if a cluster can have it; raise UsageError otherwise."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"invalid name of a cluster '{name[:60]}': use 1 to 40 characters of a-z, 0-9 and '-'")
    return name


def check_address(address: str) -> str:
    """Return `address` if it is an IP address or a host name; raise UsageError otherwise."""
    with suppress(ValueError):
        if _HOST.fullmatch(address) or (_IPV6.fullmatch(address) and IPv6Address(address)):
            return address
    raise UsageError(f"invalid address '{address[:60]}': use an IP address or a host name, without a port")


@dataclass(frozen=True)
class ClusterMachine:
    """A machine in a cluster, by its identity in the collective and the address for its peers."""

    identity: str
    address: str


@dataclass(frozen=True)
class ClusterPlace:
    """One of the places of a cluster.

    `token` is new for each machine that takes the place, and is stored on the machine; `process` is new for each
    `crpc cluster join`. `started`: the program runs. `ended`: the command ended, and the machine keeps its place.
    `vacant`: the machine has given it up. `replaces` are the machines before, which the holder has to remove.
    """

    number: int
    machine: ClusterMachine
    token: str
    process: str
    started: bool = False
    ended: bool = False
    vacant: bool = False
    replaces: tuple[ClusterMachine, ...] = ()

    @property
    def identity(self) -> str:
        """The identity of the machine."""
        return self.machine.identity


@dataclass(frozen=True)
class ClusterBeginning:
    """Which machine begins the cluster, by the `token` of its place, and with which others.

    `needs_ready`: the others wait until its program is `ready`.
    """

    machine: ClusterMachine
    token: str
    machines: tuple[ClusterMachine, ...]
    needs_ready: bool = False
    ready: bool = False


@dataclass(frozen=True)
class ClusterState:
    """A cluster of `size` places. `id` is new for each formation. `beginning` is None while it is forming."""

    id: str
    size: int
    creator: str
    places: tuple[ClusterPlace, ...] = ()
    beginning: ClusterBeginning | None = None

    @property
    def machines(self) -> tuple[ClusterMachine, ...]:
        """The machines in the places, in the order of these."""
        return tuple(place.machine for place in self.places)

    def place_of(self, identity: str) -> ClusterPlace | None:
        """Return the place of a machine."""
        return next((place for place in self.places if place.identity == identity), None)

    def with_place(self, changed: ClusterPlace) -> ClusterState:
        """Return the state with a place added or replaced."""
        others = [place for place in self.places if place.number != changed.number]
        return replace(self, places=tuple(sorted([*others, changed], key=lambda place: place.number)))

    def without(self, numbers: Iterable[int]) -> ClusterState:
        """Return the state without some places."""
        gone = set(numbers)
        return replace(self, places=tuple(place for place in self.places if place.number not in gone))

    def free_number(self) -> int | None:
        """Return the lowest number without a place; None when all are taken."""
        taken = {place.number for place in self.places}
        return next((number for number in range(self.size) if number not in taken), None)


@dataclass(frozen=True)
class StoredCluster:
    """A cluster as it was read: `version` is for the next write, 0 when the item does not exist.

    `beats` count the renewals of each place, by number, and `seen` are their times by the servers' clock.
    """

    version: int = 0
    state: ClusterState | None = None
    beats: Mapping[int, int] = field(default_factory=dict)
    seen: Mapping[int, float] = field(default_factory=dict)


def encode(state: ClusterState) -> str:
    """Return the text of a state."""
    return json.dumps({"format": _FORMAT, **asdict(state)}, separators=(",", ":"))


def decode(text: str, where: str) -> ClusterState:
    """Return the state of a text; raise ConfigError, naming `where`, for one that is not a state."""
    try:
        return _state(json.loads(text))
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError, UsageError) as error:
        raise ConfigError(f"{where}: the item in the registry is not valid: {error}") from None


def _state(value: Any) -> ClusterState:
    if value["format"] != _FORMAT:
        raise ValueError(f"format {value['format']}, this version supports {_FORMAT} (upgrade collective)")
    size, places = int(value["size"]), tuple(map(_place, value["places"]))
    numbers, names = {place.number for place in places}, {place.identity for place in places}
    if not 0 < size <= MAX_SIZE or len(numbers) != len(places) or len(names) != len(places):
        raise ValueError("a wrong size, or two places with one number or one machine")
    if any(not 0 <= number < size for number in numbers):
        raise ValueError("a number of a place is not in the cluster")
    beginning = value["beginning"]
    return ClusterState(
        _token(value["id"]),
        size,
        check_identity(value["creator"]),
        places,
        None if beginning is None else _beginning(beginning),
    )


def _place(value: Any) -> ClusterPlace:
    return ClusterPlace(
        int(value["number"]),
        _machine(value["machine"]),
        _token(value["token"]),
        _token(value["process"]),
        value["started"] is True,
        value["ended"] is True,
        value["vacant"] is True,
        tuple(map(_machine, value["replaces"][:MAX_REPLACED])),
    )


def _beginning(value: Any) -> ClusterBeginning:
    machines = tuple(map(_machine, value["machines"][:MAX_SIZE]))
    flags = value["needs_ready"] is True, value["ready"] is True
    return ClusterBeginning(_machine(value["machine"]), _token(value["token"]), machines, *flags)


def _machine(value: Any) -> ClusterMachine:
    return ClusterMachine(check_identity(value["identity"]), check_address(value["address"]))


def _token(value: Any) -> str:
    if not isinstance(value, str) or not _TOKEN.fullmatch(value):
        raise ValueError("a token has not 32 hexadecimal digits")
    return value
