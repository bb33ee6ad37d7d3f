"""The rows of a report: a mapping for each node, from the registry or from the replies of an action.

identity, state, last_seen, version, facts, classes, agents      of every row, as far as the registry has them
outcome, statuscode, statusmsg, reason, data                     of the reply of an action
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from collective.clients import options
from collective.clients.input_files import Sources
from collective.clients.inputs import read_inputs
from collective.clients.missing_nodes import print_missing
from collective.clients.prepared_call import PreparedCall, connected, send
from collective.clients.render.records import NodeResult, records
from collective.clients.reports.definition import NODES, Report
from collective.errors import ConfigError, NotFound, UsageError

if TYPE_CHECKING:
    from collective.config import ClientConfig
    from collective.ddl import Action
    from collective.fleet.call import Call
    from collective.fleet.targets import Targets

Row = Mapping[str, Any]
_FALLBACK = {"agent": "rpcutil", "action": "inventory"}  # where there is no registry


@dataclass(frozen=True)
class Rows:
    """The rows, and the exit code of the call that they come from."""

    rows: list[dict[str, Any]]
    code: int = 0


def collect(report: Report, args: argparse.Namespace, words: list[str]) -> Rows:
    """Return the rows; `words` are inputs of the command line. Raises what a call raises."""
    config = options.client_config(args)
    if report.filter is not None:
        args.select = report.filter if args.select is None else f"({report.filter}) and ({args.select})"
    targets = options.targets(args)
    known = _registered(config)
    if report.source != NODES:
        return _called(report.source, args, config, targets, words, known)  # type: ignore[arg-type]
    if words:
        raise UsageError(f"'{words[0]}': report '{report.name}' has no action that takes inputs")
    if known is None:
        found = _called(_FALLBACK, args, config, targets, [], {})
        return replace(found, rows=[_from_inventory(row) for row in found.rows])
    return Rows(_matching(known, config, targets))


def _registered(config: ClientConfig) -> dict[str, dict[str, Any]] | None:
    """Return what the registry has about each node, by identity; None without a registry. Raises TransportError."""
    from collective.fleet.known_nodes import KnownNodes
    from collective.fleet.node_keys import open_registry
    from collective.fleet.node_list import listed

    registry = open_registry(config)
    if registry is None:
        return None
    try:
        contents, now = registry.read(), registry.now()
    except NotFound:
        return None
    state = {one.identity: one for one in listed(contents, now, KnownNodes(config.state, config.collective))}
    return {
        record.identity: {
            "identity": record.identity,
            "state": state[record.identity].state,
            "last_seen": record.last_seen,
            "age": state[record.identity].age,
            "version": record.version,
            "facts": dict(record.facts),
            "classes": list(record.classes),
            "agents": dict(record.agents),
            "refused_agents": dict(record.refused),
        }
        for record in contents.records
    }


def _matching(known: Mapping[str, dict[str, Any]], config: ClientConfig, targets: Targets) -> list[dict[str, Any]]:
    """Return the rows of the nodes that the target options select; without any, stale and stopped nodes too."""
    if targets.unrestricted:
        return [known[name] for name in sorted(known)]
    from collective.catalog import Catalog

    with connected(config, Catalog(config.ddls)) as fleet:
        found = fleet.find(targets, verify=True)
    names = {*found.nodes, *found.not_asked, *found.not_evaluated, *found.silent}
    return [known[name] for name in sorted(names) if name in known]


def _called(
    source: Mapping[str, Any],
    args: argparse.Namespace,
    config: ClientConfig,
    targets: Targets,
    words: list[str],
    known: Mapping[str, dict[str, Any]] | None,
) -> Rows:
    """Call the action of the source, and return a row for each node of the call."""
    from collective.catalog import Catalog
    from collective.fleet.pace import AT_ONCE

    catalog = Catalog(config.ddls)
    action = catalog.action(source["agent"], source["action"])
    if not action.idempotent:
        raise ConfigError(f"{action.agent} {action.name}: not idempotent, so a report must not call it")
    data = _inputs(source.get("inputs", {}), words, action)
    prepared = PreparedCall(action, action.check_input(data), targets, AT_ONCE, timeout=args.timeout, ttl=args.ttl)
    with connected(config, catalog) as fleet:
        call = send(args, fleet, prepared)
        call.wait()
        print_missing(call, fleet)
    registered = known or {}
    found = [*records(call), *_not_asked(call)]
    rows = [{**registered.get(one.sender, {}), **vars(one), "identity": one.sender} for one in found]
    return Rows(sorted(rows, key=lambda row: str(row["identity"])), call.outcomes.exit_code())


def _not_asked(call: Call) -> list[NodeResult]:
    """Return a record for each known node that was not asked, with the reason."""
    outcomes = call.outcomes
    reasons = {**outcomes.not_asked, **outcomes.not_evaluated}
    return [
        NodeResult(name, "not asked", reason)
        for name, reason in reasons.items()
        if name not in outcomes.replies and name not in outcomes.silent
    ]


def _inputs(given: Mapping[str, Any], words: Iterable[str], action: Action) -> dict[str, Any]:
    return {**given, **read_inputs(list(words), action, Sources())}


def _from_inventory(row: Row) -> dict[str, Any]:
    """Return the row of a reply of `rpcutil inventory` as one of the registry."""
    data = row.get("data", {})
    agents = dict.fromkeys(data.get("agents", ()))
    known = {"facts": data.get("facts", {}), "classes": data.get("classes", []), "version": data.get("version")}
    state = "alive" if row["outcome"] in ("ok", "failed") else row["outcome"]
    return {"identity": row["identity"], "state": state, "agents": agents, **known}
