"""Ask AWS whether a node could serve, by requests that change nothing and that its least privileges allow.

    GetQueueUrl   the node's queue: there, not yet there, or not for us
    GetItem       its own item in the registry
    Date          the servers' clock: AWS refuses what is signed by one that is minutes off

Whether it may make its queue and subscribe it, only the doing shows: AWS has no dry run for either.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from collective import names
from collective.aws import AWS, Timeouts, translated
from collective.config import NodeConfig
from collective.errors import CollectiveError, ConfigError, Forbidden, NotFound, Unreachable

if TYPE_CHECKING:
    import boto3

_TIMEOUTS = Timeouts(connect=3, read=5, attempts=2)
BOUND = 10.0  # seconds that all requests may take together
_SKEW = 60.0  # seconds; AWS refuses from 300 on (Signature Version 4), so there is time to mend it


@dataclass
class Answers:
    """What AWS has said."""

    problems: list[CollectiveError] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def ask(config: NodeConfig, session: boto3.Session | None = None, bound: float = BOUND) -> Answers:
    """Ask about one node, for at most `bound` seconds."""
    answers = Answers()
    # A resolver's tries may take minutes, and cannot be ended: the process ends before them.
    asking = threading.Thread(target=_ask, args=(config, session, answers), daemon=True)
    asking.start()
    asking.join(bound)
    late = [Unreachable(f"AWS: no answer within {bound:.0f} s: see the network, and proxies")]
    return Answers([*answers.problems, *(late if asking.is_alive() else [])], [*answers.notes])


def _ask(config: NodeConfig, session: boto3.Session | None, answers: Answers) -> None:
    queue, table = names.node_queue(config.collective, config.identity), names.table(config.collective)
    try:
        aws = AWS(session, _TIMEOUTS)
        try:
            _queue(aws, queue, answers)
        finally:
            _clock(aws, answers)  # a refusal tells the time as well, and may come from it
        if config.registry == "dynamodb":
            _registry(aws, table, config.identity)
    except CollectiveError as error:
        answers.problems.append(error)


def _queue(aws: AWS, queue: str, answers: Answers) -> None:
    try:
        with translated(queue, "queue"):
            aws.client("sqs").get_queue_url(QueueName=queue)
    except NotFound:
        answers.notes.append(f"queue {queue}: not there yet: the daemon makes it at its first start")
    except Forbidden:  # IAM judges a queue by its tags: one that is not there has none
        answers.notes.append(f"queue {queue}: not there yet, or not for this node: the log of a start tells")
    else:
        answers.notes.append(f"queue {queue}: there")


def _clock(aws: AWS, answers: Answers) -> None:
    skew = aws.skew or 0.0
    if abs(skew) > _SKEW:
        text = f"clock: it is {skew:+.0f} s off AWS's, which refuses requests from 300 s on: timedatectl set-ntp true"
        answers.problems.append(ConfigError(text))


def _registry(aws: AWS, table: str, identity: str) -> None:
    try:
        with translated(table, "table"):
            aws.client("dynamodb").get_item(TableName=table, Key={"identity": {"S": identity}})
    except NotFound:
        raise ConfigError(f"registry: there is no table {table}: make it, or say 'registry: none'") from None
