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

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import takewhile

from collective import ddl
from collective.errors import Aborted, Failed
from collective.fleet.backlog import LAST_LOOK, MOST_BACKLOG, Backlog
from collective.fleet.call_clock import BroadcastWindow, CallClock
from collective.fleet.call_timings import FIRST_REPLY, LAST_REPLY, SENT, SIGNED, CallTimings
from collective.fleet.gate_view import gate_view
from collective.fleet.gatekeeper import GateKeeper
from collective.fleet.gates import NO_GATES, Gates
from collective.fleet.outcomes import Outcomes
from collective.fleet.progress import CallProgress
from collective.fleet.recording import INTERRUPTED, NO_RECORD, CallRecord
from collective.fleet.reply_checks import IsMember, ReplyChecker, VerifyReply, accept_no_stranger, accept_unverified
from collective.fleet.reply_queue import ReplyQueue
from collective.fleet.reply_slots import Slot
from collective.fleet.rollout import Rollout
from collective.fleet.rollout_log import RolloutLog
from collective.fleet.runs.earlier_run import EarlierRun
from collective.fleet.sending import Sender, Wave, send
from collective.fleet.sent_requests import SentRequests
from collective.fleet.steps import NO_SENDERS, NodeStep, NodeSteps, in_order
from collective.fleet.unresponsive import UnresponsiveNodes
from collective.messages import Reply
from collective.transport import Delivery

