"""Get the DDLs that a caller lacks from the nodes that have them, and keep them by digest.

    registry: which nodes have the agent, in which version, with which digest
        └─► cached with that digest? ─► use it
            └─► else ask such a node: `rpcutil get_ddl`; its reply is signed with the node's key

A fetched DDL is checked like any other. It cannot hide a failure: see `Catalog.add_fetched`.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from collective import agent_versions, ddl
from collective.errors import CollectiveError, TransportError, UsageError
from collective.fleet.ddl_cache import FetchedDDLs, digest
from collective.fleet.fleet import Fleet
from collective.fleet.targets import Targets
from collective.registry import NodeRecord
from collective.text import plural

log = logging.getLogger(__name__)

_TRIES = 3  # nodes that are asked, one after another
_SECONDS = 10.0  # for each answer
LARGEST = 1024 * 1024  # characters of a DDL


def fetch(fleet: Fleet, cache: FetchedDDLs, agent: str) -> Path | None:
    """Return the file with the DDL of an agent as most nodes have it, fetched now if it is not in the cache.

    For `NAME@VERSION` only nodes with such a version count, unless there are none. Returns None if no node has the
    agent. Raises UsageError if no accepted node has it, or none of those asked sends a valid DDL; TransportError if the
    registry cannot be read and there is none in the cache.
    """
    agent, demand = agent_versions.split(agent)
    entry = cache.entries().get(agent)
    try:
        records = [record for record in fleet.records() if agent in record.agents]
    except TransportError:
        if entry is None:
            raise
        log.warning("ddl.old", extra={"error": f"the registry cannot be read: the DDL of '{agent}' may be outdated"})
        return cache.path(agent, entry)
    if not records:
        return None
    accepted = [record for record in records if is_accepted(record.identity, fleet.config.ddl_nodes)]
    if not accepted:
        raise UsageError(
            f"the DDL of '{agent}' cannot be fetched: {plural(len(records), 'node')} with it, none in ddl_nodes"
        )
    demanded = [record for record in accepted if demand and agent_versions.satisfies(record.agents[agent], demand)]
    wanted, candidates = _most_common(demanded or accepted, agent)
    if kept := cache.kept(agent, wanted):
        return kept
    return _ask(fleet, cache, agent, wanted, candidates)


def is_accepted(identity: str, patterns: Sequence[str]) -> bool:
    """Return whether DDLs of a node are accepted: `ddl_nodes` has names, and patterns such as `*.my.net`."""
    return any(fnmatchcase(identity, pattern) for pattern in patterns)


def _most_common(records: Sequence[NodeRecord], agent: str) -> tuple[str, list[str]]:
    """Return the digest of the DDL that most nodes have, and these nodes, those seen last first."""
    counted = Counter(record.ddls.get(agent, "") for record in records)
    wanted = max(counted, key=lambda one: (counted[one], one))
    recent = sorted(records, key=lambda record: record.last_seen, reverse=True)
    return wanted, [record.identity for record in recent if record.ddls.get(agent, "") == wanted]


def _ask(fleet: Fleet, cache: FetchedDDLs, agent: str, wanted: str, nodes: Sequence[str]) -> Path:
    problems = []
    for node in nodes[:_TRIES]:
        call = fleet.call("rpcutil", "get_ddl", {"agent": agent}, targets=Targets(nodes=[node]), timeout=_SECONDS)
        reply = next(iter(call.wait().replies.values()), None)
        if reply is None:
            problems.append(f"{node}: no response")
        elif not reply.ok:
            problems.append(f"{node}: {reply.statusmsg}")
        else:
            try:
                text = _checked(agent, wanted, reply.data)
            except CollectiveError as error:
                problems.append(f"{node}: {error}")
                continue
            log.info("ddl.fetched", extra={"error": f"fetched the DDL of '{agent}' from {node}"})
            return cache.store(agent, text, str(reply.data["version"]), node)
    raise UsageError(f"the DDL of '{agent}' cannot be fetched: {'; '.join(problems)}")


def _checked(agent: str, wanted: str, data: Mapping[str, Any]) -> str:
    """Return a valid DDL. Its digest must be the `wanted` one: a node cannot send another DDL than most nodes have."""
    text = str(data.get("ddl", ""))
    if len(text) > LARGEST or digest(text) != data.get("digest"):
        raise UsageError("the DDL does not match its digest, or is too large")
    try:
        parsed = ddl.parse(json.loads(text))
    except (ValueError, RecursionError):
        raise UsageError("the DDL is not valid JSON") from None
    if parsed.name != agent:
        raise UsageError(f"the DDL is that of '{parsed.name}'")
    if wanted and digest(text) != wanted:
        raise UsageError("the DDL is not the one that the registry lists for this node")
    return text
