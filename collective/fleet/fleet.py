"""Ask many nodes: the Python API behind `crpc`.

    with Fleet.connect() as fleet:
        call = fleet.call("package", "install", {"package": "zsh"}, filter=parse(with_fact=["role=web"]))
        for reply in call:
            print(reply.sender, reply.statusmsg, reply.data)
        print(call.outcomes.counts())

`call` checks, discovers and sends before it returns (its iterator only receives), so a mistake is raised at once.
With a pace (`concurrency`, `batch`, `max_fail`: see `rollout`) it sends to the first nodes only; iterating sends on.
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
from collective.fleet.call import Call, VerifyReply, believe
from collective.fleet.data import check_data
from collective.fleet.rollout import AT_ONCE, AmountLike, Pace, Rollout
from collective.fleet.sending import THREADS, Sender
from collective.fleet.target_limits import Confirm, check_meant, choose, read_limit
from collective.fleet.unresponsive import ROLLOUT_TTL
from collective.messages import Request
from collective.registry import Nodes
from collective.transport import Transport

log = logging.getLogger(__name__)

EVERYBODY = Filter()
_CACHED = 5.0  # seconds that what the registry said is believed
_WINDOW = 2.0  # seconds without news after which a broadcast discovery believes that it has heard everybody
_MARGIN = 0.1  # of the timeout, at most a second: what a node leaves for its reply to travel


class Fleet:
    """The nodes of one configuration. `registry` None: there is none, and nodes are asked by broadcast."""

    def __init__(
        self,
        config: ClientConfig,
        transport: Transport,
        registry: Nodes | None = None,
        *,
        catalog: Catalog | None = None,
        sign: signing.SignPayload = signing.unsigned,
        verify_reply: VerifyReply = believe,
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
        """Return the fleet that `config` describes, or `client.yaml` where it is looked for. Raise ConfigError."""
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
        """End every call that is still open."""
        for call in self._calls:
            call.close()
        self._calls.clear()

    def call(
        self,
        agent: str,
        action: str,
        data: Mapping[str, Any] | None = None,
        *,
        filter: Filter = EVERYBODY,  # noqa: A002 - the field's word
        nodes: Iterable[str] | None = None,
        method: str | None = None,
        discovery_timeout: float | None = None,
        timeout: float | None = None,
        ttl: float | None = None,
        limit: AmountLike = None,
        limit_seed: int | None = None,
        concurrency: int | None = None,
        batch: AmountLike = None,
        batch_sleep: float = 0.0,
        max_fail: AmountLike = None,
        confirm: Confirm | None = None,
    ) -> Call:
        """Send one request to every node that `filter` and `nodes` (names) both mean; return its replies to come.

        `method` is `registry` or `broadcast` (default: the registry, when there is one). `timeout` is how many
        seconds to wait for each node's reply (default: the action's own, and transit); `ttl` how long the request
        is valid. `limit` (`N` or `"N%"`) chooses some of the nodes at random, the same ones for the same
        `limit_seed`; `concurrency`, `batch` (`N` or `"N%"`), `batch_sleep` (seconds) and `max_fail` (`N` or `"N%"`)
        say how fast to go on, and when to stop.

        `confirm` asks somebody whether the nodes that it is given are meant, before an action that is not idempotent
        is sent to everybody, or to more than `max_targets`; without it, more than `max_targets` are refused.

        Raises UsageError, MissingInput or InvalidInput before anything is sent, NoNodes when nobody is meant,
        TooManyTargets, MessageTooLarge, and TransportError.
        """
        described = self.catalog.action(agent, action)
        checked = described.check_input(data or {})
        pace = Pace.read(concurrency, batch, batch_sleep, max_fail)
        some = read_limit(limit, limit_seed)
        began, certain = self._clock(), not described.idempotent
        found = self.discover(filter, agent, nodes=nodes, method=method, timeout=discovery_timeout, certain=certain)
        discovery_ms = (self._clock() - began) * 1000
        expected = found if some is None else choose(found, some, limit_seed)
        if not described.idempotent:
            everybody = filter == EVERYBODY and nodes is None and some is None
            check_meant(expected, everybody, self.config.max_targets, confirm)
        timeout = timeout or described.timeout + self.config.transit
        ttl = ttl or (self.config.ttl if pace == AT_ONCE else min(self.config.ttl, ROLLOUT_TTL))
        call = self._open(described, checked, filter, expected, timeout, ttl=ttl, pace=pace, discovery_ms=discovery_ms)
        with _closing_on_error(call):
            call.begin()
        return call

    def discover(
        self,
        filter: Filter = EVERYBODY,  # noqa: A002 - the field's word
        agent: str = "rpcutil",
        *,
        nodes: Iterable[str] | None = None,
        method: str | None = None,
        timeout: float | None = None,
        certain: bool = False,
        believe_names: bool = True,
    ) -> list[str]:
        """Return the names of the nodes that `filter` and `nodes` both mean and that have `agent`, sorted.

        `believe_names`: names alone need no discovery; whether there are such nodes shows when they are called.
        `certain`: a registry that cannot be read is an error, not a reason to ask by broadcast, which may miss nodes.
        """
        check_data(filter, self.catalog)
        given = None if nodes is None else sorted({names.check_identity(name) for name in nodes})
        if given == []:
            raise NoNodes("the list of nodes is empty")
        named = discovery.literal(given or (), filter) if believe_names else None
        if named is None and believe_names and given and filter == EVERYBODY:
            named = given
        if named is None:
            found = self._find(filter, agent, method, timeout or self.config.discovery_timeout, certain)
            named = found if given is None else sorted(set(found) & set(given))
        if not named:
            raise NoNodes("no node matches")
        return named

    def why_silent(self, nodes: Iterable[str]) -> dict[str, str]:
        """Return what the registry knows about nodes that did not answer, by name; nothing when it cannot be read."""
        try:
            return discovery.why_silent(self._registry, nodes) if self._registry and nodes else {}
        except TransportError:
            return {}

    def _find(self, wanted: Filter, agent: str, method: str | None, timeout: float, certain: bool) -> list[str]:
        if method == "registry" and self._registry is None:
            raise UsageError("--dm registry: the configuration says that there is none")
        if self._registry is None or method == "broadcast" or uses_data(wanted):
            return self._ask(wanted, agent, timeout)
        try:
            return discovery.from_registry(self._registry, wanted, agent)
        except NotFound as error:
            if method == "registry":
                raise
            log.info("discovery.broadcast", extra={"error": f"table {error}"})
        except TransportError as error:
            if certain or method == "registry":
                raise Unreachable(
                    f"the registry cannot be read, so nobody knows whom this would reach: {error}"
                ) from None
            found = self._ask(wanted, agent, timeout)  # when that cannot be done either, one line says so
            log.warning("discovery.broadcast", extra={"error": f"the registry cannot be read, all were asked: {error}"})
            return found
        return self._ask(wanted, agent, timeout)

    def _ask(self, wanted: Filter, agent: str, timeout: float) -> list[str]:
        """Ask the nodes themselves who matches, until a window has passed without news."""
        ping = self.catalog.action("rpcutil", "ping")
        wanted = replace(wanted, agents=(*wanted.agents, agent))
        call = self._open(ping, {}, wanted, (), timeout)
        with _closing_on_error(call):
            call.ask_everybody(min(_WINDOW, timeout), timeout)
            return sorted(reply.sender for reply in call)

    def _open(
        self,
        action: ddl.Action,
        data: Mapping[str, Any],
        wanted: Filter,
        expected: Iterable[str],
        timeout: float,
        *,
        ttl: float | None = None,
        pace: Pace = AT_ONCE,
        discovery_ms: float = 0.0,
    ) -> Call:
        """Take a reply slot; return the call that will receive there. Nothing has been sent."""
        slot = reply_slots.take(self.config.state, self.config.collective)
        slot.note(self._transport.open_replies(slot.queue, slot.known))
        request = Request(
            id="",  # every wave has an id, targets and time of its own
            collective=self.config.collective,
            caller=self.config.caller,
            sender=self.config.sender,
            agent=action.agent,
            action=action.name,
            data=data,
            targets=None,
            filter=wanted.to_data(),
            time=time.time(),
            ttl=ttl or self.config.ttl,
            timeout=timeout - min(1.0, _MARGIN * timeout),
            reply_to=slot.queue,
        )
        secret = bool(action.secrets & data.keys())
        call = Call(
            sender=Sender(self._transport, request, self._sign, self.config.direct_limit, secret),
            action=action,
            rollout=Rollout(list(expected), pace, timeout),
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
