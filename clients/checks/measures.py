"""What each check measures: values by name, of which the first is compared with the thresholds."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from collective import names
from collective.errors import NotFound, UsageError
from collective.parallel import in_parallel
from collective.text import plural

if TYPE_CHECKING:
    from collective.config import ClientConfig
    from collective.setup.aws_inventory import Cloud

_NAMED = 5  # names of queues in a line


@dataclass(frozen=True)
class Measured:
    """Values by name; the first is compared. `text` is for people; `critical` is why it is critical in any case."""

    values: Mapping[str, float]
    text: str
    unit: str = ""
    critical: str | None = None


def nodes(config: ClientConfig) -> Measured:
    """Count the nodes in the registry by state; those that are stale or invalid are absent. Raises TransportError."""
    from collective.fleet.known_nodes import KnownNodes
    from collective.fleet.node_list import listed

    table = _with_registry(config).registry(config.collective)
    contents = table.read()
    found = Counter(node.state for node in listed(contents, table.now(), KnownNodes(config.state, config.collective)))
    absent = found["stale"] + found["invalid"]
    values = {"absent": absent, **{name: found[name] for name in ("alive", "stale", "invalid", "stopped", "revoked")}}
    text = f"{plural(found['alive'], 'node')} alive, {found['stale']} stale, {found['invalid']} invalid"
    return Measured(values, text, critical=None if found["alive"] else "no node is alive")


def queues(config: ClientConfig) -> Measured:
    """Measure the longest queue of a node in messages, and count queues without a record. Raises TransportError."""
    found = depths(connect(config), names.node_queues(config.collective), names.is_node_queue, config.collective)
    longest, text = _longest(found, "node queue")
    values = {"longest": longest, "unread": sum(found.values()), "queues": len(found)}
    if config.registry == "none":
        return Measured(values, text)
    left = len(_orphaned(found, config))
    return Measured({**values, "orphans": left}, f"{text}, {plural(left, 'orphan')}")


def orphans(config: ClientConfig) -> Measured:
    """Count the node queues without a record in the registry. Raises TransportError."""
    cloud = _with_registry(config)
    found = [name for name in cloud.queues(names.node_queues(config.collective)) if _is_node(name, config)]
    left = _orphaned(found, config)
    text = f"{plural(len(found), 'node queue')}, {len(left)} without a node"
    some = f": {', '.join(left[:_NAMED])}{', …' if len(left) > _NAMED else ''}" if left else ""
    return Measured({"orphans": len(left), "queues": len(found)}, text + some)


def _is_node(queue: str, config: ClientConfig) -> bool:
    return names.is_node_queue(queue, config.collective)


def _orphaned(queues_: Iterable[str], config: ClientConfig) -> list[str]:
    contents = _with_registry(config).registry(config.collective).read()
    identities = {*(record.identity for record in contents.records), *contents.invalid}
    return _sorted(set(queues_) - {names.node_queue(config.collective, identity) for identity in identities})


def replies(config: ClientConfig) -> Measured:
    """Measure the longest reply queue of all callers in messages. Raises TransportError."""
    prefix = names.reply_queue(config.collective, "")
    found = depths(connect(config), prefix, names.is_reply_queue, config.collective)
    longest, text = _longest(found, "reply queue")
    return Measured({"longest": longest, "unread": sum(found.values()), "queues": len(found)}, text)


def registry(config: ClientConfig) -> Measured:
    """Measure how many seconds a read of the whole registry takes. Raises TransportError."""
    table = _with_registry(config).registry(config.collective)
    began = time.monotonic()
    contents = table.read()
    took = time.monotonic() - began
    records, invalid = len(contents.records), len(contents.invalid)
    values = {"time": round(took, 6), "records": records, "invalid": invalid}
    return Measured(values, f"{plural(records, 'record')} read in {took:.2f} s, {invalid} invalid", unit="s")


def connect(config: ClientConfig) -> Cloud:
    """Return the account and region of a caller. Raises ConfigError."""
    from collective.setup.aws_inventory import Cloud

    return Cloud.connect(config)


def _with_registry(config: ClientConfig) -> Cloud:
    """Return the account of a collective that has a registry."""
    if config.registry == "none":
        raise UsageError("this collective has no registry (client.yaml has 'registry: none')")
    return connect(config)


def depths(cloud: Cloud, prefix: str, belongs: Callable[[str, str], bool], collective: str) -> dict[str, int]:
    """Return the number of unread messages by queue; a queue that was just deleted is omitted."""

    def look(queue: str) -> int | None:
        try:
            return cloud.transport.unread(queue)
        except NotFound:
            return None

    found = [name for name in cloud.queues(prefix) if belongs(name, collective)]
    return {name: depth for name, depth in zip(found, in_parallel(look, found), strict=True) if depth is not None}


def _longest(found: Mapping[str, int], noun: str) -> tuple[int, str]:
    longest = max(_sorted(found), key=found.__getitem__, default=None)
    text = plural(len(found), noun)
    if longest is None or not found[longest]:
        return 0, f"{text}, no unread messages"
    return found[longest], f"{text}, longest has {plural(found[longest], 'unread message')}: {longest}"


def _sorted(queues_: Iterable[str]) -> list[str]:
    return sorted(queues_)
