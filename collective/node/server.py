"""Serve requests: `Server.handle` is the line that every delivery goes down, step by step.

    receive ─► handle ─► 1 read ─ 2 fresh? new? ─ 3 meant for me? ─ 4 allowed? ─ 5 filter ─ 6 inputs
                            └──────► a thread of the pool: 7 run ─ 8 audit, remember, send

The receiving thread does steps 1 to 6, which are quick and bounded; each action then waits in a pool for its turn.
`rpcutil` has a pool of its own, so that a node busy with ten installs still answers `ping`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from collective import ddl, messages, names, signing
from collective.errors import (
    Aborted,
    Failed,
    MessageError,
    MessageTooLarge,
    QueueNotFound,
    RPCError,
    TransportError,
)
from collective.filters import Filter, matches
from collective.messages import Reply, Request
from collective.node.agents import INSIDE, Agent, Agents
from collective.node.audit import Audit
from collective.node.facts import Facts
from collective.node.journal import Journal
from collective.node.keeper import Answer, Job
from collective.node.policy import Policy
from collective.node.runner import Runner
from collective.transport import Delivery, Transport

log = logging.getLogger(__name__)

MAX_SKEW = 300.0  # seconds between a request's own time and the server's
_POLL = 20.0  # seconds of one long poll
_LONGEST_PAUSE = 30.0  # seconds between tries when the transport is away
_DROP_LOG_PERIOD = 60.0  # seconds between log lines about dropped messages


class _Silence(Exception):  # noqa: N818 - an end of the line, not an error
    """The request is not for this node, or needs no answer; the text is what to count."""


@dataclass(frozen=True)
class _Work:
    """An admitted request with everything that it takes to run it. `deadline`: seconds of the server's clock."""

    request: Request
    agent: Agent
    action: ddl.Action
    data: Mapping[str, Any]
    deadline: float


@dataclass(frozen=True)
class NodeView:
    """What a filter sees of this node."""

    identity: str
    facts: Mapping[str, Any]
    classes: frozenset[str]
    agents: Agents


