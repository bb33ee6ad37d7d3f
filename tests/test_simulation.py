"""A fleet in one thread over a faulty network: no action runs twice, and every node has an outcome.

`make simulation` runs 100,000 requests for each of two seeds; here fewer are run. Nodes are killed before and after
every use of the journal, the transport and the runner.
"""

from __future__ import annotations

import itertools
import json
import os
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.simulated import Make

from collective import messages, names
from collective.fleet.call import Call
from collective.testing import COLLECTIVE, FaultRates, NodeDied, Simulation

REQUESTS = int(os.environ.get("SIMULATED_REQUESTS", "1500"))  # for each seed; half as many in tests with losses
SEEDS = [int(seed) for seed in os.environ.get("SIMULATED_SEEDS", "1 1000001").split()]
NODES = 100
CALLS = 10  # per simulation
TIMEOUT = 4.0  # seconds of simulated time

CODE = """
from collective.agent import action

@action
def mark(number):
    return {"number": number}
"""
NUMBER = {"number": {"type": "integer"}}
DDL = {
    "metadata": {"name": "odd", "description": "For the test", "version": "1", "timeout": 10},
    "actions": {
        "mark": {
            "description": "Do something that must be done once",
            "input": {"type": "object", "required": ["number"], "properties": NUMBER},
            "output": {"type": "object", "properties": NUMBER},
        }
    },
}


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the code and DDL of an agent."""
    folder = tmp_path_factory.mktemp("plugins")
    (folder / "odd.py").write_text(CODE)
    (folder / "odd.json").write_text(json.dumps(DDL))
    return folder


def call(world: Simulation, number: int, timeout: float = TIMEOUT) -> Call:
    """Call an action that must run once on every node, and wait for the replies."""
    made = world.fleet.call("odd", "mark", {"number": number}, timeout=timeout)
    made.wait()
    return made


def suffered(world: Simulation, made: Call) -> set[str]:
    """Return the nodes of a call whose request or reply was lost."""
    identities = {names.node_queue(COLLECTIVE, name): name for name in world.nodes}
    requests = [(identities[queue], messages.unseal(body).content) for queue, body in world.far.lost]
    replies = [messages.unseal(body).content for _, body in world.near.lost]
    return {name for name, request in requests if request["id"] == made.request_id} | {
        reply["sender"] for reply in replies if reply["request"] == made.request_id
    }


def simulate(make: Make, rates: FaultRates, seed: int, requests: int) -> Counter[str]:
    """Make and check calls, in as many simulations as needed; return the number of nodes by outcome."""
    total: Counter[str] = Counter()
    seeds = itertools.count(seed, 2)  # a simulation uses two seeds
    while total["requests"] < requests:
        with make(NODES, rates, seed=next(seeds)) as world:
            for number in range(CALLS):
                check(world, call(world, number), total)
            world.pass_time(10)
            assert set(world.ran.values()) == {1}
            total["run"] += world.ran.total()
            total["faults"] += (world.far.counts + world.near.counts).total()
    print("\n" + report(rates, seed, next(seeds) - 1, total))  # noqa: T201 - seen with -s, or on failure
    return total


def report(rates: FaultRates, first: int, last: int, total: Counter[str]) -> str:
    """Return a summary in one line."""
    shown = ", ".join(f"{kind} {rate:.0%}" for kind, rate in asdict(rates).items() if 0 < rate < 1)
    counts = ", ".join(f"{total[kind]:,} {kind}" for kind in ("requests", "faults", "run", "ok", "silent"))
    return f"{shown}; seeds {first} to {last}: {counts}"


def check(world: Simulation, made: Call, total: Counter[str]) -> None:
    """Check that every node has an outcome, and that a request or reply of each silent node was lost."""
    counts = made.outcomes.counts()
    assert counts["ok"] + counts["silent"] == NODES, counts
    lost, silent = suffered(world, made), set(made.outcomes.silent)
    assert silent <= lost
    if not world.far.rates.duplicate:  # with duplicates, another copy may have arrived
        assert silent == lost
    total.update(requests=NODES, ok=counts["ok"], silent=counts["silent"])


@pytest.mark.parametrize("seed", SEEDS)
def test_with_the_faults_of_sqs_every_action_runs_once(simulation: Make, seed: int) -> None:
    """With duplicates, delays and reordering, each node runs each request once, and its reply arrives."""
    total = simulate(simulation, FaultRates(duplicate=0.05, delay=0.3, reorder=0.3), seed, REQUESTS)
    assert total["ok"] == total["requests"] >= REQUESTS
    assert total["faults"] > total["requests"] // 10


@pytest.mark.parametrize("seed", SEEDS)
def test_with_losses_exactly_the_affected_nodes_are_silent(simulation: Make, seed: int) -> None:
    """The nodes whose request or reply was lost are silent, and no action runs twice."""
    total = simulate(simulation, FaultRates(drop=0.01, delay=0.3), seed, REQUESTS // 2)
    assert 0 < total["silent"] < total["requests"] // 20


@pytest.mark.parametrize("seed", SEEDS)
def test_with_losses_and_duplicates_nothing_runs_twice(simulation: Make, seed: int) -> None:
    """A request or reply of each silent node was lost, and all other nodes reply."""
    total = simulate(simulation, FaultRates(drop=0.01, duplicate=0.05, delay=0.3, reorder=0.3), seed, REQUESTS // 2)
    assert 0 < total["silent"] < total["requests"] // 20


def test_unreadable_messages_count_as_lost(simulation: Make) -> None:
    """Nodes and callers drop truncated messages, and the node is silent."""
    with simulation(NODES, FaultRates(corrupt=0.05), seed=4) as world:
        made = call(world, 1)
        assert set(made.outcomes.silent) == suffered(world, made) != set()
        assert set(world.ran.values()) == {1}


def test_nodes_behind_a_partition_drop_expired_requests(simulation: Make) -> None:
    """Unreachable nodes are silent, and drop the expired request when they are reachable again."""
    with simulation(10) as world:
        cut = sorted(world.nodes)[:3]
        world.far.cut(*(names.node_queue(COLLECTIVE, name) for name in cut))
        made = world.fleet.call("odd", "mark", {"number": 1}, timeout=TIMEOUT, ttl=3)
        assert made.wait().silent == cut
        world.far.heal()
        world.pass_time(1)
        assert len(world.ran) == 7
        assert call(world, 2).outcomes.exit_code() == 0


def test_replies_are_resent_after_a_network_failure(simulation: Make) -> None:
    """The replies arrive when the caller's queue is reachable again, within the timeout of the call."""
    with simulation(10) as world:
        call(world, 1)
        made = world.fleet.call("odd", "mark", {"number": 2}, timeout=TIMEOUT)
        world.far.cut(*(queue for queue in world.network.sent if "_reply_" in queue))
        world.pass_time(1)
        assert len(world.ran) == 20
        world.far.heal()
        assert made.wait().exit_code() == 0


