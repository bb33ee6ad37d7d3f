"""Read the nodes that are exported: from the registry, or without one from the nodes."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from collective.clients.ssh_hosts import host
from collective.errors import UsageError
from collective.filters import look_up

if TYPE_CHECKING:
    from collective.fleet.fleet import Fleet


@dataclass(frozen=True)
class ExportedNode:
    """A node with its address for ssh, or the problem why it has none; `ip` is its first IP address."""

    identity: str
    address: str | None
    problem: str | None
    ip: str | None
    version: str
    classes: tuple[str, ...]
    agents: tuple[str, ...]
    facts: Mapping[str, Any]


def read_nodes(fleet: Fleet, names: Collection[str]) -> list[ExportedNode]:
    """Return the nodes of these names, sorted. Raises UsageError for a name that is not in the registry."""
    known = _registered(fleet) if fleet.config.registry != "none" else _asked(fleet, names)
    for name in names:
        if name not in known:
            raise UsageError(f"node '{name}' is not known ('crpc nodes list' lists all nodes)")
    return [_node(name, known[name], fleet.config.ssh_address) for name in sorted(names)]


def _registered(fleet: Fleet) -> dict[str, Mapping[str, Any]]:
    return {
        one.identity: {"version": one.version, "classes": one.classes, "agents": one.agents, "facts": one.facts}
        for one in fleet.records()
    }


def _asked(fleet: Fleet, names: Collection[str]) -> dict[str, Mapping[str, Any]]:
    """Return what the nodes answer; a node that does not answer has no facts."""
    from collective.fleet.targets import Targets

    outcomes = fleet.call("rpcutil", "inventory", targets=Targets(nodes=tuple(names))).wait()
    replies = {name: reply.data for name, reply in outcomes.replies.items() if reply.ok}
    return {name: _without_details(replies.get(name, {})) for name in names}


def _without_details(data: Mapping[str, Any]) -> dict[str, Any]:
    return {**data, "agents": [one["agent"] for one in data.get("agents", ())]}


def _node(name: str, known: Mapping[str, Any], wanted: Sequence[str]) -> ExportedNode:
    facts = dict(known.get("facts", {}))
    found = host(name, facts, wanted)
    return ExportedNode(
        identity=name,
        address=found.address,
        problem=found.problem,
        ip=next(_ips(facts, wanted), None),
        version=str(known.get("version", "")),
        classes=tuple(known.get("classes", ())),
        agents=tuple(sorted(known.get("agents", ()))),
        facts=facts,
    )


def _ips(facts: Mapping[str, Any], wanted: Sequence[str]) -> Iterator[str]:
    """Yield the IP addresses among the facts for ssh, and then among `addresses`; without loopback and zones."""
    for name in (*wanted, "addresses"):
        found = look_up(facts, name)
        for value in found if isinstance(found, list) else [found]:
            try:
                address = ipaddress.ip_address(value) if isinstance(value, str) else None
            except ValueError:
                continue
            if address is not None and "%" not in value and not (address.is_loopback or address.is_unspecified):
                yield str(address)
