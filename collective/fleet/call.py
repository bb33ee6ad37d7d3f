"""One call: send to whom it is time to send, yield the replies as they come, and account for every node.

    begin ─► send the first wave ─► receive ─► accept: ours? new? ─► yield ─► give up who is silent ─► send the next …
                                       ▲                                                                  │
                                       └───────────────── until nobody is missing ◄──────────────────────┘

`begin` has sent to the first nodes before anybody iterates: to all of them, unless a pace was asked for. The rest is
sent by whoever iterates, not by a thread behind his back: who stops looking at replies stops the rollout with it, and
no node is reached after a reply that he has not seen. What stays unsent when a call is closed is skipped.

The call ends when the last expected node has answered, or its time is over; that counts from when the node was sent
to, and stands still while the iterating program is busy with a reply. One that asks who is there expects nobody,
and ends when a window has passed without news. A node that does not listen is given up early, and named silent.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from collective import ddl, messages
from collective.errors import MessageError, NotFound, SignatureError, TransportError
from collective.fleet.outcomes import Outcomes
from collective.fleet.reply_slots import Slot
from collective.fleet.rollout import Rollout
from collective.fleet.sending import Sender
from collective.fleet.unresponsive import DeafNodes
from collective.messages import Envelope, Reply
from collective.transport import BATCH, Delivery

log = logging.getLogger(__name__)

_POLL = 20.0  # seconds of one long poll
_KEPT_BACK = 1.0  # seconds that a received reply may stay undeleted, well below its visibility
_SHORTEST_POLL = 1.0  # seconds until a look into queues, which is not urgent; SQS polls for whole seconds
_BACKLOG = 5.0  # seconds that a node's time is stretched while there are more replies to receive

# Check that a reply was signed by the node that it names, given its envelope; raise SignatureError otherwise.
VerifyReply = Callable[[Reply, Envelope], None]


def believe(_reply: Reply, _envelope: Envelope) -> None:
    """Believe every reply: for tests and labs without keys."""


class Call:
    """An iterator of replies. `absent` are nodes that have no queue; `started` is Unix seconds, `…_ms` milliseconds.

    `cut_short` tells that somebody has stopped waiting for nodes whose time was not over: they may still answer.
    Every wave of a rollout is a request of its own: `request_id` is the first one's, `request_ids` are all.
    """

    def __init__(
        self,
        *,
        sender: Sender,
        action: ddl.Action,
        rollout: Rollout,
        slot: Slot,
        discovery_ms: float = 0.0,
        verify: VerifyReply = believe,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.agent = sender.request.agent
        self.collective = sender.request.collective
        self.caller = sender.request.caller
        self.action = action
        self.outcomes = Outcomes(rollout.waiting)
        self.discovery_ms = discovery_ms
        self.total_ms = discovery_ms
        self.started = sender.request.time
        self.absent: list[str] = []
        self._sender = sender
        self._rollout = rollout
        self._transport = sender.transport
        self._slot = slot
        self._deaf = DeafNodes(sender.transport, self.collective)
        self._sent_to: dict[str, frozenset[str]] = {}  # the nodes of each wave, by its request's id
        self._verify = verify
        self._clock = clock
        self._began = clock()
        self._held = 0.0  # seconds that the iterating program was busy with replies
        self._window: float | None = None
        self._last_news = self._longest = self._began
        self._received: list[Delivery] = []
        self._received_since = 0.0
        self._background = ThreadPoolExecutor(1, thread_name_prefix="acknowledge")
        self.closed = False
        self.cut_short = False

    @property
    def request_id(self) -> str:
        """The id of the first request."""
        return next(iter(self._sent_to), "")

    @property
    def request_ids(self) -> list[str]:
        """The ids of all requests so far: each node's audit has that of its own."""
        return list(self._sent_to)

    @property
    def stopped(self) -> str:
        """Why the call ended before all nodes had been sent to and waited for; empty when that is not so."""
        return self._rollout.stopped if self.cut_short or self._rollout.waiting else ""

    @property
    def skew(self) -> float:
        """How many seconds this machine's clock is ahead of the servers', who measure it to the second."""
        return time.time() - self._transport.now()

    def begin(self) -> None:
        """Send to the first nodes. Raise MessageError and TransportError."""
        self._send_due()

    def ask_everybody(self, window: float, longest: float) -> None:
        """Send to all there are; the call ends after `window` seconds without news, and `longest` in all."""
        self._sent_to[self._sender.ask_everybody()] = frozenset()
        self._window = window
        self._last_news = self._now()
        self._longest = self._last_news + longest

    def __iter__(self) -> Iterator[Reply]:
        """Yield each new reply, and go on sending; raise TransportError when no more can be sent or received."""
        try:
            while (wait := self._patience()) is not None:
                yield from self._held_by_program(self._receive(wait))
                self._rollout.give_up(self._deaf.find(self._rollout.working, self._now()))
                self._send_due()
        finally:
            self.close()

    def wait(self) -> Outcomes:
        """Take all replies, and return what became of every node."""
        for _ in self:
            pass
        return self.outcomes

    def stop(self, why: str) -> None:
        """Send to nobody further, and wait for nobody: the outcomes say that the call was stopped."""
        self._rollout.stop(why)
        self.cut_short = True
        self.outcomes.stopped = True

    def close(self) -> None:
        """Delete what was received, free the reply slot, skip who was not sent to. Doing it twice does no harm."""
        if self.closed:
            return
        self.closed = True
        self.outcomes.skip(self._rollout.waiting)
        self.outcomes.stopped = bool(self.stopped)
        self.total_ms = self.discovery_ms + (self._clock() - self._began) * 1000
        self._acknowledge(all_of_them=True)
        self._background.shutdown()
        self._slot.release()

    # -- sending

    def _send_due(self) -> None:
        """Send to whom it is time to; who turns out to have no queue makes room at once."""
        while nodes := self._rollout.due(self._now()):
            self._send(nodes)

    def _send(self, nodes: list[str]) -> None:
        wave = self._sender.wave(nodes)
        self._sent_to[wave.request.id] = frozenset(nodes)
        try:
            wave.send()
        finally:
            # From now on, not from before: a node's own deadline must be over first.
            now = self._now()
            self._rollout.sent(sorted(wave.reached), now)
            self._deaf.sent(wave.reached, now)
            self._rollout.give_up(wave.absent)
            self.absent += wave.absent

    # -- waiting

    def _now(self) -> float:
        return self._clock() - self._held

    def _patience(self) -> float | None:
        """Return for how many seconds to wait for the next message; None when the call is over."""
        now = self._now()
        if self._window is not None:
            left = min(self._longest, self._last_news + self._window) - now
            return left if left > 0 else None
        if self._rollout.over:
            return None
        look = max(self._deaf.wake() - now, _SHORTEST_POLL)
        return max(0.0, min(self._rollout.wake() - now, look))

    def _held_by_program(self, replies: list[Reply]) -> Iterator[Reply]:
        """Yield replies; while the iterating program is busy with one, nobody's time runs."""
        for reply in replies:
            since = self._clock()
            yield reply
            self._held += self._clock() - since

    # -- receiving

    def _receive(self, wait: float) -> list[Reply]:
        """Return the new replies that come within `wait` seconds, and give up those whose time is over."""
        try:
            deliveries = self._transport.receive(self._slot.queue, min(wait, _POLL))
        except NotFound:
            self._slot.note(self._transport.open_replies(self._slot.queue))
            return []
        now = self._now()
        if deliveries and not self._received:
            self._received_since = now
        self._received += deliveries
        replies = [reply for reply in map(self._accept, deliveries) if reply is not None]
        if replies:
            self._last_news = now
        # Behind what was received there may be more: whoever's reply waits there is not silent.
        self._rollout.expire(now - _BACKLOG if deliveries else now)
        self._acknowledge()
        return replies

    def _accept(self, delivery: Delivery) -> Reply | None:
        """Take the reply that a delivery brings when it is ours and new; anything else changes nothing."""
        try:
            envelope = messages.unseal(delivery.body)
            reply = messages.decode_reply(envelope.content)
        except MessageError as error:
            log.warning("reply.dropped", extra={"error": str(error)})
            return None
        sent_to = self._sent_to.get(reply.request)
        if sent_to is None:
            log.debug("reply.late", extra={"request": reply.request, "sender": reply.sender})
            return None
        if reply.sender in self.outcomes.expected and reply.sender not in sent_to:
            self._reject(reply, f"{reply.sender} answers what was not sent to it")
            return None
        try:
            self._verify(reply, envelope)
        except SignatureError as error:
            self._reject(reply, str(error))
            return None
        if not self.outcomes.record(reply):
            return None
        self._rollout.answered(reply.sender, reply.ok)
        return reply

    def _reject(self, reply: Reply, error: str) -> None:
        """Count a reply that cannot be believed, and say so once a node: its true reply may still come."""
        if reply.sender not in self.outcomes.rejected:
            log.warning("reply.rejected", extra={"error": error})
        self.outcomes.reject(reply.sender)

    def _acknowledge(self, all_of_them: bool = False) -> None:
        """Delete received replies in the background, by the ten, or when they have waited long enough."""
        old = self._now() - self._received_since >= _KEPT_BACK
        while self._received and (all_of_them or old or len(self._received) >= BATCH):
            batch, self._received = self._received[:BATCH], self._received[BATCH:]
            self._background.submit(self._delete, batch)

    def _delete(self, batch: list[Delivery]) -> None:
        try:
            self._transport.acknowledge(self._slot.queue, batch)
        except TransportError as error:
            log.warning("reply.kept", extra={"error": str(error)})  # it comes again, and changes nothing
