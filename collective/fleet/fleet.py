"""Ask many nodes: the Python API behind `crpc`.

    with Fleet.connect() as fleet:
        call = fleet.call("package", "install", {"package": "zsh"}, filter=parse(with_fact=["role=web"]))
        for reply in call:
            print(reply.sender, reply.statusmsg, reply.data)
        print(call.outcomes.counts())

`call` checks, discovers and sends before it returns (its iterator only receives), so a mistake is raised at once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType
from typing import Any

from collective import config as configuration
from collective import ddl, messages, names, signing
from collective.catalog import Catalog
from collective.config import ClientConfig
from collective.errors import NoNodes, QueueNotFound, TransportError, UsageError
from collective.filters import Filter, uses_data
from collective.fleet import discovery, slots
from collective.fleet.call import Call
from collective.fleet.data import check_data
from collective.fleet.outcomes import Outcomes
from collective.messages import Request
from collective.registry import Registry
from collective.transport import Transport

log = logging.getLogger(__name__)

EVERYBODY = Filter()
_SENDERS = 10  # threads that send directly
_WINDOW = 2.0  # seconds without news after which a broadcast discovery believes that it has heard everybody
_MARGIN = 0.1  # of the timeout, at most a second: what a node leaves for its reply to travel


class Fleet:
    """The nodes of one configuration. `registry` None: there is none, and nodes are asked by broadcast."""

    def __init__(
        self,
        config: ClientConfig,
        transport: Transport,
        registry: Registry | None = None,
        *,
        catalog: Catalog | None = None,
        sign: signing.Sign = signing.unsigned,
    ) -> None:
        self.config = config
        self.catalog = catalog or Catalog(config.ddls)
        self._transport = transport
        self._registry = registry
        self._sign = sign
        self._calls: list[Call] = []

    @classmethod
    def connect(cls, config: ClientConfig | None = None) -> Fleet:
        """Return the fleet that `config` describes, or `client.yaml` where it is looked for. Raise ConfigError."""
        from collective.aws import AWS
        from collective.registry.dynamodb import DynamoDBRegistry
        from collective.transport.sqs import SQSTransport

        config = config or configuration.load_client()
        aws = AWS()
        has_registry = config.registry == "dynamodb"
        registry = DynamoDBRegistry(aws, names.table(config.collective)) if has_registry else None
        return cls(config, SQSTransport(aws, connections=_SENDERS), registry)

    def __enter__(self) -> Fleet:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
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
    ) -> Call:
        """Send one request to every node that `filter` and `nodes` (names) both mean; return its replies to come.

        `method` is `registry` or `broadcast` (default: the registry, when there is one). `timeout` is how many
        seconds to wait for replies (default: the action's own, and transit); `ttl` how long the request is valid.
        Raises UsageError, MissingInput or InvalidInput before anything is sent, NoNodes when nobody is meant,
        MessageTooLarge, and TransportError.
        """
        described = self.catalog.action(agent, action)
        checked = described.check_input(data or {})
        began = time.monotonic()
        expected = self.discover(
            filter,
            agent,
            nodes=nodes,
            method=method,
            timeout=discovery_timeout,
            certain=not described.idempotent,
        )
        call, body = self._prepare(
            described,
            checked,
            filter,
            expected,
            timeout or described.timeout + self.config.transit,
            ttl=ttl,
            discovery_ms=(time.monotonic() - began) * 1000,
        )
        with _closing_on_error(call):
            self._send(call, body, expected, secret=bool(described.secrets & checked.keys()))
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
    ) -> list[str]:
        """Return the names of the nodes that `filter` and `nodes` both mean and that have `agent`, sorted.

        `certain`: a registry that cannot be read is an error, not a reason to ask by broadcast, which may miss nodes.
        """
        check_data(filter, self.catalog)
        given = None if nodes is None else sorted({names.check_identity(name) for name in nodes})
        if given == []:
            raise NoNodes("the list of nodes is empty")
        named = discovery.literal(given or (), filter)
        if named is None and given and filter == EVERYBODY:
            named = given
        if named is None:
            found = self._find(filter, agent, method, timeout or self.config.discovery_timeout, certain)
            named = found if given is None else sorted(set(found) & set(given))
        if not named:
            raise NoNodes("no node matches")
        return named

    def _find(self, wanted: Filter, agent: str, method: str | None, timeout: float, certain: bool) -> list[str]:
        if method == "registry" and self._registry is None:
            raise UsageError("--dm registry: the configuration says that there is none")
        if self._registry is None or method == "broadcast" or uses_data(wanted):
            return self._ask(wanted, agent, timeout)
        try:
            return discovery.from_registry(self._registry, wanted, agent)
        except QueueNotFound as fault:
            if method == "registry":
                raise
            log.info("discovery.broadcast", extra={"fault": f"table {fault}"})
        except TransportError as fault:
            if certain or method == "registry":
                raise
            log.warning("discovery.broadcast", extra={"fault": str(fault)})
        return self._ask(wanted, agent, timeout)

    def _ask(self, wanted: Filter, agent: str, timeout: float) -> list[str]:
        """Ask the nodes themselves who matches, until a window has passed without news."""
        ping = self.catalog.action("rpcutil", "ping")
        wanted = replace(wanted, agents=(*wanted.agents, agent))
        call, body = self._prepare(ping, {}, wanted, None, timeout, window=min(_WINDOW, timeout))
        with _closing_on_error(call):
            try:
                self._transport.broadcast(names.topic(self.config.collective), body)
            except QueueNotFound:
                raise NoNodes(f"no node has ever joined the collective '{self.config.collective}'") from None
            return sorted(reply.sender for reply in call)

    def _send(self, call: Call, body: str, expected: list[str], secret: bool) -> None:
        """Send directly to few nodes, and what is secret to any number: only by broadcast would others read it."""
        if len(expected) > self.config.direct_limit and not secret:
            self._transport.broadcast(names.topic(self.config.collective), body)
            return
        with ThreadPoolExecutor(min(_SENDERS, len(expected))) as pool:
            sent = pool.map(lambda node: self._send_to(node, body), expected)
            call.give_up(node for node, was_sent in zip(expected, sent, strict=True) if not was_sent)

    def _send_to(self, node: str, body: str) -> bool:
        try:
            self._transport.send(names.node_queue(self.config.collective, node), body)
        except QueueNotFound:
            return False
        return True

    def _prepare(
        self,
        action: ddl.Action,
        data: Mapping[str, Any],
        wanted: Filter,
        expected: list[str] | None,
        timeout: float,
        *,
        ttl: float | None = None,
        window: float | None = None,
        discovery_ms: float = 0.0,
    ) -> tuple[Call, str]:
        """Take a reply slot; return the call that will receive there, and the message to send. None: everybody."""
        slot = slots.take(self.config.state, self.config.collective)
        slot.note(self._transport.open_replies(slot.queue, slot.known))
        request = Request(
            id=messages.new_id(),
            collective=self.config.collective,
            caller=self.config.caller,
            sender=self.config.sender,
            agent=action.agent,
            action=action.name,
            data=data,
            targets=None if expected is None else tuple(expected),
            filter=wanted.to_data(),
            time=time.time(),
            ttl=ttl or self.config.ttl,
            timeout=timeout - min(1.0, _MARGIN * timeout),
            reply_to=slot.queue,
        )
        call = Call(
            request=request,
            action=action,
            outcomes=Outcomes(expected or ()),
            transport=self._transport,
            slot=slot,
            timeout=timeout,
            window=window,
            discovery_ms=discovery_ms,
        )
        self._calls.append(call)
        return call, messages.seal(messages.encode(request), self._sign)


@contextmanager
def _closing_on_error(call: Call) -> Iterator[None]:
    try:
        yield
    except BaseException:
        call.close()
        raise
