"""A fleet whose nodes follow a script, with a clock that advances only during waits: thousands of calls in seconds.

    network = Scripted({"web1": Part(after=2.0), "web2": Part(after=None)})
    call = network.fleet(folder).call("shell", "run", {"command": "true"}, targets=Targets(nodes=network.parts))

The caller's code is real; the script is behind its transport.
"""

from __future__ import annotations

import heapq
import itertools
import json
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from collective import messages, names, signing
from collective.catalog import Catalog
from collective.config import ClientConfig
from collective.ddl import DDL
from collective.errors import MessageTooLarge, NotFound, TransportError
from collective.fleet.fleet import Fleet
from collective.messages import Reply, Request
from collective.registry import Contents, NodeRecord
from collective.registry.memory import MemoryRegistry
from collective.transport import BATCH, BROADCAST_LIMIT, Delivery
from support.messages import request_digest

COLLECTIVE = "scripted"
_ANY = ""  # the name of a queue that every caller reads


class _ReadOnce(Catalog):
    """The standard DDLs, each read once for all calls."""

    @cache  # noqa: B019 - one instance for all tests
    def ddl(self, agent: str) -> DDL:
        return super().ddl(agent)


CATALOG = _ReadOnce([])


@dataclass(frozen=True)
class Part:
    """The script of a node: it reads its queue after `wakes` seconds, and replies `after` seconds later (None: never).

    Its reply arrives `copies` times.
    """

    after: float | None = 1.0
    statuscode: int = 0
    copies: int = 1
    wakes: float = 0.0
    absent: bool = False


@dataclass(frozen=True)
class Sent:
    """A request that a node received, and when the node works on it, by the script's clock."""

    node: str
    request: Request
    at: float
    begins: float
    ends: float


