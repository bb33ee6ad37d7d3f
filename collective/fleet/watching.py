"""Watch the members of a collective as a caller: with the registry of client.yaml, and pings to confirm failures."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from collective import names
from collective.config import ClientConfig
from collective.errors import ConfigError, NotFound, UsageError
from collective.fleet.connection import CONNECTIONS
from collective.fleet.failure_check import FailureCheck
from collective.fleet.fleet import Fleet
from collective.membership import MemberView, StateFile, Watcher
from collective.membership.confirmation import BySilence, FailureConfirmation, InBackground
from collective.membership.ec2_events import Terminations

if TYPE_CHECKING:
    from collective.aws.session import AWS
    from collective.transport import Transport


@dataclass(frozen=True)
class Watching:
    """A watcher, and what confirms failures for it. `wake` is set when the next step should not wait."""

    watcher: Watcher
    confirmation: FailureConfirmation
    wake: threading.Event
    terminations: Terminations | None = None  # not started


@contextmanager
def watching(
    config: ClientConfig,
    store: StateFile,
    view: MemberView,
    *,
    settle: float = 0.0,
    ping: bool = True,
    ec2_events: bool = False,
) -> Iterator[Watching]:
    """Yield a watcher of the nodes in `view`, with the state in `store`.

    Without `ping`, nodes are not asked, and long silence is a failure. With `ec2_events`, the events of EC2 that are
    there are taken at once. Raises UsageError without a registry, ConfigError without a queue for events of EC2.
    """
    if config.registry == "none":
        raise UsageError("watch: no registry to watch (client.yaml has 'registry: none')")
    from collective.aws.session import AWS
    from collective.registry.followed_table import FollowedTable
    from collective.transport.sqs import SQSTransport

    aws, wake = AWS.of(config), threading.Event()
    transport = SQSTransport(aws, connections=CONNECTIONS)
    feed = FollowedTable(aws, names.table(config.collective))
    with Fleet.connect(config) as fleet:
        confirmation: FailureConfirmation = BySilence()
        if ping:
            confirmation = InBackground(FailureCheck(fleet, transport), wake.set)
        watcher = Watcher(feed, store, view, confirmation, collective=config.collective, settle=settle)
        terminations = _terminations(config, aws, transport, wake) if ec2_events else None
        try:
            yield Watching(watcher, confirmation, wake, terminations)
        finally:
            if terminations:
                terminations.stop()


def _terminations(config: ClientConfig, aws: AWS, transport: Transport, wake: threading.Event) -> Terminations:
    """Return what takes events of EC2, after it has taken those that are there."""
    from collective.registry.dynamodb import DynamoDBRegistry

    registry = DynamoDBRegistry(aws, names.table(config.collective))
    terminations = Terminations(transport, names.ec2_events(config.collective), registry, wake.set)
    try:
        while terminations.take():
            pass
    except NotFound as error:
        raise ConfigError(f"--ec2-events: {error} (create it with 'crpc setup --ec2-events')") from None
    return terminations
