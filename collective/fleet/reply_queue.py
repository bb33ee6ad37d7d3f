"""The queue from which one call receives its replies; received replies are deleted in the background."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor

from collective.errors import NotFound, TransportError
from collective.fleet.receivers import LONG, Receivers
from collective.fleet.reply_slots import Slot
from collective.transport import BATCH, LONGEST_POLL, Delivery, Transport

log = logging.getLogger(__name__)

FEW = 20  # replies that one thread receives
MOST_THREADS = 8  # that receive, and as many that delete; more would wait for the processor
_DELETE_DELAY = 1.0  # seconds until a received reply is deleted at the latest; well below its visibility timeout


class ReplyQueue:
    """Receives and deletes the messages of a reply slot. Times are in seconds, by the call's clock.

    `empty`: since the last messages, a long poll has found no others.
    """

    def __init__(self, transport: Transport, slot: Slot) -> None:
        self._transport = transport
        self._threads = min(MOST_THREADS, transport.connections)
        self._receivers: Receivers | None = None
        self._slot = slot
        self.empty = False
        self._undeleted: list[Delivery] = []
        self._undeleted_since = 0.0
        self._background = ThreadPoolExecutor(self._threads, thread_name_prefix="acknowledge")

    def receive(self, wait: float, awaited: int) -> list[Delivery] | None:
        """Return what arrives within `wait` seconds; None if the queue was missing, and has been created again.

        `awaited` is how many replies are missing: if they are many, several threads receive.
        """
        if awaited > FEW and self._threads > 1 and self._receivers is None:
            self._receivers = Receivers(self._receive, min(self._threads, 1 + awaited // FEW))
        try:
            if self._receivers:
                found, self.empty = self._receivers.take(wait, awaited), self._receivers.empty
            else:
                found = self._receive(wait)
                self.empty = not found and (self.empty or wait >= LONG)
            return found
        except NotFound:
            self._slot.store(self._transport.open_replies(self._slot.queue))
            return None

    def _receive(self, wait: float) -> list[Delivery]:
        return self._transport.receive(self._slot.queue, min(wait, LONGEST_POLL))

    def delete_later(self, deliveries: list[Delivery], now: float) -> None:
        """Keep deliveries that were received at `now` until they are deleted."""
        if deliveries and not self._undeleted:
            self._undeleted_since = now
        self._undeleted += deliveries

    def delete_due(self, now: float, *, everything: bool = False) -> None:
        """Delete received replies in the background: full batches, or all when the first has waited long enough."""
        old = now - self._undeleted_since >= _DELETE_DELAY
        while self._undeleted and (everything or old or len(self._undeleted) >= BATCH):
            batch, self._undeleted = self._undeleted[:BATCH], self._undeleted[BATCH:]
            self._background.submit(self._delete, batch)

    def close(self, now: float) -> None:
        """Begin to delete the received replies, and free the reply slot."""
        if self._receivers:
            self._receivers.close()
        self.delete_due(now, everything=True)
        self._background.shutdown(wait=False)
        self._slot.release()

    def settle(self) -> None:
        """Wait until the received replies are deleted."""
        self._background.shutdown()

    def _delete(self, batch: list[Delivery]) -> None:
        try:
            self._transport.acknowledge(self._slot.queue, batch)
        except TransportError as error:
            # The replies will be delivered again, and ignored as duplicates.
            log.warning("reply.not_deleted", extra={"error": str(error)})
