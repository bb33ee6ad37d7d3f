"""One node of one collective: connect the parts that process requests, and start and stop them.

Receiver ─► Pipeline ─► Scheduler ─► RequestPools ─► RequestExecutor ─► Runner
               │                                           └──────────► Replies
               └─► Refusals ───────────────────────────────────────────────┘
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from collective import names, signing
from collective.node.actions.runner import Runner
from collective.node.facts import Facts
from collective.node.info import RunningNodeInfo
from collective.node.jobs.control import WorkControl
from collective.node.jobs.job_scheduler import JobParts, JobScheduler
from collective.node.jobs.orders import Freeze, Orders, Revocations
from collective.node.jobs.running_requests import RunningRequests
from collective.node.jobs.store import JobStore, open_database
from collective.node.plugins.agents import LoadedAgents
from collective.node.plugins.plugin_set import Plugins
from collective.node.requests.action_caller import ActionCaller
from collective.node.requests.admission import Admission
from collective.node.requests.authorization import Authorizer, DecidingPolicy
from collective.node.requests.counters import Statistics
from collective.node.requests.decision_audit import DecisionAudit
from collective.node.requests.duplicate_counter import DuplicateCounter
from collective.node.requests.executor import RequestExecutor
from collective.node.requests.older_callers import OlderCallers
from collective.node.requests.pipeline import Pipeline
from collective.node.requests.pools import MakePool, RequestPools, thread_pool
from collective.node.requests.receiver import Receiver
from collective.node.requests.refusals import Refusals
from collective.node.requests.replies import Replies
from collective.node.requests.request_decoder import RequestDecoder
from collective.node.requests.scheduler import Scheduler
from collective.node.state import CheckedFile, NodeState
from collective.node.storage.audit_log import AuditLog
from collective.node.storage.database import Database
from collective.node.storage.journal import Journal, noting
from collective.transport import Transport

_ENDING = 20.0  # seconds for interrupted actions to be killed and answered


@dataclass(frozen=True)
class ServerParts:
    """What a server works with: everything outside it, and its limits (see RequestPools)."""

    transport: Transport
    plugins: Plugins
    facts: Facts
    policy: DecidingPolicy
    audit: AuditLog
    journal: Journal
    runner: Runner
    sign: signing.SignPayload
    verify: signing.VerifyPayload
    max_actions: int = 10
    max_queued: int = 100
    agent_limits: Mapping[str, int] = field(default_factory=dict)
    jobs: Database = field(default_factory=lambda: open_database(None))
    make_pool: MakePool = thread_pool
    files: Sequence[CheckedFile] = ()  # whose problems the node reports


class Server:
    """Serves the node `identity` of `collective`. `queue` is the name of its queue."""

    def __init__(self, collective: str, identity: str, parts: ServerParts) -> None:
        self._parts = parts
        self._stopping = threading.Event()
        self.queue = names.node_queue(collective, identity)
        self.state = NodeState(collective, identity, parts.facts, parts.plugins, parts.files)
        self.statistics = Statistics()
        self.pools = RequestPools(parts.max_actions, parts.max_queued, parts.agent_limits, parts.make_pool)
        store, running, now = JobStore(parts.jobs), RunningRequests(parts.transport.now), parts.transport.now
        revocations, freeze = Revocations(parts.jobs, now), Freeze(parts.jobs, now)
        control = WorkControl(store, running, revocations, freeze, parts.journal, parts.runner, now)
        counters = self.statistics.requests
        self.info = RunningNodeInfo(self.state, counters, self.pools, parts.audit, parts.runner, control)
        self.replies = Replies(identity, parts.transport, parts.sign, parts.audit, parts.journal, counters)
        self._caller = ActionCaller(parts.runner, parts.facts, self.info, running)
        shared = self._shared_parts(Orders(revocations, freeze))
        self.jobs = JobScheduler(store, shared)
        self.pipeline = self._make_pipeline(shared)
        topic = names.topic(collective)
        self.receiver = Receiver(parts.transport, self.queue, topic, self.pipeline.handle, self._stopping)

    def _shared_parts(self, orders: Orders) -> JobParts:
        """Make what requests and background jobs are decided and run with."""
        parts, now = self._parts, self._parts.transport.now
        return JobParts(
            state=self.state,
            decoder=RequestDecoder(self.collective, parts.transport, parts.verify),
            authorizer=Authorizer(parts.policy, self.state, parts.jobs, now, parts.verify),
            admission=Admission(self.state, parts.runner, now),
            caller=self._caller,
            pools=self.pools,
            decisions=DecisionAudit(parts.audit),
            audit=parts.audit,
            orders=orders,
            now=now,
        )

    def _make_pipeline(self, shared: JobParts) -> Pipeline:
        """Make the steps that each received request passes."""
        parts, counters = self._parts, self.statistics.requests
        refusals = Refusals(shared.decisions, parts.journal, self.replies, self.pools, counters, self._stopping)
        executor = RequestExecutor(
            self._caller,
            shared.decisions,
            parts.journal,
            self.replies,
            self.statistics,
            shared.orders,
            self.jobs,
            shared.now,
        )
        return Pipeline(
            state=self.state,
            decoder=shared.decoder,
            older_callers=OlderCallers(self.identity, parts.transport, shared.decoder, parts.sign, refusals.budget),
            duplicates=DuplicateCounter(),
            journal=parts.journal,
            authorizer=shared.authorizer,
            orders=shared.orders,
            admission=shared.admission,
            scheduler=Scheduler(self.pools, shared.admission, executor, refusals, self.statistics),
            refusals=refusals,
            statistics=self.statistics,
        )

    @property
    def collective(self) -> str:
        """The collective that the node belongs to."""
        return self.state.collective

    @property
    def identity(self) -> str:
        """The node's name."""
        return self.state.identity

    @property
    def facts(self) -> Facts:
        """The node's facts."""
        return self.state.facts

    @property
    def plugins(self) -> Plugins:
        """The plugins that serve now."""
        return self.state.plugins

    @property
    def agents(self) -> LoadedAgents:
        """The agents that serve now."""
        return self.state.plugins.agents

    def use(self, plugins: Plugins) -> None:
        """Serve with `plugins` from the next request on; requests that have begun keep theirs."""
        self.state.plugins = plugins

    def open(self) -> None:
        """Create and subscribe the node's queue, retrying until the transport is reachable; then resume.

        Requests of an earlier daemon are resumed before the first new one is received.
        """
        self.receiver.open()
        with noting():
            self._parts.journal.mark_beginning()  # only now: the server's time is known after its first answer
        self.replies.start()
        self.resume()
        self.jobs.start()

    def resume(self) -> None:
        """Process the requests that an earlier daemon has not answered."""
        self.pipeline.resume(self._parts.transport.now, self._stopping.is_set)

    def serve(self) -> None:
        """Receive and process requests until `stop`."""
        self.receiver.serve()

    def stop(self, timeout: float) -> None:
        """Accept nothing new, wait at most `timeout` seconds for running requests, then interrupt them.

        Requests that have not started by then stay in the journal for the next daemon.
        """
        self.receiver.stop()
        self.jobs.stop()
        if not self.pools.wait_idle(timeout):
            self.pools.drop_waiting()
            self._parts.runner.stop()
            self.pools.wait_idle(_ENDING)
        self.replies.stop()
        self.pools.shutdown()
        self._parts.journal.close()
        self._parts.jobs.close()
        self._parts.audit.close()
