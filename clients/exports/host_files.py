"""A part of an ssh configuration, and lines of /etc/hosts. Addresses have been checked, identities have no patterns."""

from __future__ import annotations

from collections.abc import Sequence

from collective.clients.exports.nodes import ExportedNode


def as_ssh_config(nodes: Sequence[ExportedNode]) -> str:
    """Return a `Host` section for each node; nodes have an address."""
    return "\n".join(f"Host {node.identity}\n    HostName {node.address}\n" for node in nodes)


def as_hosts(nodes: Sequence[ExportedNode]) -> str:
    """Return a line for each node; nodes have an IP address."""
    return "".join(f"{node.ip}\t{node.identity}\n" for node in nodes)
