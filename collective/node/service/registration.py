"""Publish this node's record to the registry: after a change, a heartbeat every period, a stop mark at the end.

With each of them, the subscription of the node's queue is checked, because broadcasts do not reach the node without it.

Two machines with the same identity overwrite each other's record at each heartbeat. Both detect that, log it, and mark
their record as contested.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from collective.errors import NotFound, TransportError, Unreachable
from collective.node.backoff import Rhythm
from collective.periodic import PeriodicThread
from collective.registry import NodeRecord, Registry
from collective.registry.encoding import fit, omission

log = logging.getLogger(__name__)

LEAST_PAUSE = 2.0  # seconds between heartbeats that others ask for


class Registration:
    """Publishes in a thread of its own. `describe` returns the node's current record.

    `check_subscription` repairs the subscription of the node's queue, and raises TransportError.
    `tried` is set after the first attempt to publish, successful or not. `clock` returns monotonic seconds.
    """

    def __init__(
        self,
        registry: Registry,
        describe: Callable[[], NodeRecord],
        period: float,
        check_subscription: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._check_subscription = check_subscription
        self._describe = describe
        self._rhythm = Rhythm(period)
        self._published: NodeRecord | None = None
        self._described: NodeRecord | None = None  # the last record before it was shortened
        self._record: NodeRecord | None = None  # and after
        self._omitted: Mapping[str, int] = {}
        self._clock = clock
        self._begun = float("-inf")  # when the last step began
        self._instance = secrets.token_hex(8)
        self._thread = PeriodicThread("registration", self._step, period, finish=self._leave)
        self.tried = threading.Event()

    def start(self) -> None:
        """Publish now and then every period; sooner after a failure."""
        self._thread.start()

    def refresh(self) -> None:
        """Publish changes now instead of at the end of the period."""
        self._thread.wake()

    def prove_alive(self) -> None:
        """Send a heartbeat now, for a node that suspects this one has failed.

        Anyone who may write to the node's queue can ask for it, so it happens at most every two seconds.
        """
        if self._clock() - self._begun >= LEAST_PAUSE:
            self._thread.wake()

    def stop(self, timeout: float) -> None:
        """Mark the node as stopped in the registry, waiting at most `timeout` seconds for that."""
        self._thread.stop(timeout)

    def publish(self) -> None:
        """Publish the record if it has changed, else a heartbeat; check whether another machine uses the identity.

        A record that the registry cannot store is shortened, so that the node stays registered.
        """
        described = replace(self._describe(), instance=self._instance)
        record = self._fitted(described)
        contested = None
        if self._published is not None:
            holder = self._registry.heartbeat(record.identity, self._instance)
            if holder == self._instance and record == self._published:
                return
            if holder and holder != self._instance:
                contested = self._registry.now()
                log.error(
                    "identity.contested", extra={"error": f"another machine uses the identity '{record.identity}'"}
                )
        self._registry.put(replace(record, contested=contested))
        self._published = record

    def _fitted(self, described: NodeRecord) -> NodeRecord:
        """Return what the registry can store of a record; log once what it cannot."""
        if described == self._described and self._record is not None:
            return self._record
        self._described, self._record = described, fit(described)
        omitted = self._record.omitted
        if omitted and omitted != self._omitted:
            log.warning("registry.omitted", extra={"error": omission(self._record)})
        self._omitted = omitted
        return self._record

    def _step(self) -> float:
        self._begun = self._clock()
        published = self._attempt(self.publish)
        self.tried.set()
        return self._rhythm.after(self._subscribed() and published)

    def _subscribed(self) -> bool:
        """Check the subscription, and log a failure; return False if the check should be repeated soon."""
        try:
            self._check_subscription()
        except TransportError as error:
            log.warning("subscription.failed", extra={"error": str(error)})
            return not isinstance(error, Unreachable)
        return True

    def _leave(self) -> None:
        if self._published is not None:
            self._attempt(partial(self._registry.leave, self._published.identity, self._instance))

    def _attempt(self, call: Callable[[], None]) -> bool:
        """Make a call to the registry, and log its failure: the node works without a registry.

        Return False if the call should be repeated soon. A missing table or permission is checked again after the
        period only.
        """
        try:
            call()
        except NotFound as error:
            log.warning(
                "registry.missing", extra={"error": f"table {error} (callers can discover this node by broadcast only)"}
            )
        except TransportError as error:
            self._published = None
            log.warning("registry.failed", extra={"error": str(error)})
            return not isinstance(error, Unreachable)
        return True
