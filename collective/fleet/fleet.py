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
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType
from typing import Any

from collective import config as configuration
from collective import ddl, names, signing
from collective.catalog import Catalog
from collective.config import ClientConfig
from collective.errors import NoNodes, NotFound, TransportError, Unreachable, UsageError
from collective.filters import Filter, uses_data
from collective.fleet import discovery, reply_slots
from collective.fleet.call import Call, VerifyReply, accept_unverified
from collective.fleet.confirmation import Confirm, require_confirmation
from collective.fleet.pace import AT_ONCE, Pace
from collective.fleet.rollout import Rollout
from collective.fleet.sending import Sender
from collective.fleet.targets import EVERY_NODE, Targets
from collective.fleet.unresponsive import ROLLOUT_TTL
from collective.messages import Request
from collective.parallel import THREADS
from collective.registry import Nodes
from collective.transport import Transport

log = logging.getLogger(__name__)

_CACHED = 5.0  # seconds for which the contents of the registry are cached
_WINDOW = 2.0  # seconds without a reply after which a broadcast discovery ends
_MARGIN = 0.1  # part of the timeout, at most 1 s, that a node leaves for the transit of its reply


class Fleet:
    """The nodes of one collective, as seen by a caller. Use it as a context manager, or call `close`.

    Without a `registry`, nodes are discovered by broadcast. Most programs use `Fleet.connect`; the constructor is for
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
        verify_reply: VerifyReply = accept_unverified,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.config = config
        self.catalog = catalog or Catalog(config.ddls)
        self._transport = transport
        self._registry = registry
        self._sign = sign
        self._verify_reply = verify_reply
        self._clock = clock
        self._calls: list[Call] = []

    @classmethod
    def connect(cls, config: ClientConfig | None = None, catalog: Catalog | None = None) -> Fleet:
        """Return the fleet that `config` describes (default: `client.yaml`). Raises ConfigError."""
        from collective.aws import AWS
        from collective.fleet.known_nodes import IntroducedNodes, KnownNodes
        from collective.registry.cached import CachedNodes
        from collective.registry.dynamodb import DynamoDBRegistry
        from collective.signing import caller_key
        from collective.transport.sqs import SQSTransport

        config = config or configuration.load_client()
        aws = AWS()
        known = KnownNodes(config.state, config.collective)
        registry = None
        if config.registry == "dynamodb":
            table = DynamoDBRegistry(aws, names.table(config.collective))
            registry = CachedNodes(IntroducedNodes(table, known), _CACHED)
        return cls(
            config,
            SQSTransport(aws, connections=THREADS),
            registry,
            catalog=catalog,
            sign=caller_key.signing(config.key),
            verify_reply=known.verify,
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
        confirm: Confirm | None = None,
    ) -> Call:
        """Send a request to the nodes that `targets` selects, and return the call, an iterator of their replies.

        `data` are the action's inputs. `pace` is how fast nodes are reached. `timeout` is the number of seconds to
        wait for each node's reply (default: the action's timeout plus the configured transit time). `ttl` is the
        number of seconds for which a node may start the action (default: as configured; at most 6 with a pace).

        `confirm` is called with the nodes before an action that is not idempotent is sent to the whole collective, or
        to more than the configured `max_targets`. Without `confirm`, more than `max_targets` nodes are refused.

        Raises UsageError, MissingInput, InvalidInput or DDLError before anything is sent; NoNodes when no node
        matches; TooManyTargets when the nodes are not confirmed; MessageTooLarge; TransportError.
        """
        described = self.catalog.action(agent, action)
        checked = described.check_input(data or {})
        began = self._clock()
        expected = self._select(targets, agent, certain=not described.idempotent)
        discovery_ms = (self._clock() - began) * 1000
        if not described.idempotent:
            require_confirmation(expected, targets.unrestricted, self.config.max_targets, confirm)
        timeout = timeout or described.timeout + self.config.transit
        ttl = ttl or (self.config.ttl if pace == AT_ONCE else min(self.config.ttl, ROLLOUT_TTL))
        request = self._request(described, checked, targets.filter, timeout, ttl)
        call = self._open(described, request, Rollout(expected, pace, timeout), discovery_ms)
        with _closing_on_error(call):
            call.begin()
        return call

    def discover(self, targets: Targets = EVERY_NODE, agent: str = "rpcutil", *, verify: bool = False) -> list[str]:
        """Return the names of the nodes that `targets` selects and that have `agent`, sorted.

        Targets that are only names need no discovery, and are returned as they are. With `verify` they are looked up
        too, and names of nodes that do not exist are omitted.

        Raises NoNodes when there are none, UsageError for a filter that cannot be evaluated, and TransportError.
        """
        return self._select(targets, agent, verify=verify)

    def why_silent(self, nodes: Iterable[str]) -> dict[str, str]:
        """Return what the registry has on silent nodes, by name; empty when it cannot be read."""
        try:
            return discovery.why_silent(self._registry, nodes) if self._registry and nodes else {}
        except TransportError:
            return {}

    def _select(self, targets: Targets, agent: str, *, verify: bool = False, certain: bool = False) -> list[str]:
        """Return the identities that `targets` selects, sorted.

        `certain`: an unreadable registry is an error, because a broadcast instead may miss nodes.
        """
        self.catalog.check_filter(targets.filter)
        if targets.nodes == ():
            raise NoNodes("the list of nodes is empty")
        found = None if verify else discovery.named(targets)
        if found is None:
            found = self._discover(targets, agent, certain)
            if targets.nodes is not None:
                found = sorted(set(found) & set(targets.nodes))
        if not found:
            raise NoNodes("no node matches")
        return targets.sample(found)

    def _discover(self, targets: Targets, agent: str, certain: bool) -> list[str]:
        """Return the nodes that match the filter and have `agent`, from the registry or by broadcast."""
        required = targets.method == "registry"
        if required and self._registry is None:
            raise UsageError("discovery method 'registry': this collective has no registry (client.yaml: registry)")
        if self._registry is None or targets.method == "broadcast" or uses_data(targets.filter):
            return self._broadcast(targets, agent)
        try:
            return discovery.from_registry(self._registry, targets.filter, agent)
        except NotFound as error:
            if required:
                raise
            log.info("discovery.broadcast", extra={"error": str(error)})
        except TransportError as error:
            if certain or required:
                raise Unreachable(
                    f"registry cannot be read, so the nodes that would be reached are unknown: {error}"
                ) from None
            found = self._broadcast(targets, agent)  # if this fails as well, one message is enough
            log.warning(
                "discovery.broadcast",
                extra={"error": f"registry cannot be read, nodes discovered by broadcast: {error}"},
            )
            return found
        return self._broadcast(targets, agent)

    def _broadcast(self, targets: Targets, agent: str) -> list[str]:
        """Return the nodes that answer a broadcast to the nodes that match."""
        ping = self.catalog.action("rpcutil", "ping")
        wanted = replace(targets.filter, agents=(*targets.filter.agents, agent))
        timeout = targets.discovery_timeout or self.config.discovery_timeout
        request = self._request(ping, {}, wanted, timeout, self.config.ttl)
        call = self._open(ping, request, Rollout((), AT_ONCE, timeout))
        with _closing_on_error(call):
            call.begin_broadcast(min(_WINDOW, timeout), timeout)
            return sorted(reply.sender for reply in call)

    def _request(
        self, action: ddl.Action, data: Mapping[str, Any], wanted: Filter, timeout: float, ttl: float
    ) -> Request:
        """Return the request; every wave sends it with its own id, time and targets."""
        return Request(
            id="",
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
        )

    def _open(self, action: ddl.Action, request: Request, rollout: Rollout, discovery_ms: float = 0.0) -> Call:
        """Take a reply slot and return the call that receives there; nothing has been sent yet."""
        slot = reply_slots.take(self.config.state, self.config.collective)
        slot.store(self._transport.open_replies(slot.queue, slot.known))
        here = self._transport.installation
        request = replace(request, installation=here, reply_to=slot.queue, time=time.time())
        secret = bool(action.secrets & request.data.keys())
        call = Call(
            sender=Sender(self._transport, request, self._sign, self.config.direct_limit, secret),
            action=action,
            rollout=rollout,
            slot=slot,
            discovery_ms=discovery_ms,
            verify=self._verify_reply,
            clock=self._clock,
        )
        self._calls = [open_call for open_call in self._calls if not open_call.closed]
        self._calls.append(call)
        return call


@contextmanager
def _closing_on_error(call: Call) -> Iterator[None]:
    try:
        yield
    except BaseException:
        call.close()
        raise
