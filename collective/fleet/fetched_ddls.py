"""Get the DDLs that a caller lacks from the nodes that have them, and keep them by digest.

    registry: which nodes have the agent, in which version, with which digest
        └─► cached with that digest? ─► use it
            └─► else ask such a node: `rpcutil get_ddl`; its reply is signed with the node's key

    <state>/ddls/<collective>/<digest>/<agent>.json     the DDL
    <state>/ddls/<collective>/index.json                {agent: {digest, version, node, fetched}}

A fetched DDL is checked like any other. It cannot hide a failure: see `Catalog.add_fetched`.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from collective import ddl
from collective.errors import CollectiveError, ConfigError, TransportError, UsageError
from collective.fleet.fleet import Fleet
from collective.fleet.targets import Targets
from collective.registry import NodeRecord

log = logging.getLogger(__name__)

_TRIES = 3  # nodes that are asked, one after another
_SECONDS = 10.0  # for each answer
LARGEST = 1024 * 1024  # characters of a DDL


class FetchedDDLs:
    """The DDLs that were fetched for a collective, in the folder `state`."""

    def __init__(self, state: Path, collective: str) -> None:
        self._folder = state / "ddls" / collective
        self._index = self._folder / "index.json"

    def entries(self) -> dict[str, dict[str, Any]]:
        """Return what is known of each agent: `digest`, `version`, `node`, `fetched` (Unix seconds)."""
        try:
            found = json.loads(self._index.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        entries = found if isinstance(found, dict) else {}
        return {
            name: entry
            for name, entry in entries.items()
            if isinstance(entry, dict) and self.path(name, entry).is_file()
        }

    def path(self, agent: str, entry: Mapping[str, Any]) -> Path:
        """Return the file of an entry."""
        return self._folder / str(entry.get("digest")) / f"{agent}.json"

    def store(self, agent: str, text: str, version: str, node: str) -> Path:
        """Keep the DDL of an agent and return its file. Raises ConfigError."""
        entry = {"digest": digest(text), "version": version, "node": node, "fetched": round(time.time(), 3)}
        path = self.path(agent, entry)
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write(path, text)
            _write(self._index, json.dumps({**self.entries(), agent: entry}, indent=1))
        except OSError as error:
            raise ConfigError(f"{path}: cannot be written: {error.strerror}") from None
        return path


def fetch(fleet: Fleet, cache: FetchedDDLs, agent: str) -> Path:
    """Return the file with the DDL of an agent as most nodes have it, fetched now if it is not in the cache.

    Raises UsageError if no accepted node has the agent, or none of those asked sends a valid DDL.
    """
    entry = cache.entries().get(agent)
    try:
        records = [record for record in fleet.records() if agent in record.agents]
    except TransportError:
        if entry is None:
            raise
        log.warning("ddl.old", extra={"error": f"the registry cannot be read: the DDL of '{agent}' may be outdated"})
        return cache.path(agent, entry)
    accepted = [record for record in records if is_accepted(record.identity, fleet.config.ddl_nodes)]
    if not accepted:
        other = f" ({len(records)} nodes have it, which 'ddl_nodes' does not accept)" if records else ""
        raise UsageError(f"unknown agent '{agent}': there is no DDL, and no node to fetch it from{other}")
    wanted, candidates = _most_common(accepted, agent)
    if entry and entry["digest"] == wanted:
        return cache.path(agent, entry)
    return _ask(fleet, cache, agent, candidates)


def is_accepted(identity: str, patterns: Sequence[str]) -> bool:
    """Return whether DDLs of a node are accepted: `ddl_nodes` has names, and patterns such as `*.my.net`."""
    return any(fnmatchcase(identity, pattern) for pattern in patterns)


def digest(text: str) -> str:
    """Return the SHA-256 of a DDL's text, in hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def _most_common(records: Sequence[NodeRecord], agent: str) -> tuple[str, list[str]]:
    """Return the digest of the DDL that most nodes have, and these nodes, those seen last first."""
    counted = Counter(record.ddls.get(agent, "") for record in records)
    wanted = max(counted, key=lambda one: (counted[one], one))
    recent = sorted(records, key=lambda record: record.last_seen, reverse=True)
    return wanted, [record.identity for record in recent if record.ddls.get(agent, "") == wanted]


def _ask(fleet: Fleet, cache: FetchedDDLs, agent: str, nodes: Sequence[str]) -> Path:
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
                text = _checked(agent, reply.data)
            except CollectiveError as error:
                problems.append(f"{node}: {error}")
                continue
            log.info("ddl.fetched", extra={"error": f"fetched the DDL of '{agent}' from {node}"})
            return cache.store(agent, text, str(reply.data["version"]), node)
    raise UsageError(f"unknown agent '{agent}': its DDL cannot be fetched: {'; '.join(problems)}")


def _checked(agent: str, data: Mapping[str, Any]) -> str:
    text = str(data.get("ddl", ""))
    if len(text) > LARGEST or digest(text) != data.get("digest"):
        raise UsageError("the DDL does not match its digest, or is too large")
    try:
        parsed = ddl.parse(json.loads(text))
    except (ValueError, RecursionError):
        raise UsageError("the DDL is not valid JSON") from None
    if parsed.name != agent:
        raise UsageError(f"the DDL is that of '{parsed.name}'")
    return text


def _write(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(text, encoding="utf-8")
    new.replace(path)
