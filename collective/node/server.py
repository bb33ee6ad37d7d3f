"""Serve requests: `Server.handle` is the line that every delivery goes down, step by step.

    receive ─► handle ─► 1 read ─ 2 new? fresh? ─ 3 meant for me? ─ 4 allowed? ─ 5 filter ─ 6 inputs
                     │      └─► workshop: 7 run the action ─► replies: 8 audit, remember, sign, send
    resume ──────────┘  what an earlier daemon took on and did not start

One thread receives and does steps 1 to 6, which are quick and bounded; it never waits for an action. A filter that
asks data functions may take seconds: from there on such a request goes down the line in a thread of the workshop's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import replace

from collective import data_ddl, names, signing
from collective.errors import Aborted, Failed, MessageError, RPCError
from collective.filters import Filter, matches, uses_data
from collective.messages import MAX_SKEW, Request
from collective.node.actions.monitor import ActionResult, failed
from collective.node.actions.runner import Runner
from collective.node.facts import Facts
from collective.node.plugins.agents import LoadedAgents
from collective.node.plugins.plugin_set import Plugins
from collective.node.requests.authorization import Decides, Decisions, NodeView, Stage
from collective.node.requests.counters import FATES, Counters, Durations
from collective.node.requests.data_queries import DataQueries, FilterQuestions, questions
from collective.node.requests.duplicates import DuplicateCounter
from collective.node.requests.reader import RequestReader
from collective.node.requests.receiver import Receiver
from collective.node.requests.replies import Replies
from collective.node.requests.scheduler import Scheduler, Work, threads
from collective.node.storage.audit_log import ALLOWED, AuditLog
from collective.node.storage.journal import STARTED, TAKEN, Journal, noting
from collective.transport import POLL, Delivery, Transport

log = logging.getLogger(__name__)


class _Silence(Exception):
    """The request is not for this node, or needs no answer; the text is what to count."""


class Server:
    """One node of one collective. Everything outside it enters here; `inside` makes what rpcutil's actions see."""

    def __init__(
        self,
        *,
        collective: str,
        identity: str,
        transport: Transport,
        plugins: Plugins,
        facts: Facts,
        policy: Decides,
        audit: AuditLog,
        journal: Journal,
        runner: Runner,
        sign: signing.SignPayload,
        verify: signing.VerifyPayload,
        max_actions: int = 10,
        max_queued: int = 100,
        agent_limits: Mapping[str, int] | None = None,
        make_pool: Callable[[int, str], Executor] = threads,
    ) -> None:
        self.collective = collective
        self.identity = identity
        self.queue = names.node_queue(collective, identity)
        self.facts = facts
        self.plugins = plugins
        self._runner = runner
        self.counts = Counters()  # FATES, and more
        self.ages = Durations()  # of requests, on receipt
        self._transport = transport
        self._decisions = Decisions(policy, audit, self._view)
        self._audit = audit
        self._reader = RequestReader(collective, verify, self.counts)
        self._journal = journal
        self._repeats = DuplicateCounter()
        self.replies = Replies(identity, transport, sign, audit, journal, self.counts)
        self.workshop = Scheduler(
            runner,
            self.replies,
            facts,
            self,
            transport.now,
            max_actions,
            max_queued,
            agent_limits or {},
            make_pool,
        )
        self.receiver = Receiver(transport, self.queue, names.topic(collective), self.handle)

    @property
    def agents(self) -> LoadedAgents:
        """The agents that serve now."""
        return self.plugins.agents

    @property
    def data(self) -> DataQueries:
        """The data functions that serve now."""
        return self._answers(self.plugins)

    def use(self, plugins: Plugins) -> None:
        """Serve by these from now on; requests that have begun go on by those that they began with."""
        self.plugins = plugins

    @property
    def audit_head(self) -> str | None:
        """The hash of the audit's last line."""
        return self._audit.head

    # -- receiving

    def open(self) -> None:
        """Make this node's queue and subscribe it, trying until the transport is there.

        Then go on with what an earlier daemon left, which from the first request on nobody could tell from our own.
        """
        self.receiver.open()
        with noting():
            self._journal.mark_beginning()  # not before: until it has answered, the server's time is our own
        self.replies.start()
        self.resume()

    def serve(self) -> None:
        """Receive and handle requests until `stop`."""
        self.receiver.serve()

    def receive_once(self, wait: float = POLL) -> None:
        """Wait for requests for at most `wait` seconds, handle and acknowledge them. Raise TransportError."""
        self.receiver.receive_once(wait)

    def resume(self) -> None:
        """Go on with what an earlier daemon took on: run what it had not started, tell who waits for what it had."""
        left: list[str] = []
        with noting():
            left = [*self._journal.left(STARTED), *self._journal.left(TAKEN)]
        for request_id in left:
            self._resume_or_drop(request_id)

    def stop(self, timeout: float) -> None:
        """Take on nothing new, let what runs finish for at most `timeout` seconds, then end it as interrupted."""
        self.receiver.stop()
        self.workshop.stop(timeout)
        self._journal.close()
        self._audit.close()

    # -- the line

    def handle(self, delivery: Delivery) -> None:
        """Take one delivery down the line; each step may end it. Never raises for what a message says."""
        self.counts.add("received")
        self.ages.add(max(0.0, delivery.received - delivery.sent))
        try:
            request, stage = self._reader.read(delivery, self.plugins)  # 1
        except MessageError as error:
            self._reader.drop(error)
            return
        except Exception:
            self.counts.add("defects")
            raise
        with self._refusing(request, stage):
            self._check_new(request, stage)  # 2
            self._check_target(request)  # 3
            self._take_on(request, delivery)
            self._consider(request, delivery, stage)

    def _resume_or_drop(self, request_id: str) -> None:
        """Resume a request; one that a defect of ours ends must not end each next daemon, too."""
        try:
            with noting():
                self._resume(request_id)
        except Exception:
            log.exception("node.defect", extra={"request": request_id})
            if not self.receiver.stopping:
                with noting():
                    self._journal.done(request_id)

    def _resume(self, request_id: str) -> None:
        entry = self._journal.find(request_id)
        assert entry is not None  # noqa: S101 - nobody else drops what is not answered
        self.counts.add("resumed")
        log.info("request.resumed", extra={"request": request_id, "state": entry.state})
        delivery = Delivery(entry.body, entry.sent, received=self._transport.now(), receipt="")
        try:
            request, stage = self._reader.read(delivery, self.plugins)
        except MessageError as error:  # it was good when it came: keys and versions change
            self._reader.drop(error)
            self._journal.done(request_id)
            return
        if entry.state == STARTED:
            answer = failed("interrupted", "the node stopped before it could note how the action ended")
            self.counts.add("interrupted")
            self.workshop.answer(lambda: self.replies.conclude(request, answer, 0.0))
            return
        with self._refusing(request, stage):
            self._consider(request, delivery, stage)

    def _consider(self, request: Request, delivery: Delivery, stage: Stage) -> None:
        """Go on down the line with a request that is in the journal."""
        self._check_fresh(request, delivery, stage)
        self._decisions.allow(request, stage)  # 4
        stage.verdict = "filtered"
        asked = self._read_filter(request)
        stage.asks = questions(request, asked)
        for function, query in stage.asks:
            self._decisions.allow(_about_data(request, function, query), stage)
        if uses_data(asked):
            self.workshop.consider(request.agent, lambda: self._admit_apart(request, delivery, asked, stage))
        else:
            self._admit(request, delivery, asked, stage)

    def _admit_apart(self, request: Request, delivery: Delivery, asked: Filter, stage: Stage) -> None:
        """Go on down the line in a thread of the workshop's."""
        with self._refusing(request, stage):
            self._admit(request, delivery, asked, stage)

    def _admit(self, request: Request, delivery: Delivery, asked: Filter, stage: Stage) -> None:
        self._check_filter(request, delivery, asked, stage)  # 5
        stage.verdict = "invalid"
        work = self._check_input(request, delivery, stage)  # 6
        stage.verdict = "busy"
        self.workshop.submit(work)  # 7, 8
        self.counts.add("passed")

    @contextmanager
    def _refusing(self, request: Request, stage: Stage) -> Iterator[None]:
        """Count what ends the line in silence, and answer what ends it with a refusal."""
        try:
            yield
        except _Silence as silence:
            self.counts.add(str(silence))
        except RPCError as refusal:
            self.counts.add(_counter(refusal))
            self._refuse(request, refusal, stage)
        except Exception:
            self.counts.add("defects")
            if self.receiver.stopping:
                raise  # what it needs is being closed: it comes again
            log.exception("node.defect", extra={"request": request.id})
            self._refuse(request, Failed("a defect of this node, which its log shows", reason="crashed"), stage)

    def _check_new(self, request: Request, stage: Stage) -> None:
        entry = self._journal.find(request.id)
        if entry is None:
            return
        if not self._repeats.add(request.id):
            raise _Silence("duplicates")
        self._decisions.note(request, stage, "duplicate")
        if entry.reply:
            self.workshop.answer(lambda: self.replies.repeat(entry))
        raise _Silence("duplicates")

    def _check_target(self, request: Request) -> None:
        if request.targets is not None and self.identity not in request.targets:
            raise _Silence("elsewhere")

    def _take_on(self, request: Request, delivery: Delivery) -> None:
        self._journal.begin(
            request.id,
            sent=delivery.sent,
            received=delivery.received,
            until=delivery.sent + request.timeout,
            reply_to=request.reply_to,
            body=delivery.body,
        )

    def _check_fresh(self, request: Request, delivery: Delivery, stage: Stage) -> None:
        age = delivery.received - delivery.sent
        skew = request.time - delivery.sent
        if age > request.ttl:
            error = f"it arrived after {age:.0f} s and was valid for {request.ttl:.0f} s"
        elif abs(skew) > MAX_SKEW:
            error = f"the caller's clock is {skew:+.0f} s off, {MAX_SKEW:.0f} s are allowed: set it right"
        elif self._journal.too_early(min(delivery.sent, request.time)):
            # By the signed time too: a captured message that is sent again has a new stamp.
            error = "it was sent before this node's journal began, and may have run already"
        else:
            return
        if request.targets is None:  # no answer will be audited: whether the filter meant this node, nobody looked
            self._decisions.note(request, stage)
        self._refuse_or_be_silent(request, Failed(f"the request has expired: {error}", reason="expired"))

    def _read_filter(self, request: Request) -> Filter:
        try:
            return Filter.from_data(request.filter)
        except MessageError as error:
            raise Failed(f"the filter cannot be read: {error}", reason="filtered") from None

    def _check_filter(self, request: Request, delivery: Delivery, asked: Filter, stage: Stage) -> None:
        left = delivery.sent + request.timeout - self._transport.now()
        data = FilterQuestions(self._answers(stage.plugins), request.caller, left)
        if not matches(asked, self._view(stage.plugins), data):
            why = "".join(f": {error}" for error in data.problems[:1])
            refusal = Failed(f"the filter does not match this node{why}", reason="filtered")
            self._refuse_or_be_silent(request, refusal)

    def _check_input(self, request: Request, delivery: Delivery, stage: Stage) -> Work:
        agent, action = stage.plugins.agents.find(request.agent, request.action)
        return Work(
            request=request,
            agent=agent,
            action=action,
            data=action.check_input(request.data),
            begin=lambda: self._begin(request, stage),
            deadline=delivery.sent + request.timeout,
        )

    # -- small parts

    def _view(self, plugins: Plugins) -> NodeView:
        return NodeView(self.identity, self.facts.current, self.facts.classes, plugins.agents)

    def _answers(self, plugins: Plugins) -> DataQueries:
        return DataQueries(plugins, self._runner, self.facts)

    def _refuse_or_be_silent(self, request: Request, refusal: Failed) -> None:
        """End the line: a node that is named in `targets` never stays silent, any other does."""
        if request.targets is None:
            with noting():
                self._journal.done(request.id)
            raise _Silence(_counter(refusal))
        raise refusal

    def _refuse(self, request: Request, refusal: RPCError, stage: Stage) -> None:
        self._decisions.note(request, stage)
        answer = ActionResult(refusal.statuscode, str(refusal), refusal.reason, refusal.data)
        self.workshop.answer(lambda: self.replies.conclude(request, answer, 0.0))

    def _begin(self, request: Request, stage: Stage) -> bool:
        """Write down that a request is run now, and return whether it may: what cannot be written is not done."""
        self._decisions.record(request, stage, ALLOWED)
        return self._journal.start(request.id)


def _counter(refusal: RPCError) -> str:
    """Return the count that a refusal belongs to."""
    if isinstance(refusal, Aborted):
        return "denied"
    return refusal.reason if refusal.reason and refusal.reason in FATES else "invalid"


def _about_data(request: Request, function: str, query: str) -> Request:
    """Return what the policy is asked about a data function: a request for the action `function` of `data`."""
    return replace(request, agent=data_ddl.AGENT, action=function, data={"query": query})
