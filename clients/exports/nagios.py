"""Hosts and host groups in the object language of Nagios.

A custom variable can become part of a command line, and `;` begins a comment: values keep only characters that have no
meaning in either place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from collective.clients.exports.groups import LONGEST_LABEL, groups_of, safe, text_of
from collective.clients.exports.nodes import ExportedNode
from collective.filters import look_up

_UNSAFE = re.compile(r"[^A-Za-z0-9 _.:,/@+=%-]")


def as_hosts(nodes: Sequence[ExportedNode], facts: Sequence[str]) -> str:
    """Return the definitions; nodes have an address."""
    groups = groups_of(nodes, facts)
    names: dict[str, list[str]] = {node.identity: [] for node in nodes}
    for group, members in groups.items():
        for name in members:
            names[name].append(group)
    parts = [_definition("hostgroup", [("hostgroup_name", group), ("alias", group)]) for group in groups]
    parts += [_definition("host", _directives(node, names[node.identity], facts)) for node in nodes]
    return "\n".join(parts)


def _directives(node: ExportedNode, groups: Sequence[str], facts: Sequence[str]) -> Iterator[tuple[str, str]]:
    yield "use", "generic-host"
    yield "host_name", node.identity
    yield "alias", node.identity
    yield "address", str(node.address)
    if groups:
        yield "hostgroups", ",".join(groups)
    for fact in facts:
        if (value := text_of(look_up(node.facts, fact))) is not None:
            yield f"_{safe(fact).upper()}", _UNSAFE.sub("_", value[:LONGEST_LABEL])


def _definition(kind: str, directives: Sequence[tuple[str, str]] | Iterator[tuple[str, str]]) -> str:
    lines = "".join(f"  {name:<16} {value}\n" for name, value in directives)
    return f"define {kind} {{\n{lines}}}\n"
