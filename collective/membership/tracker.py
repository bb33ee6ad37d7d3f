"""Compare what the registry has now with the members before: each difference is an event.

    known      record now                        event
    -          alive                             join (only with the first read: initial)
    alive      stopped cleanly                   leave
    alive      not selected any more, revoked    leave, with the reason
    alive      no heartbeat, failure confirmed   failed
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
from collective.registry import Contents, NodeRecord


@dataclass(frozen=True)
class NewEvent:
    """An event without its number: the member after it, or before it if it is removed."""

    kind: str
    member: Member
    changes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    reason: str = ""


class Tracker:
    """The members of one view. Times are Unix seconds by the server's clock.

    A difference is a change when it has been there for `settle` seconds, except a failure.
    """

    def __init__(self, view: MemberView, members: Mapping[str, Member], settle: float = 0.0) -> None:
        self.members = dict(members)
        self._view = view
        self._settle = settle
        self._since: dict[str, float] = {}  # when a difference was first seen
        self._vouched: dict[str, float] = {}  # until when a node without heartbeats is known to be alive

    def observe(
        self, contents: Contents, now: float, verdicts: Iterable[Verdict] = (), *, settle: bool = True
    ) -> list[NewEvent]:
        """Return the changes since the last call, and apply them. `verdicts` are older than `contents`."""
        records = {record.identity: record for record in contents.records}
        found = [*self._failed(records, now, verdicts)]
        revoked = revoked_keys(contents)
        for identity, record in sorted(records.items()):
            found += self._settled(self._compare(record, now, revoked), identity, now, settle)
        for identity in sorted(self.members.keys() - records.keys() - contents.invalid.keys()):
            if self.members[identity].state != ALIVE:
                reason = "its record was removed from the registry"
                found.append(NewEvent(REAP, self.members.pop(identity), reason=reason))
        return found

    def suspects(self, now: float) -> list[Suspect]:
        """Return the members that may have failed."""
        found = []
        for identity, one in sorted(self.members.items()):
            age = now - one.last_seen
            if one.state == ALIVE and age > SUSPECT_PERIODS * one.period and self._vouched.get(identity, 0.0) <= now:
                found.append(Suspect(identity, one.last_seen, age, age / one.period))
        return found

    def _failed(self, records: Mapping[str, NodeRecord], now: float, verdicts: Iterable[Verdict]) -> Iterator[NewEvent]:
        """Yield the failures that are confirmed and not refuted by the records, which are newer."""
        for verdict in verdicts:
            identity = verdict.suspect.identity
            known, record = self.members.get(identity), records.get(identity)
            if known is None or known.state != ALIVE:
                continue
            if not verdict.failed:
                self._vouched[identity] = now + known.period
            elif record is None or (record.left is None and record.last_seen <= verdict.suspect.last_seen):
                self._since.pop(identity, None)
                self.members[identity] = replace(known, state=FAILED, last_seen=verdict.suspect.last_seen)
                yield NewEvent(FAIL, self.members[identity], reason=verdict.why)

    def _settled(self, change: NewEvent | None, identity: str, now: float, settle: bool) -> list[NewEvent]:
        """Apply a change and return it, unless it must be seen for some time before."""
        if change is None:
            self._since.pop(identity, None)
            return []
        if settle and now - self._since.setdefault(identity, now) < self._settle:
            return []
        self._since.pop(identity, None)
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
