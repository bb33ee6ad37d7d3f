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
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from types import TracebackType
from typing import Any

from collective import config as configuration
from collective import ddl, filters, names, signing
from collective.catalog import Catalog
from collective.config import ClientConfig
from collective.errors import NoNodes, NotFound, TransportError, Unreachable, UsageError
from collective.filters import Filter
from collective.fleet import discovery, node_sets, reply_slots, silence
from collective.fleet.background import Background
from collective.fleet.call import Call
from collective.fleet.confirmation import Confirm, require_confirmation
from collective.fleet.discovery import Discovery
from collective.fleet.gates import NO_GATES, Gates
from collective.fleet.grouping import Facts
from collective.fleet.known_nodes import IntroducedNodes, KnownNodes
from collective.fleet.node_sets import ListedNodes, MatchingNodes, NodeSet
from collective.fleet.outcomes import Outcomes
from collective.fleet.pace import AT_ONCE, Pace
from collective.fleet.plan import CallPlan, Parties, Surroundings
from collective.fleet.recording import NO_RECORD, CallRecord
from collective.fleet.registry_names import NamedNodes
from collective.fleet.reply_checks import VerifyReply, accept_unverified
from collective.fleet.rollout import Rollout
from collective.fleet.sending import Sender
from collective.fleet.steps import NO_HOOKS, Hook, Hooks
from collective.fleet.targets import EVERY_NODE, Targets
from collective.fleet.unresponsive import ROLLOUT_TTL
from collective.fleet.verification import ReplyVerifier
from collective.fleet.waves import plan_waves
from collective.messages import Request, new_id
from collective.nodesets import fold
from collective.parallel import THREADS
from collective.registry import Contents, NodeRecord, Nodes, encoding
from collective.text import plural
from collective.transport import Transport

log = logging.getLogger(__name__)

_CACHED = 5.0  # seconds for which the contents of the registry are cached
_WINDOW = 2.0  # seconds without a reply after which a broadcast discovery ends
_MARGIN = 0.1  # part of the timeout, at most 1 s, that a node leaves for the transit of its reply


