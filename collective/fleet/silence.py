"""Explain why nodes did not answer: by their records in the registry, and by whether they read their queues."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from collective import messages, names
from collective.durations import in_words
from collective.errors import NotFound, TransportError
from collective.nodesets import fold_any as fold
from collective.parallel import in_parallel
from collective.registry import Contents, NodeRecord, Nodes
from collective.text import plural
from collective.transport import Transport
from collective.version import __version__

NO_DAEMON = "a running EC2 instance without a daemon"  # why it was not asked
MAX_LINES = 20  # lines about missing nodes; each node is in the JSON document
_IN_SECONDS = 120.0
MAX_QUEUES = 100  # queues that are looked into to explain one call
_TRUST_HINT = "may not trust this key (see 'crpc keys' and 'crpc doctor')"


def received_by(nodes: Sequence[str]) -> str:
    """Return the line about nodes that have read the request and have not answered yet."""
    if len(nodes) == 1:
        return f"{nodes[0]} received the request but has not answered yet: it may still be working, or it {_TRUST_HINT}"
    counted = plural(len(nodes), "node")
    return f"{counted} received the request but have not answered yet: they may still be working, or they {_TRUST_HINT}"


def reasons(registry: Nodes | None, transport: Transport, collective: str, nodes: Iterable[str]) -> dict[str, str]:
    """Return why nodes are probably silent, by name: from the registry, and from their queues."""
    silent = sorted(nodes)
    found: dict[str, str] = {}
    if registry and silent:
        with suppress(TransportError):
            found = by_registry(registry.read(), registry.now(), silent)
    others = [name for name in silent if name not in found]
    return {**found, **by_queue(transport, collective, others)}


def by_registry(contents: Contents | None, now: float, nodes: Iterable[str]) -> dict[str, str]:
    """Return why nodes are silent according to the registry, by name; nodes that are alive are omitted."""
    if contents is None:
        return {}
    known = {record.identity: record for record in contents.records}
    found = {name: contents.invalid.get(name) for name in nodes}
    reasons = {
        name: f"invalid record in the registry: {invalid}" if invalid else absence(known.get(name), now)
        for name, invalid in found.items()
    }
    return {name: reason for name, reason in reasons.items() if reason}


def absence(record: NodeRecord | None, now: float) -> str | None:
    """Return why a node with this record cannot answer; None for a node that is alive and of a suitable version."""
    if record is None:
        return "not in the registry"
    if record.left is not None:
        return f"stopped cleanly {ago(now - record.left)}"
    if not record.alive(now):
        return f"last seen {ago(now - record.last_seen)}"
    if _precedes(record.version, messages.SINCE):
        return (
            f"it runs collective {record.version}, which does not support the message format {messages.VERSION} of "
            f"this caller (upgrade the node to {messages.SINCE} or later)"
        )
    return None


def _precedes(version: str, other: str) -> bool:
    """Return whether a version such as 0.1.0 is older than another; False for one that has another form."""
    numbers = [tuple(map(int, re.findall(r"[0-9]{1,9}", text)[:3])) for text in (version, other)]
    return bool(numbers[0]) and numbers[0] < numbers[1]


def by_queue(transport: Transport, collective: str, nodes: Sequence[str]) -> dict[str, str]:
    """Return what the queues of some silent nodes tell, by name; the others are omitted."""

    def look(node: str) -> str | None:
        try:
            unread = transport.unread(names.node_queue(collective, node))
        except NotFound:
            return "it has no queue"
        except TransportError:
            return None
        return unread_queue(unread) if unread else f"received the request but did not answer: it {_TRUST_HINT}"

    some = nodes[:MAX_QUEUES]
    return {node: reason for node, reason in zip(some, in_parallel(look, some), strict=True) if reason}


def unread_queue(unread: int) -> str:
    """Return the text about a node that does not read its queue."""
    return f"has not read its queue ({plural(unread, 'unread message')}): it may have stopped or be cut off"


def version_difference(record: NodeRecord) -> str | None:
    """Return the text about a node of another version than this caller; None for the same version."""
    return None if record.version == __version__ else f"version {record.version}, this caller is {__version__}"


def not_asked_lines(reasons: Mapping[str, str]) -> list[str]:
    """Return the lines about nodes that were not asked: `1 node not asked, last seen 84 s ago: node03.lab`."""
    return _some(_not_asked(nodes, why) for nodes, why in _grouped(reasons))


def _not_asked(nodes: Sequence[str], why: str) -> str:
    if why == NO_DAEMON:
        verb = "has" if len(nodes) == 1 else "have"
        return f"{plural(len(nodes), 'running instance')} {verb} no daemon: {', '.join(nodes)}"
    return f"{plural(len(nodes), 'node')} not asked, {why}: {fold(nodes)}"


def not_evaluated_lines(reasons: Mapping[str, str]) -> list[str]:
    """Return the lines about nodes that could not evaluate the filter: `…: node05.lab (no data function 'cert')`."""
    return _some(
        f"{plural(len(nodes), 'node')} could not evaluate the filter: {fold(nodes)} ({why})"
        for nodes, why in _grouped(reasons)
    )


def silence_lines(reasons: Mapping[str, str]) -> list[str]:
    """Return the lines about nodes that did not answer: `node03.lab: stopped cleanly 2 hours ago`."""
    return _some(f"{fold(nodes)}: {why}" for nodes, why in _grouped(reasons))


def ago(seconds: float) -> str:
    """Return how long ago something was: `84 s ago`, `3 hours ago`."""
    return f"{max(0.0, seconds):.0f} s ago" if seconds < _IN_SECONDS else f"{in_words(seconds)} ago"


def _some(lines: Iterable[str]) -> list[str]:
    every = list(lines)
    left_over = len(every) - MAX_LINES
    if left_over <= 0:
        return every
    return [*every[:MAX_LINES], f"{plural(left_over, 'more line')} about missing nodes (use --json)"]


def _grouped(reasons: Mapping[str, str]) -> list[tuple[list[str], str]]:
    """Return the nodes of each reason, sorted, in the order of the first node."""
    groups: dict[str, list[str]] = {}
    for name, reason in sorted(reasons.items()):
        groups.setdefault(reason, []).append(name)
    return [(nodes, reason) for reason, nodes in groups.items()]
