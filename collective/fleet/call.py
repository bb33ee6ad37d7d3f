"""One call: send the requests, yield the replies as they arrive, and record the outcome of every node.

    begin ─► send first wave ─► receive ─► check reply ─► yield ─► drop unresponsive nodes ─► send next wave ─┐
                                   ▲                                                                          │
                                   └──────────────────── until no node is outstanding ◄───────────────────────┘

`begin` sends to the first nodes before the caller iterates; without a pace, to all of them. The other nodes are sent
to by the iterating program itself, not by a thread in the background. A program that stops iterating therefore stops
the rollout: no node is reached after a reply that the program has not seen. Nodes not sent to when a call is closed
are skipped.

A call ends when the last expected node has answered or has timed out. A node's timeout runs from when the request was
sent to it, and is suspended while the iterating program processes a reply. A discovery by broadcast expects no nodes,
and ends when no reply has arrived for some time. Unresponsive nodes, whose request stays unread, are silent early.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from collective import ddl, messages
from collective.errors import Aborted, Failed, MessageError, NotFound, SignatureError, TransportError
from collective.fleet import silence
from collective.fleet.gate_view import gate_view
from collective.fleet.gatekeeper import GateKeeper
from collective.fleet.gates import NO_GATES, Gates, GateView
from collective.fleet.outcomes import Outcomes
from collective.fleet.progress import CallProgress
from collective.fleet.recording import NO_RECORD, CallRecord
from collective.fleet.reply_slots import Slot
from collective.fleet.rollout import Rollout
from collective.fleet.sending import Sender, SentRequest
from collective.fleet.steps import NO_SENDERS, NodeStep, NodeSteps, in_order
from collective.fleet.unresponsive import FIRST_LOOK, UnresponsiveNodes
from collective.messages import Envelope, Reply
from collective.text import plural
from collective.transport import BATCH, LONGEST_POLL, Delivery

log = logging.getLogger(__name__)

_DELETE_DELAY = 1.0  # seconds until a received reply is deleted at the latest; well below its visibility timeout
_MIN_POLL = 1.0  # seconds; looking into node queues is not urgent, and SQS polls for whole seconds
_MAX_UNEXPECTED = 16 * 1024 * 1024  # bytes of all replies of nodes that are not expected, as JSON
_LEAST_REPLY = 200  # bytes that each of them counts at least
_MAX_LOGGED = 20  # rejected nodes that are logged, each once
_QUICK = 10.0  # seconds; an action with this timeout is expected to answer before the first look into the queues
_LATE_HINT = 30.0  # seconds after which nodes that have read the request and not answered are reported, if it is not
_MAY_PASS = (Aborted.statuscode, Failed.statuscode)  # status codes of failures that a retry may change
_NEVER_RETRIED = frozenset({"denied", "filtered", "not_evaluated"})  # reasons of failures that a retry does not change
_BACKLOG = 5.0  # seconds by which timeouts are extended while more replies are waiting to be received

# Checks that a reply was signed by the node that it names, given its envelope; raises SignatureError otherwise.
VerifyReply = Callable[[Reply, Envelope], None]


# Returns whether a node that was not asked is known, so that its reply counts.
IsMember = Callable[[str], bool]


def accept_unverified(_reply: Reply, _envelope: Envelope) -> None:
    """Accept every reply: for tests without keys."""


def accept_no_stranger(_sender: str) -> bool:
    """Accept no reply of a node that was not asked."""
    return False


class Call:
    """An iterator of replies, and the outcomes of all nodes.

    `agent`, `collective`, `caller` and `dry_run` are those of the `request`, whose ID is that of the run: all waves
    name it. `action` is the action's DDL. `timeout` is that of each node, in seconds. `outcomes` is filled while
    iterating. `absent` are the nodes that have no queue. `started` is in Unix seconds; `discovery_ms` and `total_ms`
    are durations in milliseconds. `cut_short` is true when the call was stopped while nodes could still answer. Each
    wave of a rollout has its own request ID. With retries, a node may reply several times; `outcomes` has its
    last reply.
    """

    def __init__(
        self,
        *,
        sender: Sender,
        hooks: Mapping[str, Sender] = NO_SENDERS,
        action: ddl.Action,
        rollout: Rollout,
        slot: Slot,
        discovery_ms: float = 0.0,
        outcomes: Outcomes | None = None,
        gates: Gates = NO_GATES,
        discovery_ids: Sequence[str] = (),
        verify: VerifyReply = accept_unverified,
        is_member: IsMember = accept_no_stranger,
        record: CallRecord = NO_RECORD,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.request = sender.request
        self.timeout = rollout.timeout
        self.agent = sender.request.agent
        self.collective = sender.request.collective
        self.caller = sender.request.caller
        self.dry_run = sender.request.dry_run
        self.action = action
        self.outcomes = outcomes or Outcomes(rollout.waiting)
        self.discovery_ms = discovery_ms
        self.total_ms = discovery_ms
        self.started = sender.request.time
        self.absent: list[str] = []
        self._discovery_ids = discovery_ids
        self._sender = sender
        self._steps = NodeSteps([NodeStep(name, part) for name, part in in_order(sender, hooks)])
        self._rollout = rollout
        self._transport = sender.transport
        self._slot = slot
        self._unresponsive = UnresponsiveNodes(sender.transport, self.collective)
        self._sent: dict[str, SentRequest] = {}  # by request ID
        self._latest: dict[str, str] = {}  # by node, the ID of the last request that was sent to it
        self._verify = verify
        self._is_member = is_member
        self._record = record
        self._unexpected_bytes = 0
        self._clock = clock
        self._began = clock()
        self._suspended = 0.0  # seconds for which the iterating program processed replies
        self._window: float | None = None  # of a broadcast discovery
        self._last_reply = self._deadline = self._began
        self._keeper = GateKeeper(gates, rollout, self._began)
        self._logged_wave = 0
        self._hint_at = self._began + (FIRST_LOOK if action.timeout <= _QUICK else _LATE_HINT)
        self._undeleted: list[Delivery] = []
        self._undeleted_since = 0.0
        self._background = ThreadPoolExecutor(1, thread_name_prefix="acknowledge")
        self.closed = False
        self.cut_short = False

    @property
    def request_id(self) -> str:
        """The ID of the first request; if no node matched, that of the request that asked the nodes."""
        return self.request.id if self._sent else next(iter(self._discovery_ids), "")

    @property
    def request_ids(self) -> list[str]:
        """The IDs of all requests so far; a node's audit log has the ID of its own wave."""
        return list(self._sent)

    @property
    def stopped(self) -> str:
        """Why the call ended before all nodes were sent to and had answered or timed out; else empty."""
        return self._rollout.stopped if self.cut_short or self._rollout.waiting else ""

    @property
    def progress(self) -> CallProgress:
        """How far the call has come; another thread may read it."""
        return self._rollout.progress(self._clock() - self._began)

    @property
    def skew(self) -> float:
        """How many seconds this machine's clock is ahead of the servers' clocks, which have whole seconds."""
        return time.time() - self._transport.now()

    def begin(self) -> None:
        """Send to the first nodes. Raises MessageError and TransportError."""
        self._send_due()

    def begin_broadcast(self, window: float, timeout: float) -> None:
        """Send to all nodes; the call ends after `window` seconds without a reply, or after `timeout` seconds."""
        wave = self._sender.broadcast()
        self._sent[wave.request.id] = SentRequest.of(wave)
        self._window = window
        self._last_reply = self._now()
        self._deadline = self._last_reply + timeout

    def __iter__(self) -> Iterator[Reply]:
        """Yield each new reply, and send to the next nodes. Raises TransportError."""
        try:
            while (wait := self._next_wait()) is not None:
                yield from self._suspend_timeouts(self._receive(wait))
                unresponsive = self._unresponsive.find(self._rollout.working, self._now())
                self._rollout.give_up(unresponsive, self._now(), repeatable=True)
                self._hint()
                self._check_gates()
                self._send_due()
        finally:
            self.close()

    def wait(self) -> Outcomes:
        """Receive all replies, and return the outcome of every node."""
        for _ in self:
            pass
        return self.outcomes

    def stop(self, reason: str) -> None:
        """Stop sending and waiting; `outcomes.stopped` is then true."""
        self._rollout.stop(reason)
        self.cut_short = True
        self.outcomes.stopped = True

    def close(self) -> None:
        """Skip the nodes not sent to, delete the received replies, and free the reply slot. May be called twice."""
        if self.closed:
            return
        self.closed = True
        self.outcomes.skip(self._rollout.waiting)
        self.outcomes.stopped = bool(self.stopped)
        self.total_ms = self.discovery_ms + (self._clock() - self._began) * 1000
        self._delete_received(everything=True)
        self._keeper.close()
        self._background.shutdown()
        self._slot.release()
        self._record.end(self)

    def still_running(self) -> tuple[list[str], float]:
        """Return the nodes that may still run the action, and for how many seconds at most."""
        limit = min(self._sender.request.timeout, self.action.timeout + self._sender.request.ttl)
        ends = {node: sent + limit for node, sent in self._rollout.working.items()}
        left = max(ends.values(), default=0.0) - self._now()
        return (sorted(ends), left) if left > 0 else ([], 0.0)

    def _hint(self) -> None:
        """Log once, while waiting, that all nodes have read the request and none has answered."""
        working = self._rollout.working
        if not working or self.outcomes.replies or self.outcomes.rejected or self._now() < self._hint_at:
            return
        if self._unresponsive.have_read(working):
            self._hint_at = float("inf")
            log.warning("reply.none", extra={"error": silence.received_by(sorted(working))})

    # -- sending

    def _send_due(self) -> None:
        """Send to the nodes that are due; nodes without a queue make room for others at once."""
        for number, nodes in self._steps.due():
            self._send(nodes, number)
        while True:
            nodes = self._rollout.due(self._now())
            if not nodes and not self._check_gates():
                return
            if nodes:
                self._log_wave()
                self._send(nodes)

    def _check_gates(self) -> bool:
        """Check the gates if it is time to; return whether a wave may begin because of it."""
        closed = self._rollout.at_gate
        if self._keeper.is_due(self._now()):
            self._keeper.look(self._view(), self._now())
        return closed and not self._rollout.at_gate and not self._rollout.stopped

    def _view(self) -> GateView:
        """Return the rollout so far, as its gates see it."""
        head = {
            "request_ids": self.request_ids,
            "collective": self.collective,
            "caller": self.caller,
            "agent": self.agent,
            "action": self.action.name,
        }
        return gate_view(head, self.action, self._rollout, self.outcomes)

    def _log_wave(self) -> None:
        """Log the beginning of each wave; with one wave there is nothing to say."""
        rollout = self._rollout
        if len(rollout.waves) > 1 and rollout.wave > self._logged_wave:
            self._logged_wave = rollout.wave
            planned = rollout.waves[rollout.wave - 1]
            rank = f" ({planned.rank})" if planned.rank else ""
            text = f"wave {rollout.wave} of {len(rollout.waves)}{rank}: {plural(len(planned.nodes), 'node')}"
            log.info("rollout.wave", extra={"error": text})

    def _send(self, nodes: list[str], step: int = 0) -> None:
        """Send a step to nodes; a message into which their names do not fit is sent in parts, each with its own ID."""
        wave = self._steps.wave(step, nodes)
        if not wave.fits():
            middle = len(nodes) // 2
            self._send(nodes[:middle], step)
            self._send(nodes[middle:], step)
            return
        self._sent[wave.request.id] = SentRequest.of(wave)
        self._latest.update(dict.fromkeys(nodes, wave.request.id))
        self._steps.sent(step, nodes, wave.request.id)
        self.outcomes.retract(self._rollout.retrying & set(nodes))
        self._record.sent(wave.request.id, nodes)
        try:
            wave.send()
        finally:
            # Timeouts run from after the sending, so that the node's own deadline ends first.
            now = self._now()
            (self._rollout.extend if step else self._rollout.sent)(sorted(wave.reached), now)
            self._unresponsive.sent(wave.reached, now)
            self._rollout.give_up(wave.absent)
            self.absent += wave.absent

    # -- waiting

    def _now(self) -> float:
        return self._clock() - self._suspended

    def _next_wait(self) -> float | None:
        """Return how many seconds to wait for the next message; None when the call is over."""
        now = self._now()
        if self._window is not None:
            left = min(self._deadline, self._last_reply + self._window) - now
            return left if left > 0 else None
        if self._rollout.over:
            return None
        look = max(self._unresponsive.wake() - now, _MIN_POLL)
        return max(0.0, min(self._rollout.wake() - now, self._keeper.wake(now) - now, look))

    def _suspend_timeouts(self, replies: list[Reply]) -> Iterator[Reply]:
        """Yield replies; no timeout runs while the iterating program processes one."""
        for reply in replies:
            since = self._clock()
            yield reply
            self._suspended += self._clock() - since

    # -- receiving

    def _receive(self, wait: float) -> list[Reply]:
        """Return the new replies that arrive within `wait` seconds, and time out nodes."""
        try:
            deliveries = self._transport.receive(self._slot.queue, min(wait, LONGEST_POLL))
        except NotFound:
            self._slot.store(self._transport.open_replies(self._slot.queue))
            return []
        now = self._now()
        if deliveries and not self._undeleted:
            self._undeleted_since = now
        self._undeleted += deliveries
        replies = [reply for reply in map(self._accept, deliveries) if reply is not None]
        if replies:
            self._last_reply = now
        # More replies may be waiting in the queue, and their nodes are not silent.
        self._rollout.expire(now - _BACKLOG if deliveries else now)
        self._delete_received()
        return replies

    def _accept(self, delivery: Delivery) -> Reply | None:
        """Return a delivery's reply when it is verified, of this call and new; else log why not."""
        try:
            envelope = messages.unseal(delivery.body)
            reply = messages.decode_reply(envelope.content)
        except MessageError as error:
            log.warning("reply.dropped", extra={"error": str(error)})
            return None
        sent = self._sent.get(reply.request)
        if sent is None:
            log.debug("reply.late", extra={"request": reply.request, "sender": reply.sender})
            return None
        if reply.sender in self.outcomes.expected and reply.sender not in sent.nodes:
            self._reject(reply, f"{reply.sender}: replied to a request that was not sent to it")
            return None
        if reply.sender not in self.outcomes.expected and not self._may_be_unexpected(reply):
            return None
        try:
            self._verify(reply, envelope)
        except SignatureError as error:
            self._reject(reply, str(error))
            return None
        if mismatch := sent.mismatch(reply):
            self._reject(reply, f"{reply.sender}: reply rejected: {mismatch}")
            return None
        if not reply.ok and self._latest.get(reply.sender, reply.request) != reply.request:
            log.debug("reply.late", extra={"request": reply.request, "sender": reply.sender})
            return None  # a retry has been sent since, and decides
        result = self._steps.result(reply, reply.sender in self._rollout.working)
        if result is None:
            return None
        reply = result
        if not self.outcomes.record(reply):
            return None
        repeatable = reply.statuscode in _MAY_PASS and reply.reason not in _NEVER_RETRIED
        self._rollout.answered(reply.sender, reply.ok, now=self._now(), repeatable=repeatable)
        self._record.received(reply)
        return reply

    def _may_be_unexpected(self, reply: Reply) -> bool:
        """Return whether a reply counts whose sender is not expected; replies of invented nodes must cost little."""
        if self._window is None and not self._is_member(reply.sender):
            self._reject(reply, f"{reply.sender}: replied without being asked, and is not in the registry")
            return False
        self._unexpected_bytes += max(_LEAST_REPLY, len(json.dumps(reply.data)))
        if self._unexpected_bytes > _MAX_UNEXPECTED:
            self._reject(reply, f"{reply.sender}: more than {_MAX_UNEXPECTED} bytes of replies that are not expected")
            return False
        return True

    def _reject(self, reply: Reply, error: str) -> None:
        """Record an invalid reply, and log it once per node; the genuine reply may still arrive."""
        rejected = self.outcomes.rejected
        if reply.sender not in rejected and len(rejected) < _MAX_LOGGED:
            log.warning("reply.rejected", extra={"error": error})
        self.outcomes.reject(reply.sender)

    def _delete_received(self, everything: bool = False) -> None:
        """Delete received replies in the background: full batches, or all when the first has waited long enough."""
        old = self._now() - self._undeleted_since >= _DELETE_DELAY
        while self._undeleted and (everything or old or len(self._undeleted) >= BATCH):
            batch, self._undeleted = self._undeleted[:BATCH], self._undeleted[BATCH:]
            self._background.submit(self._delete, batch)

    def _delete(self, batch: list[Delivery]) -> None:
        try:
            self._transport.acknowledge(self._slot.queue, batch)
        except TransportError as error:
            # The replies will be delivered again, and ignored as duplicates.
            log.warning("reply.not_deleted", extra={"error": str(error)})