class Fleet:
    """The nodes of one collective, as seen by a caller. Use it as a context manager, or call `close`.

    Without a `registry`, nodes are discovered by broadcast. Replies are verified with the keys of `known`, or by
    `verify_reply`. Most programs use `Fleet.connect`; the constructor is for
    other transports and registries.
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
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.config = config
        self.catalog = catalog or Catalog(config.ddls)
        self._transport = transport
        self._registry = registry
        self._sign = sign
        self._known = known
        self._verify_reply = ReplyVerifier(known, registry).verify if known else verify_reply
        self._clock = clock
        self._calls: list[Call] = []

    @classmethod
    def connect(cls, config: ClientConfig | None = None, catalog: Catalog | None = None) -> Fleet:
        """Return the fleet that `config` describes (default: `client.yaml`). Raises ConfigError."""
        from collective.aws.session import AWS
        from collective.registry.cached import CachedNodes
        from collective.registry.dynamodb import DynamoDBRegistry
        from collective.signing import caller_key
        from collective.transport.sqs import SQSTransport

        config = config or configuration.load_client()
        aws = AWS.of(config)
        known = KnownNodes(config.state, config.collective, accept_new=config.new_nodes == "accept")
        registry = None
        if config.registry == "dynamodb":
            table = DynamoDBRegistry(aws, names.table(config.collective))
            named = NamedNodes(IntroducedNodes(table, known), config.state, config.collective)
            registry = CachedNodes(named, _CACHED)
        return cls(
            config,
            SQSTransport(aws, connections=THREADS),
            registry,
            catalog=catalog,
            sign=caller_key.signing(config.key),
            known=known,
        )

    def __enter__(self) -> Fleet:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every open call."""
        for call in self._calls:
            call.close()
        self._calls.clear()

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
            described.require_dry_run()
            if hooks.named():
                raise UsageError("dry_run: not allowed with hooks, which would run for real")
        checked = described.check_input(data or {})
        if pace.retry and hooks.named():
            raise UsageError("retry: not allowed with hooks, which would be repeated as well")
        if pace.retry and not described.idempotent:
            raise UsageError(f"retry: '{agent} {action}' is not idempotent, so it must not be repeated (omit retry)")
        began = self._clock()
        found = self._select(targets, described.agent, certain=not described.idempotent)
        discovery_ms = (self._clock() - began) * 1000
        facts = self._facts(found.nodes, pace)
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
        expected = list(plan.found.nodes)
        if expected and not plan.idempotent and not plan.dry_run:
            require_confirmation(expected, plan.targets.unrestricted, self.config.max_targets, confirm)
        request = self._request(plan.action, plan.data, plan.targets.filter, plan.timeout, plan.ttl)
        request = replace(request, reason=plan.reason, total=len(expected), approvals=plan.approvals)
        if plan.dry_run:
            request = replace(request, dry_run=True, critical=(*request.critical, "dry_run"))
        if plan.background:
            request = replace(request, job=plan.background.to_data(), critical=(*request.critical, "job"))
        hooks = plan.hooks.named()
        longest = max([plan.timeout, *(hook.action.timeout + self.config.transit for hook in hooks.values())])
        rollout = Rollout(expected, plan.pace, longest, plan.facts, gated=bool(plan.gates.gates))
        call = self._open(plan.action, request, rollout, plan.found, plan, record)
        log.info("run.started", extra={"error": f"run {call.request.id} on {plural(len(expected), 'node')}"})
        record.begin(call, plan.pace)
        with _closing_on_error(call):
            call.begin()
        return call

    def parties(self) -> Parties:
        """Return who makes a plan, and for which collective. Raises TransportError."""
        slot = reply_slots.take(self.config.state, self.config.collective)
        try:
            slot.store(self._transport.open_replies(slot.queue, slot.known))  # tells which installation this is
        finally:
            slot.release()
        return Parties(self.config.collective, self._transport.installation, self.config.caller)

    def surroundings(self, plan: CallPlan) -> Surroundings:
        """Return what the registry knows about a plan: the size of the fleet, versions, and nodes that are excluded."""
        try:
            contents = self._registry.read() if self._registry else Contents()
        except TransportError:
            contents = Contents()
        now = self._registry.now() if self._registry else 0.0
        agent = plan.action.agent
        return Surroundings(
            nodes=len(contents.records),
            version=str(self.catalog.ddl(agent).metadata["version"]),
            versions={
                record.identity: record.agents[agent]
                for record in contents.records
                if record.identity in plan.nodes and agent in record.agents
            },
            excluded=discovery.excluded(contents, now, plan.targets, agent, plan.found),
        )

    def find(self, targets: Targets = EVERY_NODE, agent: str = "rpcutil", *, verify: bool = False) -> Discovery:
        """Return the nodes that `targets` selects and that have `agent`, and the nodes that may be missing among them.

        Targets that are only names need no discovery, and are returned as they are. With `verify` they are looked up
        too, and names of nodes that do not exist are omitted.

        Raises NoNodes when there are none of either kind, UsageError for a filter that cannot be evaluated, and
        TransportError.
        """
        return self._select(targets, agent, verify=verify)

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
        silent = sorted(nodes)
        reasons: dict[str, str] = {}
        if self._registry and silent:
            with suppress(TransportError):
                reasons = silence.by_registry(self._registry.read(), self._registry.now(), silent)
        others = [name for name in silent if name not in reasons]
        return {**reasons, **silence.by_queue(self._transport, self.config.collective, others)}

    def _facts(self, nodes: Iterable[str], pace: Pace) -> Facts:
        """Return the facts that a pace needs, from the registry; raise UsageError when there is none."""
        if not pace.facts:
            return {}
        if self._registry is None:
            raise UsageError("order_by, per: this collective has no registry, so the facts of its nodes are unknown")
        wanted = set(nodes)
        found = {record.identity: record.facts for record in self._registry.read().records}
        for fact in pace.facts:
            if absent := sorted(name for name in wanted if filters.look_up(found.get(name, {}), fact) is None):
                text = f"{plural(len(absent), 'node')} without the fact '{fact}' are one group: {fold(absent)}"
                log.warning("rollout.fact_absent", extra={"error": text})
        return {name: facts for name, facts in found.items() if name in wanted}

    def _select(self, targets: Targets, agent: str, *, verify: bool = False, certain: bool = False) -> Discovery:
        """Return the nodes that `targets` selects; raise NoNodes when there are none, and none that may be missing.

        `certain`: an unreadable registry is an error, because a broadcast instead may miss nodes.
        """
        self.catalog.check_filter(targets.filter)
        if targets.nodes == ():
            raise NoNodes("the list of nodes is empty")
        if targets.sets is not None:
            found = self._of_sets(targets.sets, targets, agent, certain)
            return self._narrowed(found, targets, agent, verify=verify, certain=certain)
        names_only = None if verify else discovery.named(targets)
        if names_only is None:
            found = self._discover(targets, agent, certain)
            if targets.nodes is not None:
                found = found.among(targets.nodes)
        else:
            found = self._named(names_only)
        missing = found.not_evaluated or found.silent or (self.config.expect_all and found.not_asked)
        if not found.nodes and not missing:
            raise NoNodes("; ".join([found.why_none, *found.incomplete()]))
        return replace(found, nodes=tuple(targets.sample(found.nodes)))

    def _of_sets(self, sets: NodeSet, targets: Targets, agent: str, certain: bool) -> Discovery:
        """Return the nodes of a set expression, after evaluating the filters of its groups."""
        if isinstance(sets, ListedNodes):
            return self._named(sorted(sets.names))
        if isinstance(sets, MatchingNodes):
            self.catalog.check_filter(sets.filter)
            method, seconds = targets.method, targets.discovery_timeout
            return self._discover(Targets(sets.filter, None, method, seconds), agent, certain)
        left = self._of_sets(sets.left, targets, agent, certain)
        return node_sets.combined(sets.operator, left, self._of_sets(sets.right, targets, agent, certain))

    def _narrowed(self, found: Discovery, targets: Targets, agent: str, *, verify: bool, certain: bool) -> Discovery:
        """Return the nodes of `found` that match the other parts of `targets` as well."""
        if targets.nodes is not None:
            found = found.among(targets.nodes)
        if found.nodes and (verify or targets.filter != Filter()):
            rest = replace(targets, nodes=found.nodes, sets=None, limit=None, limit_seed=None)
            found = self._select(rest, agent, verify=verify, certain=certain)
        missing = found.not_evaluated or found.silent or (self.config.expect_all and found.not_asked)
        if not found.nodes and not missing:
            raise NoNodes("; ".join([found.why_none, *found.incomplete()]))
        return replace(found, nodes=tuple(targets.sample(found.nodes)))

    def _named(self, nodes: Iterable[str]) -> Discovery:
        """Return the nodes of targets that are only names, except those whose key is revoked."""
        revoked = {name for name in nodes if self._known and self._known.is_revoked(name)}
        reasons = dict.fromkeys(sorted(revoked), "its key is revoked")
        return Discovery(tuple(name for name in nodes if name not in revoked), reasons)

    def _discover(self, targets: Targets, agent: str, certain: bool) -> Discovery:
        """Return the nodes that match the filter and have `agent`, from the registry or by broadcast."""
        required = targets.method == "registry"
        if required and self._registry is None:
            raise UsageError("discovery method 'registry': this collective has no registry (client.yaml: registry)")
        if self._registry is None:
            return self._ask(targets, agent)
        try:
            contents, now = self._registry.read(), self._registry.now()
        except NotFound as error:
            if required:
                raise
            log.info("discovery.broadcast", extra={"error": str(error)})
            return self._ask(targets, agent)
        except TransportError as error:
            if required or (certain and targets.method != "broadcast"):
                raise Unreachable(
                    f"registry cannot be read, so the nodes that would be reached are unknown: {error}"
                ) from None
            found = self._ask(targets, agent)  # if this fails as well, one message is enough
            log.warning(
                "discovery.broadcast",
                extra={"error": f"registry cannot be read, nodes discovered by broadcast: {error}"},
            )
            return found
        return self._from_registry(contents, now, targets, agent)

    def _from_registry(self, contents: Contents, now: float, targets: Targets, agent: str) -> Discovery:
        """Return the nodes that the registry has, after asking those that must decide themselves."""
        found = discovery.candidates(contents, now, targets, agent, self._is_revoked)
        for name in found.contested:
            log.warning("identity.contested", extra={"error": f"two machines use the identity '{name}'"})
        for record in contents.records:
            if record.omitted and record.alive(now):
                log.info("discovery.omitted", extra={"error": f"{record.identity}: {encoding.omission(record)}"})
        certain = Discovery(tuple(sorted(found.matching)), found.not_asked, why_none=found.why_none)
        return certain.joined(self._ask(targets, agent, found.undecided)) if found.undecided else certain

    def _is_revoked(self, record: NodeRecord) -> bool:
        return self._known is not None and self._known.is_revoked(record.identity, record.public_key)

    def _is_member(self, sender: str) -> bool:
        """Return whether the registry has a node, so that its reply counts although it was not expected."""
        try:
            records = self._registry.read().records if self._registry else []
        except TransportError:
            return False
        return any(record.identity == sender for record in records)

    def _ask(self, targets: Targets, agent: str, nodes: Iterable[str] | None = None) -> Discovery:
        """Ask nodes whether they match: each of `nodes`, or by a broadcast those that match."""
        ping = self.catalog.action("rpcutil", "ping")
        wanted = replace(targets.filter, agents=(*targets.filter.agents, agent))
        timeout = targets.discovery_timeout or self.config.discovery_timeout
        request = self._request(ping, {}, wanted, timeout, self.config.ttl)
        asked = Discovery(tuple(nodes or ()))
        call = self._open(ping, request, Rollout(asked.nodes, AT_ONCE, timeout), asked)
        with _closing_on_error(call):
            if nodes is None:
                call.begin_broadcast(min(_WINDOW, timeout), timeout)
            else:
                call.begin()
            return discovery.answers(call.wait(), call.request_ids)

    def _request(
        self, action: ddl.Action, data: Mapping[str, Any], wanted: Filter, timeout: float, ttl: float
    ) -> Request:
        """Return the request; every wave sends it with its own time and targets, and all but the first with new ids."""
        return Request(
            id=new_id(),
            collective=self.config.collective,
            installation="",
            caller=self.config.caller,
            sender=self.config.sender,
            agent=action.agent,
            action=action.name,
            data=data,
            targets=None,
            filter=wanted.to_data(),
            time=time.time(),
            ttl=ttl,
            timeout=timeout - min(1.0, _MARGIN * timeout),
            reply_to="",
            demanded=action.demanded,
            critical=("demanded",) if action.demanded else (),
        )

    def _open(
        self,
        action: ddl.Action,
        request: Request,
        rollout: Rollout,
        found: Discovery,
        plan: CallPlan | None = None,
        record: CallRecord = NO_RECORD,
    ) -> Call:
        """Take a reply slot and return the call that receives there; nothing has been sent yet."""
        slot = reply_slots.take(self.config.state, self.config.collective)
        slot.store(self._transport.open_replies(slot.queue, slot.known))
        hooks = plan.hooks.named() if plan else {}
        call = Call(
            sender=self._sender(action, request, slot.queue),
            hooks={name: self._hook_sender(hook, request, slot.queue) for name, hook in hooks.items()},
            action=action,
            rollout=rollout,
            slot=slot,
            discovery_ms=plan.discovery_ms if plan else 0.0,
            gates=plan.gates if plan else NO_GATES,
            outcomes=Outcomes(
                found.nodes,
                not_asked=found.not_asked,
                not_evaluated=found.not_evaluated,
                undiscovered=found.silent,
                expect_all=self.config.expect_all,
                success_threshold=plan.pace.success_threshold if plan else None,
            ),
            discovery_ids=found.request_ids,
            verify=self._verify_reply,
            is_member=self._is_member,
            record=record,
            clock=self._clock,
        )
        self._calls = [open_call for open_call in self._calls if not open_call.closed]
        self._calls.append(call)
        return call

    def _sender(self, action: ddl.Action, request: Request, replies: str) -> Sender:
        """Return what sends a request, whose replies go to the queue `replies`."""
        request = replace(request, installation=self._transport.installation, reply_to=replies, time=time.time())
        secret = bool(action.secrets & request.data.keys())
        return Sender(self._transport, request, self._sign, self.config.direct_limit, secret)

    def _hook_sender(self, hook: Hook, request: Request, replies: str) -> Sender:
        """Return what sends a hook to the nodes of a call; it needs no filter, because the nodes are named."""
        timeout = hook.action.timeout + self.config.transit
        own = self._request(hook.action, hook.data, Filter(), timeout, request.ttl)
        own = replace(own, id=request.id, reason=request.reason, total=request.total)
        return self._sender(hook.action, own, replies)  # it is part of the same run


@contextmanager
def _closing_on_error(call: Call) -> Iterator[None]:
    try:
        yield
    except BaseException:
        call.close()
        raise
