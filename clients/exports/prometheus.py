"""Targets of Prometheus for `file_sd_configs`: a target for each node, with labels from its facts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from collective.clients.exports.groups import LONGEST_LABEL, label_names, text_of
from collective.clients.exports.nodes import ExportedNode
from collective.filters import look_up

_RESERVED = ("collective", "node", "instance", "job", "le", "quantile")


def labels_of(facts: Sequence[str]) -> dict[str, str]:
    """Return the label of each fact. Raises UsageError for a fact that cannot be a label."""
    return label_names(facts, _RESERVED)


def as_targets(nodes: Sequence[ExportedNode], labels: Mapping[str, str], port: int, collective: str) -> str:
    """Return the JSON text of the file; nodes have an address."""
    found = []
    for node in nodes:
        values = {name: text_of(look_up(node.facts, fact)) for fact, name in labels.items()}
        known = {name: value[:LONGEST_LABEL] for name, value in values.items() if value is not None}
        target = f"[{node.address}]:{port}" if node.address and ":" in node.address else f"{node.address}:{port}"
        found.append({"targets": [target], "labels": {**known, "collective": collective, "node": node.identity}})
    return json.dumps(found, indent=2, sort_keys=True) + "\n"
