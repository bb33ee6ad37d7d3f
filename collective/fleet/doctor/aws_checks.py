"""Checks beyond this machine: AWS, queues, clock, topic, registry, and replies of nodes.

Every service has a short time limit, so that all checks end within about 15 s.
"""

from __future__ import annotations

import difflib
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from collective import names
from collective.aws.session import AWS, Timeouts
from collective.config import ClientConfig
from collective.errors import CollectiveError, ConfigError, Forbidden, NoNodes, NotFound, SignatureError, Unreachable
from collective.fleet import reply_slots
from collective.fleet.doctor.findings import Check, Finding, failed
from collective.fleet.doctor.node_checks import registered_problems, replied
from collective.fleet.fleet import Fleet
from collective.fleet.known_nodes import KnownNodes
from collective.fleet.targets import Targets
from collective.messages import MAX_SKEW
from collective.nodesets import fold
from collective.registry import NodeRecord, Nodes
from collective.signing.keys import PublicKey
from collective.text import plural, signed
from collective.transport.sqs import SQSTransport

_TIMEOUTS = Timeouts(connect=3, read=5, attempts=1)
_REPLY_TIMEOUT = 4.0  # seconds; less than the read timeout, because it is one poll
_SILENCE_HINT = (
    "check that collectived is running and that nodes trust this key: 'crpc keys' shows the line for allowed_signers, "
    "'collectived --check' and the log on a node show more"
)


def account(config: ClientConfig) -> Check[AWS]:
    """Check the effective settings of boto3."""
    aws = AWS.of(config, _TIMEOUTS)
    found = aws.settings()
    if found.region not in aws.regions():
        close = difflib.get_close_matches(found.region, aws.regions(), n=1)
        hint = f" (did you mean '{close[0]}'?)" if close else ""
        yield Finding("AWS", f"region '{found.region}': unknown to this version of boto3{hint}", warning=True)
    yield Finding("AWS", f"region {found.region}, {found.endpoint}, credentials from {found.credentials}")
    return aws


def queues(aws: AWS, config: ClientConfig) -> Check[SQSTransport]:
    """Create a reply queue, as a call does."""
    transport = SQSTransport(aws)
    slot = reply_slots.take(config.state, config.collective)
    try:
        slot.store(transport.open_replies(slot.queue))
    finally:
        slot.release()
    yield Finding("queues", f"{slot.queue}: created or found")
    return transport


def delete_replies(state: Path, config: ClientConfig) -> list[Finding]:
    """Delete the reply queues of calls with this `state`; return a finding for what remains."""
    remaining = reply_slots.queues(state, config.collective)
    try:
        transport = SQSTransport(AWS.of(config, _TIMEOUTS)) if remaining else None
        while transport and remaining:
            transport.delete_replies(remaining[0])
            remaining.pop(0)
    except CollectiveError as error:
        return [Finding("queues", f"reply queue {remaining[0]} could not be deleted: {error}", warning=True)]
    return []


def clock(skew: float) -> Check[None]:
    """Check this machine's clock, which is `skew` seconds ahead of the servers' clock."""
    text = f"{signed(skew)} s off, {MAX_SKEW:.0f} s are allowed"
    if abs(skew) > MAX_SKEW:
        raise ConfigError(f"this machine's clock is {text} (synchronize it with NTP)")
    yield Finding("clock", text, warning=abs(skew) > MAX_SKEW / 10)


def topic(transport: SQSTransport, config: ClientConfig) -> Check[None]:
    """Check that the topic exists; many callers have only the permission to publish."""
    name = names.topic(config.collective)
    try:
        transport.check_topic(name)
    except Forbidden as error:
        yield Finding("topic", f"cannot be checked, which calls do not need: {error}", warning=True)
    except NotFound:
        raise Unreachable(
            f"topic '{name}' does not exist: no node has joined '{config.collective}' in this region (check the name "
            "of the collective and the region, or create it with 'crpc setup')"
        ) from None
    else:
        yield Finding("topic", name)


def subscriptions(transport: SQSTransport, config: ClientConfig, alive: Sequence[NodeRecord]) -> Check[None]:
    """Check that broadcasts reach every node that is alive."""
    try:
        subscribed = transport.subscribed(names.topic(config.collective))
    except (Forbidden, NotFound):
        return  # the check of the topic has reported it
    missing = [one.identity for one in alive if names.node_queue(config.collective, one.identity) not in subscribed]
    if missing:
        hint = "a node repairs this with its next heartbeat, if it may subscribe; else use 'crpc setup --node IDENTITY'"
        text = f"not subscribed, so broadcasts do not reach {fold(missing)} ({hint})"
        yield Finding("topic", text, warning=True)


