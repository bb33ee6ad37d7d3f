"""Receive a node's requests: hand each to the line, and acknowledge those that have gone down it.

    open ─► receive ─► handle, one by one ─► acknowledge ─► receive …
               ▲  the transport is away: wait, longer each time

What a stop leaves unhandled is not acknowledged: it comes back to whoever serves next.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from collective.errors import Forbidden, NotFound, TransportError
from collective.node.backoff import backoff
from collective.transport import POLL, Delivery, Transport

log = logging.getLogger(__name__)

_LONGEST_HANDLING = 10.0  # seconds that a stop waits for what is being handled; it may wait for room itself
_WAKE = "wake"  # a message to ourselves that ends a poll


class Receiver:
    """Receives from one queue, subscribed to one topic, in the thread that calls.

    `fault` says why the transport is away, None while it is not; `tried` is set when it has been tried once.
    `last_poll` is when a poll last went well, in Unix seconds by the server's clock. `clock` returns seconds that
    only grow.
    """

    def __init__(
        self,
        transport: Transport,
        queue: str,
        topic: str,
        handle: Callable[[Delivery], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._transport = transport
        self._queue = queue
        self._topic = topic
        self._handle = handle
        self._clock = clock
        self._handling = threading.Lock()
        self._stopping = threading.Event()
        self._active = clock()
        self.error: str | None = None
        self.tried = threading.Event()
        self.last_poll: float | None = None

    @property
    def status(self) -> str:
        """What the receiving thread is at, in a line."""
        if not self.tried.is_set():
            return "opening its queue"
        return f"the transport is away: {self.error}" if self.error else f"receiving from {self._queue}"

    def silent_for(self) -> float:
        """Return for how many seconds the receiving thread has neither got on nor failed."""
        return self._clock() - self._active

    def open(self) -> None:
        """Make the queue and subscribe it, trying until the transport is there."""
        self._persist(lambda: self._transport.open_node(self._queue, self._topic))

    def serve(self) -> None:
        """Receive until `stop`; a transport that goes away is waited for."""
        while not self._stopping.is_set():
            self._persist(self.receive_once)

    def receive_once(self, wait: float = POLL) -> None:
        """Wait for requests for at most `wait` seconds, handle and acknowledge them. Raise TransportError."""
        try:
            deliveries = self._transport.receive(self._queue, wait)
            self.last_poll = self._transport.now()
        except NotFound:
            log.warning("queue.lost", extra={"queue": self._queue})
            self._transport.open_node(self._queue, self._topic)
            return
        except Forbidden:
            # A policy that knows our queue by its tags denies one that is gone: it may have to be made again.
            self._transport.open_node(self._queue, self._topic)
            raise
        done = [delivery for delivery in deliveries if delivery.body == _WAKE or self._take(delivery)]
        if done:
            self._transport.acknowledge(self._queue, done)

    @property
    def stopping(self) -> bool:
        """Whether it is told to stop."""
        return self._stopping.is_set()

    def stop(self) -> None:
        """Take on nothing further, once what is being handled is, and end the poll that may be under way."""
        self._stopping.set()
        if self._handling.acquire(timeout=_LONGEST_HANDLING):
            self._handling.release()
        # In a thread: where packets vanish it would take minutes, and what runs has to be told that it ends.
        threading.Thread(target=self._wake, name="wake", daemon=True).start()

    def _wake(self) -> None:
        """End our own poll: with nobody waiting, it swallows the next message and hides it from the next daemon."""
        with suppress(TransportError):
            self._transport.send(self._queue, _WAKE)

    def _take(self, delivery: Delivery) -> bool:
        """Handle one delivery, unless we are to stop; return whether that is done, and it need not come again."""
        with self._handling:
            self._active = self._clock()
            if self.stopping:
                return False
            try:
                self._handle(delivery)
            except Exception:
                log.exception("node.defect")  # ours, and no reason to leave the other requests unanswered
                return not self.stopping
            return True

    def _persist(self, step: Callable[[], None]) -> None:
        """Do one step, again and again while the transport is away, with growing pauses."""
        for pause in backoff():
            if self._stopping.is_set():
                return
            self._active = self._clock()
            try:
                step()
            except TransportError as error:
                self._note(str(error))
                log.warning("transport.failed", extra={"error": str(error), "retry_s": round(pause, 3)})
                self._stopping.wait(pause)
            else:
                self._note(None)
                return

    def _note(self, error: str | None) -> None:
        self._active = self._clock()
        self.error = error
        self.tried.set()
