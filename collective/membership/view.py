"""Decide which records of the registry are members, and make members of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from ipaddress import ip_address
from typing import Any

from collective.errors import SignatureError
from collective.filters import look_up
from collective.membership.members import Member
from collective.registry import Contents, NodeRecord
from collective.signing.keys import PublicKey

Selects = Callable[[NodeRecord], bool]
ADDRESS_FACTS = ("addresses",)
# A scope identifier may have any characters for Python, also line ends.
_ADDRESS = re.compile(r"[0-9A-Fa-f:.]+(%[A-Za-z0-9_.-]+)?")


def every_node(_record: NodeRecord) -> bool:
    """Select every node."""
    return True


class MemberView:
    """The nodes that `selects` accepts.

    `address_facts` are the facts that have addresses, the first ones first: a string or a list of strings each.
    `ignored_facts` are names of facts whose changes are no events, such as an uptime.
    """

    def __init__(
        self,
        selects: Selects = every_node,
        address_facts: Collection[str] = ADDRESS_FACTS,
        ignored_facts: Collection[str] = (),
    ) -> None:
        self._selects = selects
        self._address_facts = address_facts
        self.ignored_facts = frozenset(ignored_facts)

    def exclusion(self, record: NodeRecord, revoked: Collection[str]) -> str | None:
        """Return why a node is not a member, in words; None if it is one. `revoked` are fingerprints of keys."""
        if revoked and _fingerprint(record) in revoked:
            return "its key is revoked"
        return None if self._selects(record) else "it does not match the targets any more"

    def member(self, record: NodeRecord, state: str) -> Member:
        """Return the member that a record describes."""
        return Member(
            identity=record.identity,
            state=state,
            addresses=tuple(dict.fromkeys(self._addresses(record.facts))),
            facts=record.facts,
            classes=record.classes,
            agents=record.agents,
            last_seen=record.last_seen,
            period=record.period,
        )

    def _addresses(self, facts: Mapping[str, Any]) -> Iterator[str]:
        """Yield the addresses in the facts; in a list, those of IPv4 come first."""
        for name in self._address_facts:
            found = look_up(facts, name)
            texts = [one for one in (found if isinstance(found, (list, tuple)) else [found]) if is_address(one)]
            yield from sorted(texts, key=lambda text: ":" in text)


def revoked_keys(contents: Contents) -> frozenset[str]:
    """Return the fingerprints of the keys that no caller may accept."""
    return frozenset(one.fingerprint for one in contents.revocations if one.active)


def is_address(value: Any) -> bool:
    """Return whether a value is an IP address; a scope (`fe80::1%eth0`) has only characters of interface names."""
    if not isinstance(value, str) or not _ADDRESS.fullmatch(value):
        return False
    try:
        ip_address(value)
    except ValueError:
        return False
    return True


def _fingerprint(record: NodeRecord) -> str | None:
    try:
        return PublicKey.from_line(record.public_key).fingerprint if record.public_key else None
    except SignatureError:
        return None
