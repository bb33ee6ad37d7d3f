"""Check everything that a call needs, in the order in which a call needs it; the checks of `crpc doctor`.

    local    version ─ configuration ─ DDLs ─ state ─ key
    AWS      AWS ─ queues ─ clock ─ topic ─ registry ─ nodes' keys ─ reply
    a node   node ─ node's key ─ node's queue ─ reply, instead of the reply of any node

A check yields findings, and returns what later checks need. Nothing is left behind: the doctor's calls use reply
queues of their own, which are deleted at the end. The time limits are in `aws_checks`.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from collective import names
from collective.config import ClientConfig
from collective.errors import CollectiveError
from collective.fleet import silence
from collective.fleet.doctor import aws_checks, local_checks, node_checks
from collective.fleet.doctor.findings import Check, Finding, failed
from collective.fleet.fleet import Fleet
from collective.fleet.known_nodes import KnownNodes
from collective.registry import NodeRecord, Nodes
from collective.registry.dynamodb import DynamoDBRegistry
from collective.transport import Transport

__all__ = ["Finding", "examine"]

Result = TypeVar("Result")


def examine(path: Path | None = None, target: str | None = None, node: str | None = None) -> Iterator[Finding]:
    """Yield the findings for a caller with the configuration in `path` (default: as for `crpc`).

    `target` is another collective than the configured one. With `node`, explain why that node does not answer.
    """
    yield from attempt("version", local_checks.version())
    config = yield from attempt("configuration", local_checks.configuration(path, target))
    if config is None:
        return
    with TemporaryDirectory(prefix="collective-doctor-") as folder:
        try:
            yield from _examine(config, Path(folder), node)
        finally:
            remains = aws_checks.delete_replies(Path(folder), config)
        yield from remains


def _examine(config: ClientConfig, state: Path, node: str | None) -> Iterator[Finding]:
    catalog = yield from attempt("DDLs", local_checks.ddls(config))
    known = yield from attempt("state", local_checks.state(config))
    sign = yield from attempt("key", local_checks.key(config))
    aws = yield from attempt("AWS", aws_checks.account(config))
    if aws is None or known is None:
        return  # no call is possible without them
    config = replace(config, state=state)  # the reply queues of these calls are deleted at the end
    transport = yield from attempt("queues", aws_checks.queues(aws, config))
    if aws.skew is None:
        return  # the service did not respond, and the others would take as long to time out
    yield from attempt("clock", aws_checks.clock(aws.skew))
    if transport is not None:
        yield from attempt("topic", aws_checks.topic(transport, config))
    alive = table = None
    if config.registry == "dynamodb":
        table = DynamoDBRegistry(aws, names.table(config.collective))
        alive = yield from attempt("registry", aws_checks.registry(table, config, known))
    if alive and transport is not None:
        yield from attempt("topic", aws_checks.subscriptions(transport, config, alive))
    if alive:
        yield from attempt("nodes' keys", aws_checks.keys(alive, known))
    absent = None
    if node is not None:
        absent = yield from _examine_node(Examined(node, config.collective, known, table, transport))
    if transport and catalog and sign:
        fleet = Fleet(config, transport, catalog=catalog, sign=sign, verify_reply=known.verify)
        if node is None:
            yield from attempt("reply", aws_checks.reply(fleet, alive))
        else:
            yield from attempt("reply", node_checks.reply(fleet, transport, config.collective, node, absent))


@dataclass(frozen=True)
class Examined:
    """A node that is examined, and what is available for that."""

    node: str
    collective: str
    known: KnownNodes
    registry: Nodes | None
    transport: Transport | None


def _examine_node(it: Examined) -> Generator[Finding, None, str | None]:
    """Yield the findings about one node; return why it cannot answer, if its record tells."""
    record = absent = None
    if it.registry is not None:
        record = yield from attempt("node", _record(it.registry, it.node))
        absent = silence.absence(record, it.registry.now()) if record else None
    yield from attempt("node's key", node_checks.key(record, it.known, it.node))
    if it.transport is not None:
        yield from attempt("node's queue", node_checks.queue(it.transport, it.collective, it.node))
    return absent


def _record(registry: Nodes, node: str) -> Check[NodeRecord | None]:
    return (yield from node_checks.record(registry.read(), registry.now(), node))


def attempt(name: str, check: Check[Result]) -> Generator[Finding, None, Result | None]:
    """Yield the findings of a check, and return its result; None after an error, which is yielded as a finding."""
    try:
        return (yield from check)
    except CollectiveError as error:
        yield failed(name, error)
    except Exception as error:  # the other checks are useful nevertheless
        yield failed(name, CollectiveError(f"internal error: {type(error).__name__}: {error}"))
    return None
