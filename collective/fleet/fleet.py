"""Call actions on many nodes: the Python API that `crpc` is built on.

    with Fleet.connect() as fleet:
        targets = Targets.select(facts=["role=web"])
        call = fleet.call("package", "install", {"package": "zsh"}, targets=targets, pace=Pace(batch="25%", max_fail=1))
        for reply in call:
            print(reply.sender, reply.statusmsg, reply.data)
        print(call.outcomes.counts())

`Fleet.call` checks the inputs, discovers the nodes and sends before it returns, so errors are raised there.
With a pace it sends to the first nodes only; iterating over the call sends to the others.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any

from collective import config as configuration
from collective import signing
from collective.catalog import Catalog
from collective.config import ClientConfig
from collective.errors import NoNodes
from collective.fleet import plan_surroundings, silence
from collective.fleet.background import Background
from collective.fleet.call import Call
from collective.fleet.call_checks import check_dry_run, check_retry, pace_facts
from collective.fleet.call_opening import CallOpener, closing_on_error
from collective.fleet.confirmation import Confirm, require_confirmation
from collective.fleet.connection import Connection
from collective.fleet.discovery import Discovery
from collective.fleet.gates import NO_GATES, Gates
from collective.fleet.known_nodes import KnownNodes
from collective.fleet.node_finder import NodeFinder
from collective.fleet.pace import AT_ONCE, Pace
from collective.fleet.plan import CallPlan, Parties
from collective.fleet.plan_surroundings import Surroundings
from collective.fleet.recording import NO_RECORD, CallRecord
from collective.fleet.reply_checks import VerifyReply, accept_unverified
from collective.fleet.steps import NO_HOOKS, Hook, Hooks
from collective.fleet.target_selection import TargetSelector
from collective.fleet.targets import EVERY_NODE, Targets
from collective.fleet.unresponsive import ROLLOUT_TTL
from collective.fleet.verification import ReplyVerifier
from collective.fleet.waves import plan_waves
from collective.registry import NodeRecord, Nodes
from collective.text import plural
from collective.transport import Transport

if TYPE_CHECKING:
    from collective.fleet.ec2_instances import Instance
    from collective.fleet.steering.steered_record import SteeredRecord

log = logging.getLogger(__name__)

# A library configures no logging; the null handler keeps Python from printing its warnings.
logging.getLogger("collective").addHandler(logging.NullHandler())


class Fleet:
    """The nodes of one collective, as seen by a caller. Use it as a context manager, or call `close`.

    Without a `registry`, nodes are discovered by broadcast. Replies are verified with the keys of `known`, or by
    `verify_reply`. `instances` returns the EC2 instances for the discovery method `ec2`. Most programs use
    `Fleet.connect`; the constructor is for other transports and registries.
    """

    def __init__(
        self,
        config: ClientConfig,
        transport: Transport,
        registry: Nodes | None = None,
        *,
        catalog: Catalog | None = None,
        sign: signing.SignPayload = signing.unsigned,
        known: KnownNodes | None = None,
        verify_reply: VerifyReply = accept_unverified,
        instances: Callable[[], Sequence[Instance]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.config = config
        self.catalog = catalog or Catalog(config.ddls)
        self._transport = transport
        self._registry = registry
        self._clock = clock
        verify = ReplyVerifier(known, registry).verify if known else verify_reply
        self._opener = CallOpener(config, transport, registry, sign, verify, clock)
        finder = NodeFinder(config, self.catalog, registry, known, self._opener, instances)
        self._selector = TargetSelector(self.catalog, finder, expect_all=config.expect_all)

    @classmethod
    def connect(
        cls,
        config: ClientConfig | None = None,
        catalog: Catalog | None = None,
        sign: signing.SignPayload | None = None,
        *,
        recent: float | None = None,
        connection: Connection | None = None,
    ) -> Fleet:
        """Return the fleet that `config` describes (default: `client.yaml`). Raises ConfigError.

        `sign` signs requests; default: with the key in `config`. With `recent`, a read of the registry by this user
        that is at most `recent` seconds old is used again, and AWS is asked only if there is none. `connection` is one
        for `config` that was made before.
        """
        from collective.signing import caller_key

        config = config or configuration.load_client()
        connection = connection or Connection(config)
        registry = None
        if config.registry == "dynamodb":
            registry = connection.registry if recent is None else connection.recent_registry(recent)
        return cls(
            config,
            connection.transport if recent is None else connection.lazy_transport(),
            registry,
            catalog=catalog,
            sign=sign or caller_key.signing(config.key),
            known=connection.known,
            instances=connection.instances,
        )

    def __enter__(self) -> Fleet:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every open call."""
        self._opener.close()

    def call(
        self,
        agent: str,
        action: str,
        data: Mapping[str, Any] | None = None,
        *,
        targets: Targets = EVERY_NODE,
        pace: Pace = AT_ONCE,
        timeout: float | None = None,
        ttl: float | None = None,
        hooks: Hooks = NO_HOOKS,
        gates: Gates = NO_GATES,
        background: Background | None = None,
        reason: str | None = None,
        confirm: Confirm | None = None,
        dry_run: bool = False,
        record: CallRecord = NO_RECORD,
    ) -> Call:
        """Send a request to the nodes that `targets` selects, and return the call, an iterator of their replies.

        `data` are the action's inputs. `pace` is how fast nodes are reached. `timeout` is the number of seconds to
        wait for each node's reply (default: the action's timeout plus the configured transit time). `ttl` is the
        number of seconds for which a node may start the action (default: as configured; at most 6 with a pace).
        `hooks` are actions before and after the action on each node, `gates` conditions between waves. With
        `background`, nodes answer at once and run the action as a job, whose id is that of the request. `reason` is
        why, for policies that require one; it is in the audit log of the nodes.

        `confirm` is called with the nodes before an action that is not idempotent is sent to the whole collective, or
        to more than the configured `max_targets`. Without `confirm`, more than `max_targets` nodes are refused.

        With `dry_run`, every node reports what the action would change and changes nothing; nothing is confirmed.

        `record` receives each event of the call, such as `runs.recorder.RunRecorder`, which saves them.

        Known nodes that may be missing are in `outcomes.not_asked`, `outcomes.not_evaluated` and `outcomes.silent`; a
        call may have only such nodes.

        Raises UsageError, MissingInput, InvalidInput, NoDryRun or DDLError before anything is sent; NoNodes when no
        node matches; TooManyTargets when the nodes are not confirmed; MessageTooLarge; TransportError.
        """
        plan = self.plan(
            agent, action, data, targets=targets, pace=pace, timeout=timeout, ttl=ttl, hooks=hooks, dry_run=dry_run
        )
        plan = replace(plan, gates=gates, background=background, reason=reason)
        return self.start(plan, confirm=confirm, record=record)

    def plan(
        self,
        agent: str,
        action: str,
        data: Mapping[str, Any] | None = None,
        *,
        targets: Targets = EVERY_NODE,
        pace: Pace = AT_ONCE,
        timeout: float | None = None,
        ttl: float | None = None,
        hooks: Hooks = NO_HOOKS,
        dry_run: bool = False,
    ) -> CallPlan:
        """Check a call and find its nodes, without sending it; the arguments and errors are those of `call`."""
        described = self.catalog.action(agent, action)
        if dry_run:
            check_dry_run(described, hooks)
        checked = described.check_input(data or {})
        if pace.retry:
            check_retry(f"{agent} {action}", described, hooks)
        began = self._clock()
        found = self._selector.select(targets, described.agent, certain=not described.idempotent)
        discovery_ms = (self._clock() - began) * 1000
        for text in silence.silence_lines(found.absent):
            log.warning("discovery.absent", extra={"error": text})
        facts = pace_facts(self._registry, found.nodes, pace)
        return CallPlan(
            action=described,
            data=checked,
            targets=targets,
            pace=pace,
            timeout=timeout or described.timeout + self.config.transit,
            ttl=ttl or (min(self.config.ttl, ROLLOUT_TTL) if pace.needs_replies else self.config.ttl),
            found=found,
            waves=plan_waves(found.nodes, pace.sizes, pace.order_by, facts),
            facts=facts,
            discovery_ms=discovery_ms,
            hooks=hooks,
            dry_run=dry_run,
        )

    def hook(self, agent: str, action: str, data: Mapping[str, Any] | None = None) -> Hook:
        """Return an action to run before or after another one on each node; raise the errors of `call`."""
        described = self.catalog.action(agent, action)
        return Hook(described, described.check_input(data or {}))

    def start(self, plan: CallPlan, *, confirm: Confirm | None = None, record: CallRecord = NO_RECORD) -> Call:
        """Send a planned call to its first nodes, and return it; the arguments and errors are those of `call`."""
        self._confirm(plan, confirm)
        call = self._opener.open_planned(plan, record)
        log.info("run.started", extra={"error": f"run {call.request.id} on {plural(len(plan.nodes), 'node')}"})
        with closing_on_error(call):
            record.begin(call, plan.pace)
            call.begin()
        return call

    def hand_over(self, plan: CallPlan, record: SteeredRecord, *, confirm: Confirm | None = None) -> str:
        """Write a planned call to its record for another caller to take, and send nothing; return the ID of the run.

        The arguments and errors are those of `start`.
        """
        self._confirm(plan, confirm)
        call = self._opener.open_planned(plan, record)
        with closing_on_error(call):
            record.begin(call, plan.pace)
        record.leave()
        call.close()
        return call.request.id

    def _confirm(self, plan: CallPlan, confirm: Confirm | None) -> None:
        """Require confirmation of a plan that changes nodes and may not be repeated. Raises TooManyTargets."""
        if plan.nodes and not plan.idempotent and not plan.dry_run:
            require_confirmation(list(plan.nodes), plan.targets.unrestricted, self.config.max_targets, confirm)

    def parties(self) -> Parties:
        """Return who makes a plan, and for which collective. Raises TransportError."""
        return plan_surroundings.parties(self.config, self._transport)

    def surroundings(self, plan: CallPlan) -> Surroundings:
        """Return what the registry knows about a plan: the size of the fleet, versions, and nodes that are excluded."""
        version = str(self.catalog.ddl(plan.action.agent).metadata["version"])
        return plan_surroundings.surroundings(plan, self._registry, version)

    def find(self, targets: Targets = EVERY_NODE, agent: str = "rpcutil", *, verify: bool = False) -> Discovery:
        """Return the nodes that `targets` selects and that have `agent`, and the nodes that may be missing among them.

        Targets that are only names need no discovery, and are returned as they are. With `verify` they are looked up
        too, and nodes that do not exist are in `absent`.

        Raises NoNodes when there are none of either kind, UsageError for a filter that cannot be evaluated, and
        TransportError.
        """
        return self._selector.select(targets, agent, verify=verify)

    def discover(self, targets: Targets = EVERY_NODE, agent: str = "rpcutil", *, verify: bool = False) -> list[str]:
        """Return the names of the nodes of `find`, sorted; nodes that may be missing among them are logged.

        Raises NoNodes when there are none, and the errors of `find`.
        """
        found = self.find(targets, agent, verify=verify)
        if not found.nodes:
            raise NoNodes("; ".join([found.why_none, *found.incomplete()]))
        for text in found.incomplete():
            log.warning("discovery.incomplete", extra={"error": text})
        return list(found.nodes)

    def records(self) -> list[NodeRecord]:
        """Return what the registry has of each node; nothing without a registry. Raises TransportError."""
        return list(self._registry.read().records) if self._registry else []

    def why_silent(self, nodes: Iterable[str]) -> dict[str, str]:
        """Return why nodes are probably silent, by name: from the registry, and from their queues."""
        return silence.reasons(self._registry, self._transport, self.config.collective, nodes)
