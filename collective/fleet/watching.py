"""Watch the members of a collective as a caller: with the registry of client.yaml, and pings to confirm failures."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from collective import names
from collective.config import ClientConfig
from collective.errors import UsageError
from collective.fleet.failure_check import FailureCheck
from collective.fleet.fleet import CONNECTIONS, Fleet
from collective.membership import MemberView, StateFile, Watcher
from collective.membership.confirmation import BySilence, FailureConfirmation, InBackground


@dataclass(frozen=True)
class Watching:
    """A watcher, and what confirms failures for it. `wake` is set when the next step should not wait."""

    watcher: Watcher
    confirmation: FailureConfirmation
    wake: threading.Event


@contextmanager
def watching(
    config: ClientConfig, store: StateFile, view: MemberView, *, settle: float = 0.0, ping: bool = True
) -> Iterator[Watching]:
    """Yield a watcher of the nodes in `view`, with the state in `store`.

    Without `ping`, nodes are not asked, and long silence is a failure. Raises UsageError without a registry.
    """
    if config.registry == "none":
        raise UsageError("watch: no registry to watch (client.yaml has 'registry: none')")
    from collective.aws.session import AWS
    from collective.registry.dynamodb import DynamoDBRegistry
    from collective.transport.sqs import SQSTransport

    aws, wake = AWS.of(config), threading.Event()
    table = DynamoDBRegistry(aws, names.table(config.collective))
    with Fleet.connect(config) as fleet:
        confirmation: FailureConfirmation = BySilence()
        if ping:
            examiner = FailureCheck(fleet, SQSTransport(aws, connections=CONNECTIONS))
            confirmation = InBackground(examiner, wake.set)
        watcher = Watcher(table, store, view, confirmation, collective=config.collective, settle=settle)
        yield Watching(watcher, confirmation, wake)
