"""One call that has been sent: yield its replies as they come, and account for every node.

    send (done before this exists) ─► receive ─► accept: ours? new? ─► yield ─► …until nobody is missing

The call ends when the last expected node has answered, or when its time is over; one that asks who is there
expects nobody, and ends when a window has passed without news. A node whose queue still shows
unread messages some seconds after sending does not listen: it is given up early, and named silent.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from collective import ddl, messages, names
from collective.errors import MessageError, QueueNotFound, TransportError
from collective.fleet.outcomes import Outcomes
from collective.fleet.slots import Slot
from collective.messages import Reply, Request
from collective.transport import BATCH, Delivery, Transport

log = logging.getLogger(__name__)

_POLL = 20.0  # seconds of one long poll
_KEPT_BACK = 1.0  # seconds that a received reply may stay undeleted, well below its visibility
_FIRST_LOOK = 5.0  # seconds after sending until unread queues are looked for
_LOOKS = 2.0  # seconds between two looks; a node is given up when both find its queue unread
_THREADS = 10


class Call:
    """An iterator of replies. `absent` are nodes that have no queue; `started` is Unix seconds, `…_ms` milliseconds."""

    def __init__(
        self,
        *,
        request: Request,
        action: ddl.Action,
        outcomes: Outcomes,
        transport: Transport,
        slot: Slot,
        timeout: float,
        window: float | None = None,
        discovery_ms: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.request_id = request.id
        self.agent = request.agent
        self.collective = request.collective
        self.caller = request.caller
        self.action = action
        self.outcomes = outcomes
        self.discovery_ms = discovery_ms
        self.total_ms = discovery_ms
        self.started = request.time
        self._transport = transport
        self._slot = slot
        self._clock = clock
        self._began = clock()
        self._deadline = self._began + timeout
        self._window = window
        self._last_news = self._began
        self._received: list[Delivery] = []
        self._received_since = 0.0
        self._background = ThreadPoolExecutor(1, thread_name_prefix="acknowledge")
        self._next_look = self._began + _FIRST_LOOK
        self._suspects: set[str] = set()
        self.absent: list[str] = []
        self._given_up: set[str] = set()
        self._closed = False

    def __iter__(self) -> Iterator[Reply]:
        """Yield each new reply; raise TransportError when no more can be received."""
        try:
            while (wait := self._patience()) > 0:
                self._look_for_deaf_nodes()
                for delivery in self._receive(min(wait, _POLL)):
                    reply = self._accept(delivery)
                    if reply is not None:
                        self._last_news = self._clock()
                        yield reply
                self._acknowledge()
        finally:
            self.close()

    def wait(self) -> Outcomes:
        """Take all replies, and return what became of every node."""
        for _ in self:
            pass
        return self.outcomes

    def give_up(self, nodes: Iterable[str]) -> None:
        """Wait no longer for nodes that have no queue: they are silent."""
        self.absent += nodes
        self._given_up.update(self.absent)

    def close(self) -> None:
        """Delete what was received and free the reply slot. Doing it twice does no harm."""
        if self._closed:
            return
        self._closed = True
        self.total_ms = self.discovery_ms + (self._clock() - self._began) * 1000
        self._acknowledge(all_of_them=True)
        self._background.shutdown()
        self._slot.release()

    def _patience(self) -> float:
        """Return for how many seconds to wait for the next message; 0 or less when the call is over."""
        now = self._clock()
        if self._window is not None:
            return min(self._deadline, self._last_news + self._window) - now
        if not self._missing():
            return 0.0
        return min(self._deadline - now, max(self._next_look - now, 1.0))

    def _missing(self) -> set[str]:
        return self.outcomes.waiting - self._given_up

    def _receive(self, wait: float) -> list[Delivery]:
        try:
            deliveries = self._transport.receive(self._slot.queue, wait)
        except QueueNotFound:
            self._slot.note(self._transport.open_replies(self._slot.queue))
            return []
        if deliveries and not self._received:
            self._received_since = self._clock()
        self._received += deliveries
        return deliveries

    def _accept(self, delivery: Delivery) -> Reply | None:
        """Return the reply that a delivery brings when it is ours and new; anything else changes nothing."""
        try:
            reply = messages.decode_reply(messages.unseal(delivery.body).content)
        except MessageError as fault:
            log.warning("reply.dropped", extra={"fault": str(fault)})
            return None
        if reply.request != self.request_id:
            log.debug("reply.late", extra={"request": reply.request, "sender": reply.sender})
            return None
        return reply if self.outcomes.record(reply) else None

    def _acknowledge(self, all_of_them: bool = False) -> None:
        """Delete received replies in the background, by the ten, or when they have waited long enough."""
        old = self._clock() - self._received_since >= _KEPT_BACK
        while self._received and (all_of_them or old or len(self._received) >= BATCH):
            batch, self._received = self._received[:BATCH], self._received[BATCH:]
            self._background.submit(self._delete, batch)

    def _delete(self, batch: list[Delivery]) -> None:
        try:
            self._transport.acknowledge(self._slot.queue, batch)
        except TransportError as fault:
            log.warning("reply.kept", extra={"fault": str(fault)})  # it comes again, and changes nothing

    def _look_for_deaf_nodes(self) -> None:
        now = self._clock()
        if now < self._next_look:
            return
        self._next_look = now + _LOOKS
        missing = sorted(self._missing())
        with ThreadPoolExecutor(_THREADS) as pool:
            deaf = {name for name, unread in zip(missing, pool.map(self._unread, missing), strict=True) if unread}
        self._given_up |= deaf & self._suspects
        self._suspects = deaf

    def _unread(self, node: str) -> bool:
        try:
            return self._transport.unread(names.node_queue(self.collective, node)) > 0
        except QueueNotFound:
            return True
        except TransportError:
            return False  # it cannot be known: the node keeps its time
