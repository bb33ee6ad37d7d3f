"""The forms of `crpc inventory export`: which nodes each can hold, and its text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from collective.clients.streams import notice

if TYPE_CHECKING:
    import argparse

    from collective.clients.exports.nodes import ExportedNode
    from collective.config import ClientConfig

PORT = 9100  # of Prometheus's node exporter


def usable(form: str, nodes: Sequence[ExportedNode]) -> list[ExportedNode]:
    """Return the nodes that the form can hold; report the others."""
    found = []
    for node in nodes:
        if problem := _problem(form, node):
            notice(f"{node.identity}: skipped: {problem}")
        else:
            found.append(node)
    return found


def _problem(form: str, node: ExportedNode) -> str | None:
    from collective.clients.exports.ansible import RESERVED

    if form == "ansible":
        return "Ansible has another meaning for this name" if node.identity in RESERVED else None
    if form == "hosts":
        if node.ip is None:
            return "it has no IP address in its facts"
        return "this name is reserved" if node.identity == "localhost" else None
    return node.problem if form in ("ssh-config", "prometheus-sd", "nagios") else None


def text(args: argparse.Namespace, config: ClientConfig, nodes: Sequence[ExportedNode], facts: Sequence[str]) -> str:
    """Return the nodes in the form `args.format`; json and csv have no text."""
    from collective.clients.exports import ansible, host_files, nagios, prometheus, puppet

    if args.format == "ansible":
        return ansible.as_list(nodes, facts) if args.host is None else ansible.as_host(nodes, args.host)
    if args.format == "prometheus-sd":
        return prometheus.as_targets(nodes, prometheus.labels_of(facts), args.port or PORT, config.collective)
    if args.format == "nagios":
        return nagios.as_hosts(nodes, facts)
    if args.format.startswith("puppet-"):
        found = next((node for node in nodes if node.identity == args.host), None)
        return puppet.as_enc(found) if args.format == "puppet-enc" else puppet.as_external_data(found)
    of_hosts = {"ssh-config": host_files.as_ssh_config, "hosts": host_files.as_hosts}.get(args.format)
    return of_hosts(nodes) if of_hosts else ""
