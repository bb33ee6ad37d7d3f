"""Checks of one node, from what it has registered to its reply: they explain why it does not answer.

record ─ key ─ queue ─ reply ─► a reply, or: has not read its queue; has read it and did not answer
"""

from __future__ import annotations

import time

from collective import names
from collective.errors import CollectiveError, NotFound, SignatureError, Unreachable
from collective.fleet import silence
from collective.fleet.doctor.findings import Check, Finding, failed
from collective.fleet.fleet import Fleet
from collective.fleet.known_nodes import KnownNodes
from collective.fleet.targets import Targets
from collective.messages import Reply
from collective.registry import Contents, NodeRecord
from collective.registry.encoding import omission
from collective.suggestions import suggest
from collective.transport import Transport

REPLY_TIMEOUT = 8.0  # seconds; a node that leaves its queue unread is found within 7 s


def record(contents: Contents, now: float, node: str) -> Check[NodeRecord | None]:
    """Report the record of a node, and what is wrong with it."""
    if node in contents.invalid:
        raise Unreachable(f"{node}: invalid record in the registry: {contents.invalid[node]} (restart the node)")
    found = next((one for one in contents.records if one.identity == node), None)
    if found is None:
        hint = suggest(node.lower().rstrip("."), [one.identity for one in contents.records])
        raise Unreachable(f"{node}: not in the registry{f' ({hint})' if hint else ''}")
    if why := silence.absence(found, now):
        yield failed("node", Unreachable(f"{node}: {why}"))
    else:
        yield Finding("node", f"{node}: alive, last seen {silence.ago(now - found.last_seen)}, version {found.version}")
    for text in problems(found, now):
        yield Finding("node", f"{node}: {text}", warning=True)
    return found


def problems(found: NodeRecord, now: float) -> list[str]:
    """Return what needs attention on a node, besides its being absent."""
    contested = ["two machines use this identity"] if found.is_contested(now) else []
    difference = silence.version_difference(found)
    return [*contested, *registered_problems(found), *([difference] if difference else [])]


def registered_problems(found: NodeRecord) -> list[str]:
    """Return the problems that a node has registered, and what its record does not have."""
    lines = [f"agent '{name}' failed to load: {reason}" for name, reason in found.refused.items()]
    lines += [
        f"agent '{name}' {found.agents.get(name, '')} is in use, a newer version failed to load: {reason}"
        for name, reason in found.outdated.items()
    ]
    lines += found.problems
    lines += [f"{omission(found)} (filters that need them ask the node itself)"] if found.omitted else []
    return lines


def key(found: NodeRecord | None, known: KnownNodes, node: str) -> Check[None]:
    """Check that the key of a node is not revoked."""
    if known.is_revoked(node, found.public_key if found else ""):
        raise SignatureError(f"{node}: its key is revoked (if the node is trusted again: 'crpc nodes trust {node}')")
    yield Finding("node's key", f"{node}: {'known' if node in known.keys else 'not known yet'}, not revoked")


def queue(transport: Transport, collective: str, node: str) -> Check[None]:
    """Report how many messages the node has not read; raise Unreachable if it has no queue."""
    name = names.node_queue(collective, node)
    try:
        unread = transport.unread(name)
    except NotFound:
        raise Unreachable(f"{name}: does not exist: no node '{node}' has ever started, or it was removed") from None
    text = silence.unread_queue(unread) if unread else "no unread messages"
    yield Finding("node's queue", f"{name}: {text}", warning=unread > 0)


def reply(fleet: Fleet, transport: Transport, collective: str, node: str, absent: str | None = None) -> Check[None]:
    """Ping the node; if it does not reply, report `absent`, if known, or whether it has read the request."""
    began = time.monotonic()
    outcomes = fleet.call("rpcutil", "ping", targets=Targets(nodes=[node]), timeout=REPLY_TIMEOUT).wait()
    took = (time.monotonic() - began) * 1000
    if node in outcomes.rejected:
        raise SignatureError(f"{node}: its reply failed verification (see above)")
    if node not in outcomes.replies:
        why = absent or silence.by_queue(transport, collective, [node]).get(node, "no reply")
        raise _silent(node, why)
    yield replied(outcomes.replies[node], took)


def replied(found: Reply, took: float) -> Finding:
    """Return the finding for a reply to a ping that took some milliseconds."""
    result = "" if found.ok else f", refused: {found.statusmsg}"
    return Finding("reply", f"{found.sender}: replied in {took:.0f} ms{result}", warning=not found.ok)


def _silent(node: str, why: str) -> CollectiveError:
    return Unreachable(f"{node}: {why}: no reply within {REPLY_TIMEOUT:.0f} s")
