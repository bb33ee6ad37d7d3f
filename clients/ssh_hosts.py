"""Find the address of a node for ssh, from the facts that client.yaml names.

Facts come from nodes, so an address is checked before it becomes an argument of ssh: a value such as
`-oProxyCommand=…` is an option for ssh, and other characters may reach a shell by way of `%h` in ssh_config.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from collective.errors import UsageError
from collective.filters import look_up
from collective.suggestions import suggest
from collective.text import escape_controls

if TYPE_CHECKING:
    from collective.fleet.fleet import Fleet

IDENTITY = "identity"  # stands for the node's name among the facts
_LIST = "'crpc nodes list' lists all nodes"
_ADDRESS = re.compile(r"[A-Za-z0-9_:][A-Za-z0-9_.:-]{0,252}")


@dataclass(frozen=True)
class Host:
    """A node with its address, or with the problem why it has none."""

    node: str
    address: str | None = None
    problem: str | None = None


def host(node: str, facts: Mapping[str, Any], wanted: Sequence[str]) -> Host:
    """Return a node with the first address that it has among the facts `wanted`."""
    for name in wanted:
        value = node if name == IDENTITY else look_up(facts, name)
        first = next(iter(value), None) if isinstance(value, list) else value
        if first in (None, ""):
            continue
        if isinstance(first, str) and _ADDRESS.fullmatch(first):
            return Host(node, first)
        return Host(node, problem=f"its fact '{name}' is not an address: '{escape_controls(str(first))[:100]}'")
    return Host(node, problem=f"no address: it has none of the facts {', '.join(wanted)} (ssh_address in client.yaml)")


def facts_of(fleet: Fleet, nodes: Collection[str]) -> dict[str, Mapping[str, Any]]:
    """Return the facts of nodes: from the registry, so that nodes that do not answer have some; else from the nodes.

    Raises UsageError for a node that is not in the registry.
    """
    if fleet.config.registry != "none":
        known = {record.identity: record.facts for record in fleet.records()}
        for node in nodes:
            if node not in known:
                raise UsageError(f"node '{node}' is not in the registry ({suggest(node, known, _LIST)})")
        return {node: known[node] for node in nodes}
    from collective.fleet.targets import Targets

    outcomes = fleet.call("rpcutil", "inventory", targets=Targets(nodes=tuple(nodes))).wait()
    return {name: reply.data.get("facts", {}) for name, reply in outcomes.replies.items() if reply.ok}
