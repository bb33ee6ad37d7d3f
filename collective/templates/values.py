r"""What a template gets: the members, without characters that could break out of a line.

    collective              "production"
    members                 the members that are alive, sorted by identity
    all_members             also those that have left or failed, until their records are removed
    own                     {"identity", "facts"} of the machine that renders

A member has `identity`, `state`, `address`, `addresses`, `role`, `facts`, `classes`, `agents` and `contested`. Facts,
classes and agents come from the nodes themselves, so a node could try to add lines to the file: each string is one
line here, in which control characters are written as `\n` or `\x1b`. Times of heartbeats are omitted, because the
file would change with each of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from collective.membership import ALIVE, Member, Membership
from collective.membership.serf_convention import Self
from collective.membership.view import is_address
from collective.text import escape_controls


def template_values(membership: Membership, own: Self) -> dict[str, Any]:
    """Return the variables of a template as JSON values."""
    members = [_member(one) for _, one in sorted(membership.members.items())]
    return {
        "collective": membership.collective,
        "members": [one for one in members if one["state"] == ALIVE],
        "all_members": members,
        "own": {"identity": escape_controls(own.name), "facts": harmless(own.facts)},
    }


def harmless(value: Any) -> Any:
    """Return JSON values with each string as one line of visible characters."""
    if isinstance(value, str):
        return escape_controls(value)
    if isinstance(value, Mapping):
        return {escape_controls(str(name)): harmless(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [harmless(one) for one in value]
    return value


def _member(member: Member) -> dict[str, Any]:
    addresses = [one for one in member.addresses if is_address(one)]  # a state file may be older than the check
    return {
        "identity": escape_controls(member.identity),
        "state": member.state,
        "address": addresses[0] if addresses else "",
        "addresses": addresses,
        "role": escape_controls(member.role),
        "facts": harmless(member.facts),
        "classes": [escape_controls(one) for one in member.classes],
        "agents": harmless(member.agents),
        "contested": member.contested,
    }
