"""Simulate hundreds of nodes in one thread, with a simulated clock and a faulty network, and the real code otherwise.

    with Simulation(tmp_path, 200, FaultRates(drop=0.01), seed=7, code=[…], ddls=[…]) as world:
        call = world.fleet.call("load", "status", timeout=5)
        outcomes = call.wait()              takes five seconds of simulated time
        world.pass_time(10)                 delayed messages arrive
        assert max(world.ran.values()) == 1

While the caller waits, every node takes its turn; when no node has anything to do, the clock advances. Actions are
called in this thread, not in their own processes, so deadlines do not end them. The same seed gives the same faults.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any

from collective import names
from collective.config import ClientConfig
from collective.errors import RPCError, TransportError
from collective.fleet.fleet import Fleet
from collective.node.actions.importing import imported
from collective.node.actions.job import CRASHED, ActionJob, ActionResult, failed_result
from collective.node.actions.runner import Runner
from collective.node.jobs.store import open_database
from collective.node.server import Server
from collective.node.storage.audit_log import AuditLog
from collective.node.storage.database import Database
from collective.node.storage.journal import Journal
from collective.registry.memory import MemoryRegistry
from collective.testing.faulty import FaultRates, FaultyTransport
from collective.testing.nodes import COLLECTIVE, make_node, node_parts, record
from collective.transport import Delivery, Transport
from collective.transport.memory import MemoryTransport

_TICK = 0.05  # seconds by which the clock advances when no node has anything to do

Step = Callable[[str, str], None]


class NodeDied(BaseException):
    """Raised by a test inside a node: the node ends there, and restarts with its journal."""


class InlinePool(Executor):
    """Runs functions immediately, in the calling thread; their exceptions propagate to the caller."""

    def submit(self, function: Callable[..., Any], /, *args: Any, **named: Any) -> Future[Any]:
        """Call the function, and return a completed future with its result."""
        future: Future[Any] = Future()
        future.set_result(function(*args, **named))
        return future


class InlineRunner(Runner):
    """Calls actions in the calling thread, and calls `ran` before each of them."""

    def __init__(self, ran: Callable[[ActionJob], None]) -> None:
        super().__init__()
        self._ran = ran
        self._functions: dict[tuple[str, str], Callable[..., Any]] = {}

    def run(self, job: ActionJob, timeout: float) -> ActionResult:  # noqa: ARG002 - a call in this thread cannot be ended
        """Call the action, and return its result."""
        self._ran(job)
        key = (job.path, job.action)
        if key not in self._functions:
            self._functions[key] = getattr(imported(Path(job.path), job.code), job.action)
        try:
            data = self._functions[key](**job.data, **job.supplied)
        except RPCError as error:
            return ActionResult(error.statuscode, str(error), error.reason, error.data)
        except Exception as error:
            return failed_result(f"{type(error).__name__}: {error}", reason=CRASHED)
        return ActionResult(data={} if data is None else data)


class Simulation:
    """A collective of `count` nodes `node0001` …, and a caller: `fleet`.

    `rates` are the faults of requests and replies, with random numbers from `seed`; `near` and `far` are the caller's
    and the nodes' side of `network` (only nodes are throttled, because a caller would raise the error). `ran` counts
    the calls of actions by (identity, agent, action, data as JSON). `time` is the simulated time in Unix seconds.

    `step` is called before and after every use of a node's journal, transport and runner, with the identity and the
    step, e.g. `before journal.begin`; it may raise NodeDied. Journals are in memory, or with `durable` in files, which
    survive their node. `caller` are further arguments of the Fleet, `server` of each Server.
    """

    def __init__(
        self,
        folder: Path,
        count: int,
        rates: FaultRates | None = None,
        *,
        seed: int = 0,
        code: Sequence[Path] = (),
        ddls: Sequence[Path] = (),
        durable: bool = False,
        step: Step | None = None,
        caller: Mapping[str, Any] = MappingProxyType({}),
        **server: Any,
    ) -> None:
        self.time = time.time()
        self.ran: Counter[tuple[str, str, str, str]] = Counter()
        self.network = network = MemoryTransport(clock=lambda: self.time)
        self.far = FaultyTransport(network, rates, seed)
        self.near = FaultyTransport(network, replace(self.far.rates, throttle=0.0), seed + 1)
        self._folder = folder
        self._durable = durable
        self._step = step
        self._parts = {**node_parts(folder, code, ddls), "make_pool": lambda *_: InlinePool(), **server}
        self._kept: dict[str, tuple[Journal, AuditLog, Database]] = {}  # what a node keeps when it dies
        self.nodes: dict[str, Server] = {}
        registry = MemoryRegistry(clock=lambda: self.time)
        for number in range(1, count + 1):
            identity = f"node{number:04}"
            network.open_node(names.node_queue(COLLECTIVE, identity), names.topic(COLLECTIVE))
            self.start(identity)
            registry.put(record(self.nodes[identity]))
        self.time = max(self.time, time.time())  # requests have the real time, and making many nodes takes minutes
        state = folder / "state"
        state.mkdir(exist_ok=True)
        (state / "installation").write_text("0000")  # else the reply queue and its faults would be random
        config = ClientConfig(COLLECTIVE, state=state, ddls=list(ddls), direct_limit=0)
        self.fleet = Fleet(config, _CallerTransport(self), registry, clock=lambda: self.time, **caller)

    def __enter__(self) -> Simulation:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.fleet.close()
        for identity in self._kept:
            self._close(identity)

    def start(self, identity: str) -> None:
        """Start a node, or restart one that has died, with its journal."""
        if identity in self._kept:
            self._close(identity)
        path = self._folder / f"{identity}.sqlite" if self._durable else None
        journal, audit = Journal(path, lambda: self.time), AuditLog(self._folder / f"{identity}.audit.jsonl")
        jobs = open_database(self._folder / f"{identity}.jobs.sqlite" if self._durable else None)
        self._kept[identity] = (journal, audit, jobs)
        journal.mark_beginning()
        runner = InlineRunner(lambda job: self._count(identity, job))
        parts = {
            "audit": audit,
            **self._parts,
            "jobs": jobs,
            "journal": self._watched(identity, "journal", journal),
            "runner": self._watched(identity, "runner", runner),
        }
        transport = self._watched(identity, "transport", self.far)
        self.nodes[identity] = make_node(self._folder, identity, transport, {}, parts)
        self._guarded(identity, self.nodes[identity].replies.recall)
        self._guarded(identity, self.nodes[identity].resume)

    def _close(self, identity: str) -> None:
        for kept in self._kept[identity]:
            kept.close()

    def turn(self) -> bool:
        """Give every node its turn; return whether any message was delivered."""
        before = self.far.delivered
        for identity in self.nodes:
            self._guarded(identity, partial(self.nodes[identity].receiver.receive_once, 0.0))
            self._guarded(identity, self.nodes[identity].replies.resend)
        return self.far.delivered > before

    def pass_time(self, seconds: float) -> None:
        """Advance the simulated time, and let the nodes work."""
        until = self.time + seconds
        while self.time < until:
            if not self.turn():
                self.time += _TICK

    def _guarded(self, identity: str, step: Callable[[], object]) -> None:
        """Let a node do something; after a transport error it tries again at its next turn, as `Server.serve` does."""
        try:
            step()
        except TransportError:
            pass
        except NodeDied:
            self.start(identity)

    def _count(self, identity: str, job: ActionJob) -> None:
        data = json.dumps(dict(job.data), sort_keys=True)
        self.ran[identity, Path(job.path).stem, job.action, data] += 1

    def _watched(self, identity: str, label: str, inner: Any) -> Any:
        step = self._step
        return _Watched(inner, lambda what: step(identity, what), label) if step else inner


class _Watched:
    """Forwards to `inner`, and calls `step` before and after each method."""

    def __init__(self, inner: Any, step: Callable[[str], None], label: str) -> None:
        self._inner = inner
        self._step = step
        self._label = label

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)
        if not callable(method):
            return method

        def call(*args: Any, **named: Any) -> Any:
            self._step(f"before {self._label}.{name}")
            result = method(*args, **named)
            self._step(f"after {self._label}.{name}")
            return result

        return call


class _CallerTransport:
    """The caller's transport: while it waits, the nodes work. Only one thread may wait."""

    def __init__(self, world: Simulation) -> None:
        self._world = world
        self._network: Transport = world.near

    @property
    def connections(self) -> int:
        """One: the simulation has one thread."""
        return 1

    def receive(self, queue: str, wait: float) -> list[Delivery]:
        """Let nodes take turns until a message arrives, or until `wait` seconds of simulated time have passed."""
        until = self._world.time + wait
        while True:
            found = self._network.receive(queue, 0.0)
            # Acknowledged here, because the caller's background thread would be late by the simulated clock.
            self._network.acknowledge(queue, found)
            if found or self._world.time >= until:
                return found
            if not self._world.turn():
                self._world.time = min(self._world.time + _TICK, until)

    def acknowledge(self, queue: str, deliveries: Sequence[Delivery]) -> None:
        """Do nothing: messages are acknowledged when they are received."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._network, name)