def test_the_same_seed_gives_the_same_faults(simulation: Make) -> None:
    """The faults of requests and replies are repeatable, so that a failure can be reproduced."""

    def happened(seed: int) -> list[Counter[str]]:
        with simulation(20, FaultRates(drop=0.1, duplicate=0.1, delay=0.3), seed=seed) as world:
            call(world, 1)
            return [world.far.counts, world.near.counts]

    assert happened(5) == happened(5) != happened(6)


def test_a_simulation_closes_all_its_files(simulation: Make) -> None:
    """Any number of simulations can run one after the other."""

    def held() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    with simulation(1) as world:
        call(world, 1)
    before = held()
    with simulation(5, durable=True) as world:
        call(world, 1)
        world.start("node0001")
        assert held() > before
    assert held() == before


# -- nodes that are killed


class Reaper:
    """Kills a node at the step with a given number, once; `steps` are the steps since `armed` was set."""

    def __init__(self, number: int) -> None:
        self.steps: list[str] = []
        self.armed = False
        self.died = ""
        self._number = number

    def __call__(self, _identity: str, step: str) -> None:
        """Record a step; end the node at the given step."""
        if not self.armed or step.endswith(".now"):
            return
        self.steps.append(step)
        if len(self.steps) == self._number:
            self.died = step
            raise NodeDied(step)


# The steps of a node for one request, in order, and whether it knows the action's result after being killed there.
LIFE = {
    "before transport.receive": None,
    "after transport.receive": None,
    "before journal.find": None,
    "after journal.find": None,
    "before journal.too_early": None,
    "after journal.too_early": None,
    "before journal.begin": None,
    "after journal.begin": None,
    "before journal.start": None,
    "after journal.start": "interrupted",
    "before runner.expected": "interrupted",
    "after runner.expected": "interrupted",
    "before runner.run": "interrupted",
    "after runner.run": "interrupted",
    "before journal.finish": "interrupted",
    "after journal.finish": None,
    "before transport.send": None,
    "after transport.send": None,
    "before journal.done": None,
    "after journal.done": None,
    "before transport.acknowledge": None,
    "after transport.acknowledge": None,
}


def test_the_steps_of_a_request_are_these(simulation: Make) -> None:
    """The list of steps in this module is complete."""
    reaper = Reaper(0)
    with simulation(1, step=reaper) as world:
        reaper.armed = True
        call(world, 1)
    assert reaper.steps == list(LIFE)


@pytest.mark.parametrize("step", LIFE)
def test_a_node_killed_at_any_step_runs_nothing_twice(simulation: Make, step: str) -> None:
    """The restarted node replies with the result, or that the action was interrupted."""
    reaper = Reaper(1 + list(LIFE).index(step))
    with simulation(1, durable=True, step=reaper) as world:
        reaper.armed = True
        reply = call(world, 1, timeout=20.0).outcomes.replies["node0001"]
        world.pass_time(10)
    assert reaper.died == step
    assert reply.reason == LIFE[step]
    assert max(world.ran.values(), default=0) <= 1
    assert world.ran or not reply.ok


@settings(
    max_examples=int(os.environ.get("SIMULATED_WORLDS", "15")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    seed=st.integers(0, 2**32),
    rates=st.builds(
        FaultRates, **dict.fromkeys(("drop", "duplicate", "delay", "corrupt", "reorder", "throttle"), st.floats(0, 0.2))
    ),
    deaths=st.floats(0, 0.02),
)
def test_with_all_faults_nothing_runs_twice_and_ok_means_done(
    simulation: Make, seed: int, rates: FaultRates, deaths: float
) -> None:
    """With every fault at once and nodes killed at any step, each node has one correct outcome."""
    dice = Random(seed)  # noqa: S311 - must be repeatable, not secret

    def step(identity: str, _: str) -> None:
        if dice.random() < deaths:
            raise NodeDied(identity)

    with simulation(5, rates, seed=seed, durable=True, step=step) as world:
        for number in range(3):
            outcomes = call(world, number).outcomes
            assert outcomes.replies.keys() | set(outcomes.silent) == set(world.nodes)
            assert {reply.reason for reply in outcomes.replies.values()} <= {None, "interrupted", "expired"}
            for name in outcomes.ok:
                assert world.ran[name, "odd", "mark", json.dumps({"number": number})] == 1
        world.pass_time(10)
        assert max(world.ran.values(), default=0) <= 1
