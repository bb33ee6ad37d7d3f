"""Check whether a call may be dry or repeated, and look up the facts that its pace needs, before it is planned."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from collective import ddl, filters
from collective.errors import UsageError
from collective.fleet.grouping import Facts, values
from collective.fleet.pace import Pace
from collective.fleet.steps import Hooks
from collective.fleet.unknown_names import mistyped_fact
from collective.nodesets import fold
from collective.registry import NodeRecord, Nodes
from collective.suggestions import suggest
from collective.text import plural

log = logging.getLogger(__name__)


def check_dry_run(action: ddl.Action, hooks: Hooks) -> None:
    """Raise NoDryRun or UsageError when a call must not be a dry run."""
    action.require_dry_run()
    if hooks.named():
        raise UsageError("dry_run: not allowed with hooks, which would run for real")


def check_retry(name: str, action: ddl.Action, hooks: Hooks) -> None:
    """Raise UsageError when a call must not be repeated; `name` is the agent and the action as given."""
    if hooks.named():
        raise UsageError("retry: not allowed with hooks, which would be repeated as well")
    if not action.idempotent:
        raise UsageError(f"retry: '{name}' is not idempotent, so it must not be repeated (omit retry)")


def pace_facts(registry: Nodes | None, nodes: Iterable[str], pace: Pace) -> Facts:
    """Return the facts that a pace needs by node, from the registry.

    Raises UsageError without a registry, and for a mistyped fact.
    """
    if not pace.facts:
        return {}
    if registry is None:
        raise UsageError(
            f"{_option(pace, pace.facts[0])}: this collective has no registry, so the facts of its nodes are unknown"
        )
    wanted = set(nodes)
    records = registry.read().records
    _check_names(pace, records)
    found = {record.identity: record.facts for record in records}
    for fact in pace.facts:
        if absent := sorted(name for name in wanted if filters.look_up(found.get(name, {}), fact) is None):
            text = f"{plural(len(absent), 'node')} without the fact '{fact}' are one group: {fold(absent)}"
            log.warning("rollout.fact_absent", extra={"error": text})
    return {name: facts for name, facts in found.items() if name in wanted}


def _option(pace: Pace, fact: str) -> str:
    """Return the argument that names a fact."""
    return "order_by" if pace.order_by and pace.order_by.fact == fact else "per"


def _check_names(pace: Pace, records: Sequence[NodeRecord]) -> None:
    """Raise UsageError for a mistyped fact, and log a warning for a mistyped value of an order."""
    for fact in pace.facts:
        if mistyped := mistyped_fact(fact, records):
            raise UsageError(f"{_option(pace, fact)}: {mistyped}")
    if pace.order_by and pace.order_by.first:
        fact, first = pace.order_by.fact, pace.order_by.first
        known = {value for record in records for value in values(record.facts, fact)}
        for value in (value for value in first if value not in known):
            if hint := suggest(value, known):
                log.warning("rollout.value_absent", extra={"error": f"no node has {fact}={value} ({hint})"})