def registry(nodes: Nodes, config: ClientConfig, known: KnownNodes) -> Check[list[NodeRecord] | None]:
    """Read the registry, report nodes with problems, and return the nodes that are alive."""
    try:
        contents, now = nodes.read(), nodes.now()
    except NotFound:
        text = f"table '{names.table(config.collective)}' does not exist: nodes are discovered by broadcast, slowly"
        hint = "create it with 'crpc setup', or set 'registry: none'"
        yield Finding("registry", f"{text} ({hint})", warning=True)
        return None
    known.update(contents.revocations)
    records = contents.records
    alive = [record for record in records if record.alive(now)]
    stopped = [record for record in records if record.left is not None]
    stale = [record for record in records if record.left is None and not record.alive(now)]
    counts = f"{plural(len(alive), 'node')} alive, {len(stale)} not seen recently, {len(stopped)} stopped"
    yield Finding("registry", counts, warning=not alive)
    revoked = [record for record in records if known.is_revoked(record.identity, record.public_key)]
    yield from _problems(stale, [record for record in alive if record.is_contested(now)], revoked)
    yield from _warnings(f"{name}: invalid record: {problem}" for name, problem in contents.invalid.items())
    for record in alive:
        yield from _warnings(f"{record.identity}: {problem}" for problem in registered_problems(record))
    return [record for record in alive if not known.is_revoked(record.identity, record.public_key)]


def _problems(
    stale: Sequence[NodeRecord], contested: Sequence[NodeRecord], revoked: Sequence[NodeRecord]
) -> Iterable[Finding]:
    for text, records in (
        ("not seen recently, not stopped", stale),
        ("two machines use this identity", contested),
        ("registered with a revoked key", revoked),
    ):
        if records:
            yield from _warnings([f"{text}: {fold(record.identity for record in records)}"])


def _warnings(texts: Iterable[str]) -> Iterable[Finding]:
    return [Finding("registry", text, warning=True) for text in texts]


def keys(records: Sequence[NodeRecord], known: KnownNodes) -> Check[None]:
    """Compare the trusted keys of nodes with the keys in the registry."""
    changed = [record for record in records if _has_changed(record, known)]
    for record in changed:
        text = f"{record.identity}: its key has changed, so its replies are rejected"
        hint = f"if the node has a new key: 'crpc nodes trust {record.identity}'"
        yield failed("nodes' keys", SignatureError(f"{text} ({hint})"))
    if not changed:
        yield Finding("nodes' keys", f"{plural(len(records), 'node')}, no key has changed")
    known.introduce(records)


def _has_changed(record: NodeRecord, known: KnownNodes) -> bool:
    trusted = known.keys.get(record.identity)
    if trusted is None or not record.public_key:
        return False
    try:
        return PublicKey.from_line(record.public_key) != trusted
    except SignatureError:
        return True


def reply(fleet: Fleet, alive: Sequence[NodeRecord] | None) -> Check[None]:
    """Ping the node that was seen last; if no node is known to be alive, send a broadcast."""
    if alive:
        yield _ping(fleet, max(alive, key=lambda record: record.last_seen).identity)
    else:
        try:
            found = fleet.discover(Targets(discovery_timeout=_REPLY_TIMEOUT))
        except NoNodes:
            raise Unreachable(f"no node replied to a broadcast ({_SILENCE_HINT})") from None
        yield Finding("reply", f"{plural(len(found), 'node')} replied to a broadcast")


def _ping(fleet: Fleet, node: str) -> Finding:
    """Ping a node, and return the finding."""
    began = time.monotonic()
    outcomes = fleet.call("rpcutil", "ping", targets=Targets(nodes=[node]), timeout=_REPLY_TIMEOUT).wait()
    took = (time.monotonic() - began) * 1000
    if outcomes.rejected:
        raise SignatureError(f"{node}: its reply failed verification (see above)")
    if node not in outcomes.replies:
        raise Unreachable(f"{node}, seen last: no reply within {_REPLY_TIMEOUT:.0f} s ({_SILENCE_HINT})")
    return replied(outcomes.replies[node], took)
