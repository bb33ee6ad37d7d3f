"""Receive a node's requests: handle each one, and acknowledge those that have been handled.

    open ─► receive ─► handle, one by one ─► acknowledge ─► receive …
               ▲  the transport is unreachable: wait, longer each time

Requests that are not handled because the node stops are not acknowledged: the next daemon receives them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from collective.errors import Forbidden, NotFound, TransportError
from collective.node.backoff import backoff
from collective.transport import LONGEST_POLL, WAKE, Delivery, Transport

log = logging.getLogger(__name__)

_LONGEST_HANDLING = 10.0  # seconds that a stop waits for the request in hand, which may itself wait for a thread


def _nothing() -> None:
    """Do nothing."""


class Receiver:
    """Receives from one queue, subscribed to one topic, in the thread that calls.

    `handle` processes one delivery. `stopping` is set by `stop`; other parts may share it.
    `error` is why the transport is unreachable, None while it is reachable; `tried` is set after the first attempt.
    `last_poll` is when the last successful poll ended, in Unix seconds by the server's clock. `clock` returns
    monotonic seconds. `woken` is called for a WAKE message of a node that watches this one.
    """

    def __init__(
        self,
        transport: Transport,
        queue: str,
        topic: str,
        handle: Callable[[Delivery], None],
        stopping: threading.Event | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._transport = transport
        self._queue = queue
        self._topic = topic
        self._handle = handle
        self._clock = clock
        self._handling = threading.Lock()
        self._stopping = stopping or threading.Event()
        self._active = clock()
        self.error: str | None = None
        self.woken: Callable[[], None] = _nothing
        self.tried = threading.Event()
        self.last_poll: float | None = None

    @property
    def status(self) -> str:
        """What the receiving thread does, in one line."""
        if not self.tried.is_set():
            return "opening its queue"
        return f"transport unreachable: {self.error}" if self.error else f"receiving from {self._queue}"

    @property
    def stopping(self) -> bool:
        """Whether the node is being stopped."""
        return self._stopping.is_set()

    def silent_for(self) -> float:
        """Return the seconds since the receiving thread last made progress or failed."""
        return self._clock() - self._active

    def open(self) -> None:
        """Create and subscribe the queue, retrying until the transport is reachable."""
        self._retry(self._open)

    def serve(self) -> None:
        """Receive until `stop`, retrying while the transport is unreachable."""
        while not self._stopping.is_set():
            self._retry(self.receive_once)

    def receive_once(self, wait: float = LONGEST_POLL) -> None:
        """Wait for requests for at most `wait` seconds, handle and acknowledge them. Raise TransportError."""
        try:
            deliveries = self._transport.receive(self._queue, wait)
            self.last_poll = self._transport.now()
        except NotFound:
            log.warning("queue.lost", extra={"queue": self._queue})
            self._open()
            return
        except Forbidden:
            # An IAM policy that identifies our queue by its tags denies access to a deleted queue: create it again.
            self._open()
            raise
        if not self.stopping and any(delivery.body == WAKE for delivery in deliveries):
            self.woken()
        done = [delivery for delivery in deliveries if delivery.body == WAKE or self._handle_one(delivery)]
        if done:
            self._transport.acknowledge(self._queue, done)

    def stop(self) -> None:
        """Handle no further request after the one in hand, and end a running poll."""
        self._stopping.set()
        if self._handling.acquire(timeout=_LONGEST_HANDLING):
            self._handling.release()
        # In a thread: sending takes minutes if packets are lost, and running actions must be stopped before.
        with suppress(RuntimeError):  # no further thread is possible: the poll ends by itself
            threading.Thread(target=self._end_poll, name="wake", daemon=True).start()

    def _open(self) -> None:
        self._transport.open_node(self._queue, self._topic)

    def _end_poll(self) -> None:
        """End our own poll: an abandoned poll would take the next message and hide it from the next daemon."""
        with suppress(TransportError):
            self._transport.send(self._queue, WAKE)

    def _handle_one(self, delivery: Delivery) -> bool:
        """Handle one delivery, unless the node stops; return whether it can be acknowledged."""
        with self._handling:
            self._active = self._clock()
            if self.stopping:
                return False
            try:
                self._handle(delivery)
            except Exception:
                log.exception("node.internal_error")  # the other requests must still be answered
                return not self.stopping
            return True

    def _retry(self, step: Callable[[], None]) -> None:
        """Do one step, again and again while the transport is unreachable, with growing pauses."""
        for pause in backoff():
            if self._stopping.is_set():
                return
            self._active = self._clock()
            try:
                step()
            except TransportError as error:
                self._note_result(str(error))
                log.warning("transport.failed", extra={"error": str(error), "retry_s": round(pause, 3)})
                self._stopping.wait(pause)
            else:
                self._note_result(None)
                return

    def _note_result(self, error: str | None) -> None:
        self._active = self._clock()
        self.error = error
        self.tried.set()
