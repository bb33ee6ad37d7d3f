"""The values of membership: a member, all members at one time, and an event."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

# States of members. A node that has left or failed stays a member until its record is removed.
ALIVE, LEFT, FAILED = "alive", "left", "failed"

# Kinds of events.
JOIN, LEAVE, FAIL, REAP, UPDATE, CONFLICT = "join", "leave", "failed", "reap", "update", "conflict"


@dataclass(frozen=True)
class Member:
    """A node as its record in the registry describes it, and the state in which the watcher saw it.

    `addresses` are IP addresses, the one to use first. `agents` are versions by name. `last_seen` is in Unix seconds
    by the server's clock, `period` in seconds between heartbeats. `contested`: two machines use the identity.
    """

    identity: str
    state: str = ALIVE
    addresses: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    agents: Mapping[str, str] = field(default_factory=dict)
    last_seen: float = 0.0
    period: float = 300.0
    contested: bool = False

    @property
    def address(self) -> str:
        """The address to use; empty if none is known."""
        return self.addresses[0] if self.addresses else ""

    @property
    def role(self) -> str:
        """The fact `role`, empty if there is none or if it is not a string."""
        role = self.facts.get("role", "")
        return role if isinstance(role, str) else ""

    def to_data(self) -> dict[str, Any]:
        """Return the member as JSON values, as in documents."""
        data = asdict(self)
        return data | {"address": self.address, "addresses": list(self.addresses), "classes": list(self.classes)}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Member:
        """Return the member that `to_data` has written."""
        values = {name: value for name, value in data.items() if name != "address"}
        values |= {name: tuple(values[name]) for name in ("addresses", "classes")}
        return cls(**values)


@dataclass(frozen=True)
class Membership:
    """The members at one time: `time` is in Unix seconds by the server's clock."""

    collective: str
    time: float = 0.0
    members: Mapping[str, Member] = field(default_factory=dict)

    @property
    def alive(self) -> list[Member]:
        """The members that are alive, sorted by identity."""
        return [one for _, one in sorted(self.members.items()) if one.state == ALIVE]


@dataclass(frozen=True)
class Event:
    """A change of one member. `member` is the member after it.

    `number` increases by one with each event of a state file. `time` is when it was noticed, in Unix seconds by the
    server's clock. `changes` are the names that an update changed, by part: facts, classes, agents, addresses.
    `reason` explains the event in words. `initial`: the member was there when the watcher first started.
    """

    number: int
    kind: str
    time: float
    member: Member
    changes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    reason: str = ""
    initial: bool = False

    def to_data(self) -> dict[str, Any]:
        """Return the event as JSON values, as in documents."""
        return {
            "event": self.kind,
            "number": self.number,
            "time": self.time,
            "initial": self.initial,
            "reason": self.reason,
            "changes": {part: list(names) for part, names in self.changes.items()},
            "member": self.member.to_data(),
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Event:
        """Return the event that `to_data` has written."""
        return cls(
            number=data["number"],
            kind=data["event"],
            time=data["time"],
            member=Member.from_data(data["member"]),
            changes={part: tuple(names) for part, names in data["changes"].items()},
            reason=data["reason"],
            initial=data["initial"],
        )


def changes(before: Member, after: Member, ignored: Iterable[str] = ()) -> dict[str, tuple[str, ...]]:
    """Return the names that differ between two members, sorted, by part: facts, classes, agents, addresses.

    `ignored` are names of facts that do not count.
    """
    found = {
        "facts": tuple(name for name in _different(before.facts, after.facts) if name not in set(ignored)),
        "classes": tuple(sorted(set(before.classes) ^ set(after.classes))),
        "agents": _different(before.agents, after.agents),
        "addresses": tuple(sorted(set(before.addresses) ^ set(after.addresses))),
    }
    if not found["addresses"] and before.address != after.address:
        found["addresses"] = (before.address, after.address)  # the same ones, another one first
    return {part: names for part, names in found.items() if names}


def _different(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[str, ...]:
    if before is after:
        return ()
    names = sorted(before.keys() | after.keys())
    return tuple(name for name in names if _json(before, name) != _json(after, name))


def _json(values: Mapping[str, Any], name: str) -> str | None:
    """Return the JSON of a value, None for a missing one; 1 and true are equal in Python, and different facts."""
    return json.dumps(values[name], sort_keys=True) if name in values else None
