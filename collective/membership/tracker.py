"""Compare what the registry has now with the members before: each difference is an event.

    known      record now                        event
    -          alive                             join (only with the first read: initial)
    alive      stopped cleanly                   leave
    alive      not selected any more, revoked    leave, with the reason
    alive      no heartbeat, failure confirmed   failed
    alive      its EC2 instance is terminated    failed, unless it has stopped cleanly before
    alive      other facts, classes …            update
    alive      two machines use the identity     conflict, once; its updates are ignored meanwhile
    left       registered again                  join
    failed     a later heartbeat                 join
    left, failed    removed from the registry    reap

A member that is missing in the registry is suspected like one without heartbeats, because a living node writes its
record again. Nothing here reads a clock or a network.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from collective.membership.confirmation import SUSPECT_PERIODS, Suspect, Verdict
from collective.membership.members import (
    ALIVE,
    CONFLICT,
    FAIL,
    FAILED,
    JOIN,
    LEAVE,
    LEFT,
    REAP,
    UPDATE,
    Member,
    changes,
)
from collective.membership.view import MemberView, revoked_keys
from collective.registry import NodeRecord
from collective.registry.feed import Observation


@dataclass(frozen=True)
class NewEvent:
    """An event without its number: the member after it, or before it if it is removed."""

    kind: str
    member: Member
    changes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    reason: str = ""


class Tracker:
    """The members of one view. Times are Unix seconds by the server's clock.

    A difference is a change when it has been there for `settle` seconds, except a failure. For each step, `observe`
    what was read, `judge` suspects by verdicts that are older, and `reap`.
    """

    def __init__(self, view: MemberView, members: Mapping[str, Member], settle: float = 0.0) -> None:
        self.members = dict(members)
        self._view = view
        self._settle = settle
        self._unsettled: dict[str, tuple[float, NodeRecord]] = {}  # when a difference was first seen, and the record
        self._removed: set[str] = set()  # members without a record
        self._vouched: dict[str, float] = {}  # until when a node without heartbeats is known to be alive

    def observe(self, found: Observation, now: float, *, settle: bool = True) -> list[NewEvent]:
        """Return the changes by what was read, and apply them."""
        contents = found.contents
        records = {record.identity: record for record in contents.records}
        if found.complete:
            self._removed = self.members.keys() - records.keys() - contents.invalid.keys()
            self._unsettled = {name: value for name, value in self._unsettled.items() if name in records}
        else:
            self._removed = (self._removed | found.removed) - records.keys()
            self._unsettled = {name: value for name, value in self._unsettled.items() if name not in found.removed}
        waiting = {name: record for name, (_, record) in self._unsettled.items()}
        revoked = revoked_keys(contents)
        events = []
        for _, record in sorted({**waiting, **records}.items()):
            events += self._settled(self._compare(record, now, revoked), record, now, settle)
        return events

    def judge(self, verdicts: Iterable[Verdict], now: float) -> list[NewEvent]:
        """Return the failures that verdicts confirm, unless what was observed refutes them."""
        return [event for verdict in verdicts for event in self._failed(verdict, now)]

    def reap(self) -> list[NewEvent]:
        """Return the removals of members that are gone and have no record."""
        reason = "its record was removed from the registry"
        gone = [name for name in self._removed if name in self.members and self.members[name].state != ALIVE]
        return [NewEvent(REAP, self.members.pop(identity), reason=reason) for identity in sorted(gone)]

    def suspects(self, now: float) -> list[Suspect]:
        """Return the members that may have failed."""
        found = []
        for identity, one in sorted(self.members.items()):
            age = now - one.last_seen
            if one.state == ALIVE and age > SUSPECT_PERIODS * one.period and self._vouched.get(identity, 0.0) <= now:
                found.append(Suspect(identity, one.last_seen, age, age / one.period))
        return found

    def _failed(self, verdict: Verdict, now: float) -> Iterator[NewEvent]:
        identity, last_seen = verdict.suspect.identity, verdict.suspect.last_seen
        known = self.members.get(identity)
        if known is None or known.state != ALIVE:
            return
        if not verdict.failed:
            self._vouched[identity] = now + known.period
        elif known.last_seen <= last_seen and not self._has_left(identity):
            self._unsettled.pop(identity, None)
            self.members[identity] = replace(known, state=FAILED, last_seen=last_seen)
            yield NewEvent(FAIL, self.members[identity], reason=verdict.why)

    def _has_left(self, identity: str) -> bool:
        """Return whether a member has stopped cleanly, which is not yet settled."""
        return identity in self._unsettled and self._unsettled[identity][1].left is not None

    def _settled(self, change: NewEvent | None, record: NodeRecord, now: float, settle: bool) -> list[NewEvent]:
        """Apply a change and return it, unless it must be seen for some time before."""
        identity = record.identity
        if change is None:
            self._unsettled.pop(identity, None)
            return []
        since = self._unsettled.get(identity, (now, record))[0]
        if settle and change.kind != FAIL and now - since < self._settle:
            self._unsettled[identity] = since, record
            return []
        self._unsettled.pop(identity, None)
        self._vouched.pop(identity, None)
        self.members[identity] = change.member
        return [change]

    def _compare(self, record: NodeRecord, now: float, revoked: frozenset[str]) -> NewEvent | None:
        known = self.members.get(record.identity)
        excluded = self._view.exclusion(record, revoked)
        if known is None or known.state != ALIVE:
            return self._returned(known, record, now, excluded)
        known = self.members[record.identity] = replace(known, last_seen=record.last_seen, period=record.period)
        if record.left is not None:
            return NewEvent(LEAVE, self._view.member(record, LEFT), reason="it stopped cleanly")
        if record.is_terminated:
            return NewEvent(FAIL, self._view.member(record, FAILED), reason="its EC2 instance is terminated")
        if excluded:
            return NewEvent(LEAVE, self._view.member(record, LEFT), reason=excluded)
        return self._changed(known, record, now)

    def _returned(self, known: Member | None, record: NodeRecord, now: float, excluded: str | None) -> NewEvent | None:
        """Return the join of a node that was not alive; a failed one needs a heartbeat since."""
        if known is not None and known.state == FAILED:
            if record.left is not None and record.left > known.last_seen:
                return NewEvent(LEAVE, self._view.member(record, LEFT), reason="it stopped cleanly")
            if record.last_seen <= known.last_seen:
                return None
        if excluded or not record.alive(now):
            return None
        return NewEvent(JOIN, self._view.member(record, ALIVE))

    def _changed(self, known: Member, record: NodeRecord, now: float) -> NewEvent | None:
        contested = record.is_contested(now)
        if contested and not known.contested:
            member = replace(self._view.member(record, ALIVE), contested=True)
            return NewEvent(CONFLICT, member, reason="two machines use this identity")
        if contested:
            return None
        after = self._view.member(record, ALIVE)
        different = changes(known, after, self._view.ignored_facts)
        if different:
            return NewEvent(UPDATE, after, different)
        self.members[record.identity] = after  # the end of a conflict, and facts that do not count
        return None
