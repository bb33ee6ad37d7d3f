"""Check a node's access to AWS with read-only requests that its minimal permissions allow.

    GetQueueUrl   the node's queue: exists, does not exist, or access denied
    GetItem       the node's item in the registry
    Date          the clock: AWS rejects requests signed by a clock that is minutes off

The permissions to create the queue and to subscribe it cannot be checked: AWS has no dry run for them.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from collective import names
from collective.aws.errors import translated
from collective.aws.session import AWS, Timeouts
from collective.config import NodeConfig
from collective.errors import CollectiveError, ConfigError, Forbidden, NotFound, Unreachable

if TYPE_CHECKING:
    import boto3

_TIMEOUTS = Timeouts(connect=3, read=5, attempts=2)
BOUND = 10.0  # timeout in seconds for all requests together
_MAX_SKEW = 60.0  # seconds; AWS rejects requests from 300 s on (Signature Version 4)


@dataclass
class ProbeResult:
    """Problems and notes about the access to AWS."""

    problems: list[CollectiveError] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def probe(config: NodeConfig, session: boto3.Session | None = None, bound: float = BOUND) -> ProbeResult:
    """Check the access of one node, for at most `bound` seconds."""
    result = ProbeResult()
    # DNS lookups may take minutes and cannot be cancelled; a daemon thread does not delay the end of the process.
    thread = threading.Thread(target=_probe, args=(config, session, result), daemon=True)
    thread.start()
    thread.join(bound)
    late = [Unreachable(f"AWS: no response within {bound:.0f} s (check the network and proxies)")]
    return ProbeResult([*result.problems, *(late if thread.is_alive() else [])], [*result.notes])


def _probe(config: NodeConfig, session: boto3.Session | None, result: ProbeResult) -> None:
    queue, table = names.node_queue(config.collective, config.identity), names.table(config.collective)
    try:
        aws = AWS(session, _TIMEOUTS)
        try:
            _check_queue(aws, queue, result)
        finally:
            _check_clock(aws, result)  # an error response has the time too, and wrong time may be its cause
        if config.registry == "dynamodb":
            _check_registry(aws, table, config.identity)
    except CollectiveError as error:
        result.problems.append(error)


def _check_queue(aws: AWS, queue: str, result: ProbeResult) -> None:
    try:
        with translated(queue, "queue"):
            aws.client("sqs").get_queue_url(QueueName=queue)
    except NotFound:
        result.notes.append(f"queue {queue}: does not exist (the daemon creates it at its first start)")
    except Forbidden:  # IAM checks the tags of a queue; one that does not exist has none
        result.notes.append(f"queue {queue}: does not exist or access is denied (start the daemon and see its log)")
    else:
        result.notes.append(f"queue {queue}: exists")


def _check_clock(aws: AWS, result: ProbeResult) -> None:
    skew = aws.skew or 0.0
    if abs(skew) > _MAX_SKEW:
        text = f"clock: {skew:+.0f} s off, AWS rejects requests from 300 s on (use 'timedatectl set-ntp true')"
        result.problems.append(ConfigError(text))


def _check_registry(aws: AWS, table: str, identity: str) -> None:
    try:
        with translated(table, "table"):
            aws.client("dynamodb").get_item(TableName=table, Key={"identity": {"S": identity}})
    except NotFound:
        raise ConfigError(f"registry: no table {table} (create it, or set 'registry: none')") from None