class Scripted:
    """The transport, the clock and the nodes; `received` are the replies delivered to the caller."""

    def __init__(self, parts: Mapping[str, Part]) -> None:
        self.parts = dict(parts)
        self.time = 0.0
        self.sent: list[Sent] = []
        self.direct = 0
        self.broadcasts = 0
        self.received: list[Reply] = []
        self.receives = 0
        self.registry = MemoryRegistry(clock=lambda: 0.0)  # of the last fleet
        self.error: TransportError | None = None  # raised when something is sent
        self.watch: Callable[[Sent], None] = lambda _: None
        self._queues = {names.node_queue(COLLECTIVE, node): node for node in parts}
        self._arrivals: dict[str, list[tuple[float, int, Reply]]] = {_ANY: []}
        self._revoked: set[tuple[str, str]] = set()
        self._numbers = itertools.count()
        self._digests: dict[str, str] = {}  # by request; a large one takes long
        self._lock = threading.RLock()

    def clock(self) -> float:
        """Return the script's time in seconds."""
        return self.time

    def fleet(
        self, folder: Path, *, discovery: float = 0.0, registered: Iterable[str] | None = None, **client: Any
    ) -> Fleet:
        """Return a caller of this fleet, with all nodes in its registry, which takes `discovery` seconds to read.

        `registered` are the nodes in the registry; without any there is no registry.
        """
        if registered is not None and not registered:
            config = ClientConfig(COLLECTIVE, state=folder, ddls=[], **client)
            return Fleet(config, self, None, catalog=CATALOG, clock=self.clock)
        registry = self.registry = _Registry(self, discovery)
        for node in self.parts if registered is None else registered:
            registry.put(NodeRecord(node, "1", agents={"shell": "1", "rpcutil": "1"}))
        config = ClientConfig(COLLECTIVE, state=folder, ddls=[], **client)
        return Fleet(config, self, registry, catalog=CATALOG, clock=self.clock)

    def working(self) -> int:
        """Return the number of nodes that work now."""
        return sum(sent.begins <= self.time < sent.ends for sent in self.sent)

    def arrive(self, reply: Reply, delay: float = 0.0, queue: str = _ANY) -> None:
        """Put a reply into the queue of a caller; without a name, into that of the next one to look."""
        heapq.heappush(self._arrivals.setdefault(queue, []), (self.time + delay, next(self._numbers), reply))

    # -- the transport

    def now(self) -> float:
        """Return the server's time."""
        return self.time

    @property
    def connections(self) -> int:
        """Return one: only the calling thread may wait, because it advances the clock."""
        return 1

    @property
    def installation(self) -> str:
        """Return the only one."""
        return "scripted"

    def check_subscription(self, queue: str, topic: str) -> None:
        """Do nothing: no subscription is lost."""

    def open_node(self, queue: str, topic: str) -> None:
        """Do nothing: all nodes have their queues."""

    def open_replies(self, queue: str, known: str | None = None) -> str:
        """Do nothing: there is one queue for replies."""
        return known or queue

    def send(self, queue: str, body: str) -> None:
        """Deliver a request to one node."""
        with self._lock:
            if self.error is not None:
                raise self.error
            node = self._queues.get(queue)
            if node is None or self.parts[node].absent:
                raise NotFound("queue", queue)
            self.direct += 1
            self._get(node, _read(body))

    def broadcast(self, topic: str, body: str) -> None:  # noqa: ARG002 - there is only one
        """Deliver a request to all of its targets."""
        if self.error is not None:
            raise self.error
        if len(body) > BROADCAST_LIMIT:
            raise MessageTooLarge(len(body), BROADCAST_LIMIT)
        self.broadcasts += 1
        request = _read(body)
        for node in self.parts:
            if request.targets is None or node in request.targets:
                self._get(node, request)

    def receive(self, queue: str, wait: float) -> list[Delivery]:
        """Return the replies that have arrived, or advance the clock to the next one, by at most `wait` seconds."""
        assert wait >= 0
        self.receives += 1
        assert self.receives < 5000, "the caller does not end"
        queues = [self._arrivals[_ANY], self._arrivals.setdefault(queue, [])]
        first = min((waiting[0][0] for waiting in queues if waiting), default=self.time + wait)
        self.time = max(self.time, min(self.time + wait, first))
        arrived: list[tuple[float, int, Reply]] = []
        for waiting in queues:
            while waiting and waiting[0][0] <= self.time and len(arrived) < BATCH:
                arrived.append(heapq.heappop(waiting))
        self.received += [reply for _, _, reply in arrived if reply.agent != "control"]
        return [self._delivery(reply, sent) for sent, _, reply in arrived]

    def acknowledge(self, queue: str, deliveries: Sequence[Delivery]) -> None:
        """Do nothing: replies are delivered again only as copies."""

    def unread(self, queue: str) -> int:
        """Return the number of requests that a node has not read yet."""
        node = self._queues[queue]
        return sum(sent.node == node and self.time < sent.at + self.parts[node].wakes for sent in self.sent)

    def unacknowledged(self, queue: str) -> int:
        """Return the same: a node acknowledges what it reads."""
        return self.unread(queue)

    # -- the nodes

    def _get(self, node: str, request: Request) -> None:
        if request.agent == "control":
            self._settle(node, request)
            return
        part = self.parts[node]
        if (node, request.id) in self._revoked:
            return
        begins = self.time + part.wakes
        expired = part.wakes > request.ttl
        # As in the daemon, the work ends at the request's timeout, counted from when it was sent.
        most = 0.0 if expired else max(0.0, request.timeout - part.wakes)
        works = most if part.after is None else min(part.after, most)
        sent = Sent(node, request, self.time, begins, begins + works)
        self.watch(sent)
        self.sent.append(sent)
        if part.after is None:
            return
        status = 5 if expired else part.statuscode
        for copy in range(part.copies):
            self.arrive(
                answer(request, node, status, self._digest(request)),
                part.wakes + (0.0 if expired else part.after) + copy,
                request.reply_to,
            )

    def _settle(self, node: str, request: Request) -> None:
        """Answer what became of a request, when the node reads its queue; one that has not arrived is revoked."""
        wanted, part = request.data["id"], self.parts[node]
        found = next((sent for sent in self.sent if sent.node == node and sent.request.id == wanted), None)
        if part.after is None:
            return
        began = max(self.time, found.begins) if found else self.time
        data: dict[str, Any] = {"id": wanted, "became": "revoked", "reply": None}
        if found is None:
            self._revoked.add((node, wanted))
        elif found.ends > began:
            data["became"] = "running"
        else:
            expired = part.wakes > found.request.ttl
            reply = answer(found.request, node, 5 if expired else part.statuscode)
            names = ("statuscode", "statusmsg", "reason", "data", "time", "elapsed_ms")
            data |= {"became": "ended", "reply": {name: getattr(reply, name) for name in names}}
        self.arrive(replace(answer(request, node), data=data), began - self.time, request.reply_to)

    def _digest(self, request: Request) -> str:
        if request.id not in self._digests:
            self._digests[request.id] = request_digest(request)
        return self._digests[request.id]

    def _delivery(self, reply: Reply, sent: float) -> Delivery:
        payload = json.dumps({"type": "reply", **vars(reply)})
        return Delivery(messages.seal(payload, signing.unsigned), sent, self.time, "")


class _Registry(MemoryRegistry):
    """A registry that takes some seconds to read."""

    def __init__(self, network: Scripted, seconds: float) -> None:
        super().__init__(clock=lambda: 0.0)
        self._network = network
        self._seconds = seconds

    def read(self) -> Contents:
        self._network.time += self._seconds
        return super().read()


def answer(request: Request, sender: str, statuscode: int = 0, digest: str = "") -> Reply:
    """Return a node's reply to a request, whose digest may be known."""
    digest = digest or request_digest(request)
    return Reply(
        request.id, digest, sender, request.agent, request.action, statuscode, "OK", {}, time=0.0, elapsed_ms=1.0
    )


def _read(body: str) -> Request:
    # Faster than `decode_request`, and the caller has already checked the request.
    content = messages.unseal(body).content
    known = {name: content[name] for name in Request.__dataclass_fields__}
    return Request(**{**known, "targets": None if content["targets"] is None else tuple(content["targets"])})
