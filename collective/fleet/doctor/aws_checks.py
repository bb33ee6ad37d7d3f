"""What lies beyond the network: AWS, queues, topic, registry, and nodes that answer.

Each service is given up after a few seconds, so that all of it ends within some fifteen.
"""

from __future__ import annotations

import difflib
import time
from collections.abc import Iterable, Sequence

from collective import names
from collective.aws import AWS, Patience
from collective.config import ClientConfig
from collective.errors import ConfigError, Forbidden, NoNodes, NotFound, SignatureError, Unreachable
from collective.fleet import reply_slots
from collective.fleet.doctor.findings import Check, Finding, faulty
from collective.fleet.fleet import Fleet
from collective.fleet.known_nodes import KnownNodes
from collective.fleet.targets import Targets
from collective.messages import MAX_SKEW
from collective.nodesets import fold
from collective.registry import NodeRecord, Nodes
from collective.signing.keys import PublicKey
from collective.transport.sqs import SQSTransport

_PATIENCE = Patience(connect=3, read=5, attempts=1)
_ANSWER = 4.0  # seconds that a node has to answer: one poll, which must end before `read` does
_WHY_SILENT = (
    "does anything run, and do nodes believe this key? 'crpc keys' shows the line that they need; their log and "
    "'collectived --check' say more"
)


def account() -> Check[AWS]:
    """See what boto3's settings come to."""
    aws = AWS(patience=_PATIENCE)
    found = aws.settings()
    if found.region not in aws.regions():
        close = difflib.get_close_matches(found.region, aws.regions(), n=1)
        hint = f": did you mean '{close[0]}'?" if close else ""
        yield Finding("AWS", f"region '{found.region}': this boto3 knows no such region{hint}", warning=True)
    yield Finding("AWS", f"region {found.region}, {found.endpoint}, credentials by {found.credentials}")
    return aws


def queues(aws: AWS, config: ClientConfig) -> Check[SQSTransport]:
    """Open the reply queue of a call, by asking the service for it."""
    transport = SQSTransport(aws)
    slot = reply_slots.take(config.state, config.collective)
    try:
        slot.note(transport.open_replies(slot.queue))
    finally:
        slot.release()
    yield Finding("queues", f"{slot.queue}: can be opened")
    return transport


def clock(skew: float) -> Check[None]:
    """Judge how many seconds this machine's clock is ahead of the servers'."""
    text = f"{skew:+.1f} s off the servers': {MAX_SKEW:.0f} s are allowed"
    if abs(skew) > MAX_SKEW:
        raise ConfigError(f"this machine's clock is {text}: set it right, and have it kept right (NTP)")
    yield Finding("clock", text, warning=abs(skew) > MAX_SKEW / 10)


def topic(transport: SQSTransport, config: ClientConfig) -> Check[None]:
    """Look for the topic that reaches every node; many callers may only publish to it."""
    name = names.topic(config.collective)
    try:
        transport.check_topic(name)
    except Forbidden as error:
        yield Finding("topic", f"it cannot be seen whether there is one, which a call does not need: {error}", True)
    except NotFound:
        where = f"no node has ever joined '{config.collective}' here: are its name and the region right?"
        raise Unreachable(f"{name}: there is no such topic: {where} 'crpc setup' makes it") from None
    else:
        yield Finding("topic", name)


def registry(nodes: Nodes, config: ClientConfig) -> Check[list[NodeRecord] | None]:
    """Read which nodes there are, and say whose state deserves a look; return those that are alive."""
    try:
        records, now = nodes.nodes(), nodes.now()
    except NotFound:
        table = names.table(config.collective)
        text = f"{table}: there is no such table: nodes are asked who is there, which takes its time"
        hint = "'crpc setup' makes it, 'registry: none' says that it is meant so"
        yield Finding("registry", f"{text}: {hint}", warning=True)
        return None
    alive = [record for record in records if record.alive(now)]
    left = [record for record in records if record.left is not None]
    stale = [record for record in records if record.left is None and not record.alive(now)]
    counts = f"{len(alive)} nodes alive, {len(stale)} not seen lately, {len(left)} stopped"
    yield Finding("registry", counts, warning=not alive)
    yield from _doubtful(stale, [record for record in alive if record.is_contested(now)])
    for record in alive:
        yield from _warnings(f"{record.identity} has left out {why}" for why in _left_out(record))
    return alive


def _doubtful(stale: Sequence[NodeRecord], contested: Sequence[NodeRecord]) -> Iterable[Finding]:
    for text, records in (("not seen lately, and no farewell", stale), ("two machines use this name", contested)):
        if records:
            yield from _warnings([f"{text}: {fold(record.identity for record in records)}"])


def _left_out(record: NodeRecord) -> list[str]:
    return [f"the agent '{name}': {why}" for name, why in record.refused.items()]


def _warnings(texts: Iterable[str]) -> Iterable[Finding]:
    return [Finding("registry", text, warning=True) for text in texts]


def keys(records: Sequence[NodeRecord], known: KnownNodes) -> Check[None]:
    """Compare the keys that nodes are known by with those that they have published."""
    changed = [record for record in records if _has_changed(record, known)]
    for record in changed:
        text = f"{record.identity}: another key than the one it is known by: its replies are refused"
        yield faulty("nodes' keys", SignatureError(f"{text}: if it is new, 'crpc nodes trust {record.identity}'"))
    if not changed:
        yield Finding("nodes' keys", f"none of {len(records)} nodes has another key than the one it is known by")
    known.introduce(records)


def _has_changed(record: NodeRecord, known: KnownNodes) -> bool:
    pinned = known.keys.get(record.identity)
    if pinned is None or not record.public_key:
        return False
    try:
        return PublicKey.from_line(record.public_key) != pinned
    except SignatureError:
        return True


def answer(fleet: Fleet, alive: Sequence[NodeRecord] | None) -> Check[None]:
    """Ask the node that was seen last; where none is known to be alive, whoever answers a broadcast."""
    if alive:
        yield _asked(fleet, max(alive, key=lambda record: record.last_seen).identity)
    else:
        try:
            found = fleet.discover(Targets(discovery_timeout=_ANSWER))
        except NoNodes:
            raise Unreachable(f"nobody answered a broadcast: {_WHY_SILENT}") from None
        yield Finding("answer", f"{len(found)} nodes answered a broadcast")


def _asked(fleet: Fleet, node: str) -> Finding:
    """Ask one node for a sign of life, and tell what came of it."""
    began = time.monotonic()
    outcomes = fleet.call("rpcutil", "ping", targets=Targets(nodes=[node]), timeout=_ANSWER).wait()
    took = (time.monotonic() - began) * 1000
    if outcomes.rejected:
        raise SignatureError(f"asked {node}: its reply cannot be believed: see above")
    if node not in outcomes.replies:
        raise Unreachable(f"asked {node}, which was seen last: silent for {_ANSWER:.0f} s: {_WHY_SILENT}")
    reply = outcomes.replies[node]
    said = "answered" if reply.ok else f"refused: {reply.statusmsg}: answered"
    return Finding("answer", f"asked {node}: {said} in {took:.0f} ms", warning=not reply.ok)