class Server:
    """One node's side of one collective. Everything outside it enters here; sizes are counts, durations seconds."""

    def __init__(  # noqa: PLR0913 - the node's parts
        self,
        *,
        collective: str,
        identity: str,
        transport: Transport,
        agents: Agents,
        facts: Facts,
        policy: Policy,
        audit: Audit,
        runner: Runner,
        sign: signing.Sign,
        verify: signing.Verify,
        inside: Any = None,
        max_actions: int = 10,
        max_queued: int = 100,
    ) -> None:
        self.collective = collective
        self.identity = identity
        self.queue = names.node_queue(collective, identity)
        self.agents = agents
        self.facts = facts
        self.counts: Counter[str] = Counter()
        self._transport = transport
        self._policy = policy
        self._audit = audit
        self._runner = runner
        self._sign = sign
        self._verify = verify
        self._inside = inside
        self._journal = Journal(began=transport.now())
        self._room = threading.BoundedSemaphore(max_actions + max_queued)
        self._actions = ThreadPoolExecutor(max_actions, thread_name_prefix="action")
        self._answers = ThreadPoolExecutor(2, thread_name_prefix="answer")
        self._stopping = threading.Event()
        self._running = 0
        self._changed = threading.Condition()
        self._next_drop_log = 0.0

    # -- receiving

    def open(self) -> None:
        """Make this node's queue and subscribe it, trying until the transport is there."""
        self._persist(lambda: self._transport.open_node(self.queue, names.topic(self.collective)))

    def serve(self) -> None:
        """Receive and handle requests until `stop`; a transport that goes away is waited for."""
        while not self._stopping.is_set():
            self._persist(self._receive_once)

    def stop(self, timeout: float) -> None:
        """Take on nothing new, let what runs finish for at most `timeout` seconds, then end it as interrupted."""
        self._stopping.set()
        if not self._idle(timeout):
            self._runner.stop()
            self._idle(_POLL)
        self._actions.shutdown(wait=False, cancel_futures=True)
        self._answers.shutdown(wait=False, cancel_futures=True)

    @property
    def running(self) -> int:
        """How many requests are being worked at, or wait for their turn."""
        return self._running

    def _idle(self, timeout: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: not self._running, timeout)

    def _receive_once(self) -> None:
        try:
            deliveries = self._transport.receive(self.queue, _POLL)
        except QueueNotFound:
            log.warning("queue.lost", extra={"queue": self.queue})
            self._transport.open_node(self.queue, names.topic(self.collective))
            return
        if self._stopping.is_set() or not deliveries:
            return  # what we leave unread comes back to whoever serves next
        for delivery in deliveries:
            self.handle(delivery)
        self._transport.acknowledge(self.queue, deliveries)

    def _persist(self, step: Callable[[], None]) -> None:
        """Do one step, again and again while the transport is away, with growing pauses."""
        pause = 1.0
        while not self._stopping.is_set():
            try:
                step()
            except TransportError as fault:
                log.warning("transport.failed", extra={"fault": str(fault), "retry_s": pause})
                self._stopping.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                return

    # -- the line

    def handle(self, delivery: Delivery) -> None:
        """Take one delivery down the line; each step may end it. Never raises for what a message says."""
        self.counts["received"] += 1
        try:
            request = self._read(delivery)  # 1
        except MessageError as fault:
            self._drop(fault)
            return
        verdict, rule = "refused", None
        try:
            self._check_new(request)  # 2
            self._check_target(request)  # 3
            self._journal.begin(request.id, delivery.received)
            self._check_fresh(request, delivery)
            verdict = "deny"
            rule = self._policy.check(request)  # 4
            verdict = "filtered"
            self._check_filter(request)  # 5
            verdict = "invalid"
            work = self._check_input(request, delivery)  # 6
            self._decide(request, "allow", rule)
            self._submit(work)  # 7, 8
        except _Silence as silence:
            self.counts[str(silence)] += 1
        except RPCError as refusal:
            self.counts[_counter(refusal)] += 1
            self._refuse(request, refusal, verdict, rule)

    def _read(self, delivery: Delivery) -> Request:
        envelope = messages.unseal(delivery.body)
        request = messages.decode_request(envelope.content)
        self._verify(envelope.payload, envelope.signature, request.caller)
        if request.collective != self.collective:
            raise MessageError(f"request: it is for the collective '{request.collective}'")
        if not names.is_reply_queue(request.reply_to, self.collective):
            raise MessageError(f"request: '{request.reply_to}' is no reply queue of this collective")
        self.counts["validated"] += 1
        return request

    def _check_new(self, request: Request) -> None:
        entry = self._journal.find(request.id)
        if entry is None:
            return
        if entry.reply is not None:
            again = replace(entry.reply, replayed=True)
            self._answers.submit(self._send, request, again, time.monotonic() + request.timeout)
        raise _Silence("duplicates")

    def _check_target(self, request: Request) -> None:
        if request.targets is not None and self.identity not in request.targets:
            raise _Silence("elsewhere")

    def _check_fresh(self, request: Request, delivery: Delivery) -> None:
        age = delivery.received - delivery.sent
        skew = request.time - delivery.sent
        fault = None
        if age > request.ttl:
            fault = f"it arrived after {age:.0f} s and was valid for {request.ttl:.0f} s"
        elif abs(skew) > MAX_SKEW:
            fault = f"the caller's clock is {skew:+.0f} s off, {MAX_SKEW:.0f} s are allowed: set it right"
        elif self._journal.too_early(delivery.sent):
            fault = "it was sent before this daemon started, and may have been run by the one before"
        if fault:
            self._refuse_quietly_unless_named(
                request, Failed(f"the request has expired: {fault}", reason="expired")
            )

    def _check_filter(self, request: Request) -> None:
        view = NodeView(self.identity, self.facts.current, self.facts.classes, self.agents)
        try:
            wanted = matches(Filter.from_data(request.filter), view, _no_data)
        except MessageError as fault:
            raise Failed(f"the filter cannot be read: {fault}", reason="filtered") from None
        if not wanted:
            refusal = Failed("the filter does not match this node", reason="filtered")
            self._refuse_quietly_unless_named(request, refusal)

    def _check_input(self, request: Request, delivery: Delivery) -> _Work:
        agent, action = self.agents.find(request.agent, request.action)
        data = action.check_input(request.data)
        return _Work(request, agent, action, data, deadline=delivery.sent + request.timeout)

    def _refuse_quietly_unless_named(self, request: Request, refusal: Failed) -> None:
        """End the line: a node that is named in `targets` never stays silent, any other does."""
        if request.targets is None:
            raise _Silence(_counter(refusal))
        raise refusal

    # -- the work

    def _submit(self, work: _Work) -> None:
        if work.agent.name == INSIDE:
            pool = self._answers
        elif self._room.acquire(blocking=False):
            pool = self._actions
        else:
            raise Failed("this node has too much to do: try again later", reason="busy")
        self._change_running(+1)
        self.counts["passed"] += 1
        pool.submit(self._perform, work)

    def _perform(self, work: _Work) -> None:
        """Do one admitted piece of work from start to reply, in a thread of a pool."""
        try:
            started = time.monotonic()
            answer = self._run_action(work)
            elapsed = time.monotonic() - started
            self._conclude(work.request, self._reply(work.request, answer, elapsed), work.deadline)
        except Exception:
            log.exception("request.defect", extra={"request": work.request.id})
        finally:
            if work.agent.name != INSIDE:
                self._room.release()
            self._change_running(-1)

    def _run_action(self, work: _Work) -> Answer:
        timeout = min(work.action.timeout, work.deadline - self._transport.now())
        if timeout <= 0:
            return Answer(5, "it waited for its turn until its caller had left", "expired")
        try:
            answer = self._call(work, timeout)
            if answer.statuscode:
                return answer if isinstance(answer.data, dict) else replace(answer, data={})
            return replace(answer, data=work.action.check_output(answer.data))
        except RPCError as fault:
            return Answer(fault.statuscode, str(fault), fault.reason, fault.data)

    def _call(self, work: _Work, timeout: float) -> Answer:
        available = {
            "settings": work.agent.settings,
            "caller": work.request.caller,
            "facts": self.facts.current,
            "deadline": time.monotonic() + timeout,
        }
        if work.agent.name == INSIDE:
            function = work.agent.functions[work.action.name]
            supplied = work.agent.supplied(work.action.name, {**available, "node": self._inside})
            return Answer(data=function(**work.data, **supplied))
        supplied = work.agent.supplied(work.action.name, available)
        return self._runner.run(Job(str(work.agent.path), work.action.name, work.data, supplied), timeout)

    # -- the answer

    def _refuse(self, request: Request, refusal: RPCError, verdict: str, rule: str | None) -> None:
        try:
            self._decide(request, verdict, rule)
        except Failed as fault:
            refusal = fault
        answer = Answer(refusal.statuscode, str(refusal), refusal.reason, refusal.data)
        deadline = self._transport.now() + request.timeout
        self._answers.submit(self._conclude, request, self._reply(request, answer, 0.0), deadline)

    def _decide(self, request: Request, verdict: str, rule: str | None) -> None:
        known = self.agents.get(request.agent)
        action = known.ddl.actions.get(request.action) if known else None
        # Without a DDL nobody knows what is secret, so nothing is written.
        data = action.masked(request.data) if action else dict.fromkeys(request.data, "********")
        self._audit.decision(request, data, verdict, rule)

    def _conclude(self, request: Request, reply: Reply, deadline: float) -> None:
        """Step 8: audit the outcome, remember the answer, send it."""
        try:
            self._audit.outcome(reply)
        except Failed as fault:
            log.error("audit.failed", extra={"fault": str(fault)})
        self._journal.finish(request.id, reply)
        self._send(request, reply, time.monotonic() + max(1.0, deadline - self._transport.now()))
        log.info(
            "request.handled",
            extra={
                "request": request.id,
                "caller": request.caller,
                "agent": request.agent,
                "action": request.action,
                "statuscode": reply.statuscode,
                "reason": reply.reason,
                "elapsed_ms": reply.elapsed_ms,
            },
        )

    def _reply(self, request: Request, answer: Answer, elapsed: float) -> Reply:
        return Reply(
            request=request.id,
            sender=self.identity,
            agent=request.agent,
            action=request.action,
            statuscode=answer.statuscode,
            statusmsg=answer.statusmsg,
            reason=answer.reason,
            data=answer.data,
            time=self._transport.now(),
            elapsed_ms=round(elapsed * 1000, 1),
        )

    def _send(self, request: Request, reply: Reply, until: float) -> None:
        """Send a reply, again and again while the transport is away and somebody may wait for it."""
        body = messages.seal(messages.encode(reply), self._sign)
        pause = 1.0
        while True:
            try:
                self._transport.send(request.reply_to, body)
            except MessageTooLarge as fault:
                text = f"the reply is too large: {fault.size} bytes, {fault.limit} are carried: ask for less"
                reply = replace(reply, statuscode=5, statusmsg=text, reason="crashed", data={})
                body = messages.seal(messages.encode(reply), self._sign)
            except QueueNotFound:
                self.counts["unwanted"] += 1
                return  # the caller has gone, and its queue with it
            except TransportError as fault:
                if time.monotonic() + pause > until:
                    self.counts["lost"] += 1
                    log.warning("reply.lost", extra={"request": request.id, "fault": str(fault)})
                    return
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                self.counts["replies"] += 1
                return

    # -- small parts

    def _change_running(self, by: int) -> None:
        with self._changed:
            self._running += by
            self._changed.notify_all()

    def _drop(self, fault: MessageError) -> None:
        self.counts["unvalidated"] += 1
        now = time.monotonic()
        if now >= self._next_drop_log:  # nobody shall fill a disk by sending rubbish
            self._next_drop_log = now + _DROP_LOG_PERIOD
            log.warning("request.dropped", extra={"fault": str(fault), "so_far": self.counts["unvalidated"]})


def _counter(refusal: RPCError) -> str:
    """Return the count that a refusal belongs to."""
    if isinstance(refusal, Aborted):
        return "denied"
    return refusal.reason or "invalid"


def _no_data(_function: str, _query: str) -> None:
    """Answer a filter's data function: this node has none yet, which makes the whole filter false."""
