"""Get the DDLs that a caller lacks from the nodes that have them, and keep them by digest.

    registry: which nodes have the agent, in which version, with which digest
        └─► cached with that digest? ─► use it
            └─► else ask such a node: `rpcutil get_ddl`; its reply is signed with the node's key

A fetched DDL is checked like any other. It cannot hide a failure: see `Catalog.add_fetched`.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from collective import agent_versions, bounded_json, ddl
from collective.errors import CollectiveError, MessageError, NoResponse, TransportError, UsageError
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
    agent. Raises UsageError if no accepted node has it, or none of those asked sends a valid DDL; NoResponse if none
    answers; TransportError if the registry cannot be read and there is none in the cache.
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
    wanted, candidates = most_common(demanded or accepted, agent, str(entry["digest"]) if entry else "")
    if kept := cache.kept(agent, wanted):
        return kept
    return _ask(fleet, cache, agent, wanted, candidates)


def is_accepted(identity: str, patterns: Sequence[str]) -> bool:
    """Return whether DDLs of a node are accepted: `ddl_nodes` has names, and patterns such as `*.my.net`."""
    return any(fnmatchcase(identity, pattern) for pattern in patterns)


def most_common(records: Sequence[NodeRecord], agent: str, kept: str) -> tuple[str, list[str]]:
    """Return the digest of the DDL that most nodes have, and these nodes, those seen last first.

    Of several that are equally common it is the one that is `kept`. Raises UsageError if that is none of them: a single
    node must not decide what another one's agent is.
    """
    counted = Counter(record.ddls.get(agent, "") for record in records)
    found = [one for one, count in counted.items() if count == max(counted.values())]
    if len(found) > 1 and kept not in found:
        names = ", ".join(sorted(record.identity for record in records)[:_TRIES])
        hint = f"name one of them in ddl_nodes of client.yaml, or put the DDL into a folder of 'ddls': {names}"
        raise UsageError(f"the DDL of '{agent}' cannot be fetched: the nodes have {len(found)} different ones ({hint})")
    wanted = kept if kept in found else found[0]
    recent = sorted(records, key=lambda record: record.last_seen, reverse=True)
    return wanted, [record.identity for record in recent if record.ddls.get(agent, "") == wanted]


def _ask(fleet: Fleet, cache: FetchedDDLs, agent: str, wanted: str, nodes: Sequence[str]) -> Path:
    problems = []
    answered = False
    for node in nodes[:_TRIES]:
        call = fleet.call("rpcutil", "get_ddl", {"agent": agent}, targets=Targets(nodes=[node]), timeout=_SECONDS)
        reply = next(iter(call.wait().replies.values()), None)
        answered = answered or reply is not None
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
    message = f"the DDL of '{agent}' cannot be fetched: {'; '.join(problems)}"
    raise UsageError(message) if answered else NoResponse(message)


def _checked(agent: str, wanted: str, data: Mapping[str, Any]) -> str:
    """Return a valid DDL. Its digest must be the `wanted` one: a node cannot send another DDL than most nodes have."""
    text = str(data.get("ddl", ""))
    if len(text) > LARGEST or digest(text) != data.get("digest"):
        raise UsageError("the DDL does not match its digest, or is too large")
    try:
        document = bounded_json.parse(text, "DDL")
    except MessageError as error:
        raise UsageError(f"the DDL is not valid JSON: {error}") from None
    parsed = ddl.parse(document)
    if parsed.name != agent:
        raise UsageError(f"the DDL is that of '{parsed.name}'")
    if wanted and digest(text) != wanted:
        raise UsageError("the DDL is not the one that the registry lists for this node")
    return text