_MIN_POLL = 1.0  # seconds; looking into node queues is not urgent, and SQS polls for whole seconds
_MAY_PASS = (Aborted.statuscode, Failed.statuscode)  # status codes of failures that a retry may change
_NEVER_RETRIED = frozenset({"denied", "filtered", "not_evaluated"})  # reasons of failures that a retry does not change
_UNKNOWN = 100  # replies that are expected of a broadcast, whose nodes are not known


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
        self._unresponsive = UnresponsiveNodes(sender.transport, self.collective)
        self._sent = SentRequests()
        self._checker = ReplyChecker(self._sent, self.outcomes, verify, is_member)
        self._replies = ReplyQueue(sender.transport, slot)
        self._record = record
        self._clock = CallClock(clock)
        self._backlog = Backlog(self._clock.began)
        self._timings = CallTimings()
        self._window: BroadcastWindow | None = None
        self._keeper = GateKeeper(gates, rollout, self._clock.began, record)
        self._log = RolloutLog(rollout, self._unresponsive, action, self._clock.began)
        self.closed = False
        self.cut_short = False
        self.reached_before: frozenset[str] = frozenset()  # nodes that earlier callers of the run have reached

    @property
    def request_id(self) -> str:
        """The ID of the first request; if no node matched, that of the request that asked the nodes."""
        return self.request.id if self._sent.ids else next(iter(self._discovery_ids), "")

    @property
    def request_ids(self) -> list[str]:
        """The IDs of all requests so far; a node's audit log has the ID of its own wave."""
        return self._sent.ids

    @property
    def stopped(self) -> str:
        """Why the call ended before all nodes were sent to and had answered or timed out; else empty."""
        return self._rollout.stopped if self.cut_short or self._rollout.waiting else ""

    @property
    def progress(self) -> CallProgress:
        """How far the call has come; another thread may read it."""
        return self._rollout.progress(self._clock.elapsed())

    @property
    def skew(self) -> float:
        """How many seconds this machine's clock is ahead of the servers' clocks, which have whole seconds."""
        return time.time() - self._transport.now()

    def begin(self) -> None:
        """Send to the first nodes. Raises MessageError and TransportError."""
        self._obey()
        self._send_due()

    def begin_broadcast(self, window: float, timeout: float) -> None:
        """Send to all nodes; the call ends after `window` seconds without a reply, or after `timeout` seconds."""
        wave = self._sender.broadcast()
        self._sent.add(wave)
        self._checker.broadcast = True
        now = self._clock.now()
        self._window = BroadcastWindow(window, now, now + timeout)

    def __iter__(self) -> Iterator[Reply]:
        """Yield each new reply, and send to the next nodes. Raises TransportError."""
        try:
            while (wait := self._next_wait()) is not None:
                yield from self._clock.suspended_for(self._receive(wait))
                if not self._backlog.full:  # else it is too early to look for silent nodes
                    unresponsive = self._unresponsive.find(self._rollout.working, self._clock.now())
                    self._rollout.give_up(unresponsive, self._clock.now(), repeatable=True)
                self._log.hint_no_reply(self.outcomes, self._clock.now())
                self._obey()
                self._check_gates()
                self._send_due()
        except KeyboardInterrupt:
            self.stop(INTERRUPTED)
            raise
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

    def continue_from(self, earlier: EarlierRun) -> None:
        """Go on after another caller: take over the outcomes of the nodes that it has reached."""
        self._rollout.restore(earlier.ended, self._clock.now())
        self._steps.begun = bool(earlier.ended)
        self.reached_before = frozenset(earlier.ended)
        for reply in earlier.replies:
            self.outcomes.record(reply)

    def close(self) -> None:
        """Skip the nodes not sent to, and free the reply slot. May be called twice.

        Received replies are deleted in the background: the results need not wait for that. `settle` does.
        """
        if self.closed:
            return
        self.closed = True
        self.outcomes.skip(self._rollout.waiting)
        self.outcomes.stopped = bool(self.stopped)
        self.total_ms = self.discovery_ms + self._clock.elapsed() * 1000
        self._keeper.close()
        self._replies.close(self._clock.now())
        self._record.end(self)
        self._timings.log(self.discovery_ms, len(self.outcomes.replies))

    def settle(self) -> None:
        """Close the call, and wait until the received replies are deleted: the next call would receive them again."""
        self.close()
        self._replies.settle()

    def still_running(self) -> tuple[list[str], float]:
        """Return the nodes that may still run the action, and for how many seconds at most."""
        limit = min(self._sender.request.timeout, self.action.timeout + self._sender.request.ttl)
        ends = {node: sent + limit for node, sent in self._rollout.working.items()}
        left = max(ends.values(), default=0.0) - self._clock.now()
        return (sorted(ends), left) if left > 0 else ([], 0.0)

    # -- sending

    def _send_due(self) -> None:
        """Send to the nodes that are due; nodes without a queue make room for others at once."""
        for number, nodes in self._steps.due():
            self._send(nodes, number)
            if self.cut_short:
                return
        while True:
            nodes = self._rollout.due(self._clock.now())
            if not nodes and not self._check_gates():
                return
            if nodes:
                self._log.begin_wave()
                self._send(nodes)

    def _check_gates(self) -> bool:
        """Check the gates if it is time to; return whether a wave may begin because of it."""
        closed = self._rollout.at_gate
        if self._keeper.is_due(self._clock.now()):
            view = gate_view(self.request, self.request_ids, self.action, self.outcomes, self._rollout)
            self._keeper.look(view, self._clock.now())
        return closed and not self._rollout.at_gate and not self._rollout.stopped

    def _send(self, nodes: list[str], step: int = 0) -> None:
        """Send a step to nodes, in one message or in several, each with its own ID."""
        prepared = self._steps.waves(step, nodes)
        self._timings.note(SIGNED)
        waves = list(takewhile(lambda wave: self._recorded(wave, step), prepared))
        if len(waves) < len(prepared):
            self._obey()
        for wave in waves:
            self._sent.add(wave, wave.nodes)
            self._steps.sent(step, wave.nodes, wave.request.id)
        self.outcomes.retract(self._rollout.retrying & set(nodes))
        try:
            send(waves)
        finally:
            self._timings.note(SENT)
            # Timeouts run from after the sending, so that the node's own deadline ends first.
            now = self._clock.now()
            reached = sorted({node for wave in waves for node in wave.reached})
            absent = [node for wave in waves for node in wave.absent]
            (self._rollout.extend if step else self._rollout.sent)(reached, now)
            self._unresponsive.sent(reached, now)
            self._rollout.give_up(absent)
            self.absent += absent

    def _recorded(self, wave: Wave, step: int) -> bool:
        """Record a wave before it is sent; return False when it must not be sent."""
        return self._record.sent(wave.request.id, list(wave.nodes), self._steps.name(step), further=step > 0)

    def _obey(self) -> None:
        """Do what others have ordered, and report which nodes have become silent."""
        if given_up := self._rollout.take_given_up():
            self._record.silent(given_up)
        ordered = self._record.ordered()
        self._rollout.paused = ordered.paused
        if ordered.stopped:
            self._rollout.stop(ordered.stopped)
        if ordered.lost:
            self.stop(ordered.lost)

    # -- waiting

    def _next_wait(self) -> float | None:
        """Return how many seconds to wait for the next message; None when the call is over."""
        now = self._clock.now()
        if self._window is not None:
            left = self._window.left(now)
            late = self._backlog.waiting and now < self._window.deadline + MOST_BACKLOG
            return LAST_LOOK if left is None and late else left
        if self._rollout.over or self.cut_short:
            return None
        look = min(max(self._unresponsive.wake() - now, _MIN_POLL), self._record.wake())
        wake = self._rollout.wake() - now
        if wake <= 0 and self._backlog.waiting:
            wake = LAST_LOOK  # a timeout is over, and the reply may be in the queue
        return max(0.0, min(wake, self._keeper.wake(now) - now, look))

    # -- receiving

    def _receive(self, wait: float) -> list[Reply]:
        """Return the new replies that arrive within `wait` seconds, and time out nodes."""
        deliveries = self._replies.receive(wait, len(self._rollout.working) if self._window is None else _UNKNOWN)
        if deliveries is None:
            return []
        now = self._clock.now()
        self._backlog.note(deliveries, now, self._transport.now(), empty=self._replies.empty)
        self._replies.delete_later(deliveries, now)
        self._replies.delete_due(now)
        if deliveries:
            self._timings.note(FIRST_REPLY)
        replies = [reply for reply in map(self._accept, deliveries) if reply is not None]
        if replies:
            self._timings.note(LAST_REPLY)
        if replies and self._window is not None:
            self._window.last_reply = now
        self._rollout.expire(self._backlog.heard(now))
        self._replies.delete_due(self._clock.now())
        return replies

    def _accept(self, delivery: Delivery) -> Reply | None:
        """Return the new result of a node if a delivery is one, after recording it."""
        valid = self._checker.valid_reply(delivery)
        if valid is None:
            return None
        reply = self._steps.result(valid, valid.sender in self._rollout.working)
        if reply is None or not self.outcomes.record(reply):
            return None
        repeatable = reply.statuscode in _MAY_PASS and reply.reason not in _NEVER_RETRIED
        self._rollout.answered(reply.sender, reply.ok, now=self._clock.now(), repeatable=repeatable)
        self._record.received(reply)
        return reply
