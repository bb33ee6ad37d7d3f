"""Deliver events to a handler: in their order for each node, never two at a time for one node.

    offer(events) ──► queue per node ──► pool of threads ──► handler ──► deleted from the state file

In batches, a single thread gets all waiting events at once: what arrives while a handler runs is the next batch.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from collective.membership.handlers import EventHandler
from collective.membership.members import Event
from collective.membership.state_file import StateFile

WORKERS = 10  # handlers at a time
_ALL = ""  # the queue of batches


class EventDelivery:
    """Delivers events of `store` to `handler`. An exception ends the delivery: see `pause` and `resume`.

    `wake` ends a pause early when it is set.
    """

    def __init__(
        self, store: StateFile, handler: EventHandler, *, batch: bool = False, wake: threading.Event | None = None
    ) -> None:
        self._error: BaseException | None = None
        self._failed = False
        self._wake = wake or threading.Event()
        self._store = store
        self._handler = handler
        self._batch = batch
        self._pool = ThreadPoolExecutor(1 if batch else WORKERS, thread_name_prefix="handler")
        self._idle = threading.Condition()
        self._marking = threading.Lock()
        self._waiting: dict[str, deque[Event]] = {}
        self._busy: set[str] = set()
        self._handled: list[Event] = []  # handled, and still in the store
        self._stopped = False

    def offer(self, events: Iterable[Event]) -> None:
        """Deliver events as soon as the events before them are delivered."""
        with self._idle:
            for event in events:
                self._waiting.setdefault(_ALL if self._batch else event.member.identity, deque()).append(event)
            self._dispatch()

    def pause(self, seconds: float) -> None:
        """Wait for some seconds, or until `wake`. Raise the exception of the handler as soon as there is one."""
        if not self._failed:
            self._wake.wait(seconds)
            self._wake.clear()
        if self._error:
            raise self._error

    def resume(self) -> None:
        """Continue after an exception, such as one of a store that was full; handled events are not repeated.

        Raises the exception of the store if it still cannot be written.
        """
        with self._idle:
            if not self._failed or self._busy:
                return
            self._mark([])
            self._error, self._failed = None, False
            self._waiting.clear()
        self.offer(self._store.pending())

    def finish(self) -> None:
        """Wait until all events are delivered. Raise the exception of the handler."""
        with self._idle:
            self._idle.wait_for(lambda: self._failed or not (self._waiting or self._busy))
        self.pause(0)

    def stop(self, timeout: float) -> None:
        """Start no more handlers, wait for those that run, and end them after `timeout` seconds."""
        with self._idle:
            self._stopped = True
            if not self._idle.wait_for(lambda: not self._busy, timeout):
                self._handler.stop()
        self._pool.shutdown()

    def _dispatch(self) -> None:
        """Give the next events of each node that has no handler running to the pool. The lock is held."""
        for name in [name for name in self._waiting if name not in self._busy]:
            if self._stopped or self._failed:
                return
            events = self._waiting[name]
            taken = list(events) if self._batch else [events.popleft()]
            if self._batch or not events:
                del self._waiting[name]
            self._busy.add(name)
            self._pool.submit(self._deliver, name, taken)

    def _deliver(self, name: str, events: Sequence[Event]) -> None:
        try:
            if self._handler.handle(events):
                self._mark(events)
        except BaseException as error:
            self._error, self._failed = error, True
            self._wake.set()
        with self._idle:
            self._busy.discard(name)
            self._dispatch()
            self._idle.notify_all()

    def _mark(self, events: Sequence[Event]) -> None:
        """Delete handled events from the store, also those that could not be deleted before."""
        with self._marking:
            self._handled += events
            self._store.delivered(self._handled)
            self._handled.clear()
