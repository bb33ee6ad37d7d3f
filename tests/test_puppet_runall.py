"""`crpc puppet runall`: how many runs go on at once, and what becomes of nodes that are stuck, silent or refuse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest
from support.rendering import make_reply

from collective.clients.apps._runall import MAX_MISSED, STARTING, PuppetRun, RunAll
from collective.messages import Reply


@dataclass
class Machines:
    """Nodes whose runs take some rounds, by name; None: for ever. `peak` is the largest number of runs at once."""

    durations: Mapping[str, int | None]
    silent: frozenset[str] = frozenset()
    refused: frozenset[str] = frozenset()
    running: dict[str, int | None] = field(default_factory=dict)
    started: list[str] = field(default_factory=list)
    ended: list[PuppetRun] = field(default_factory=list)
    finished: dict[str, float] = field(default_factory=dict)
    summaries: bool = True  # whether a run leaves a summary with its time
    peak: int = 0
    time: float = 0.0

    def ask(self, action: str, nodes: Sequence[str]) -> dict[str, Reply]:
        """Return the replies of the nodes that are not silent."""
        return {node: self._reply(action, node) for node in nodes if node not in self.silent}

    def _reply(self, action: str, node: str) -> Reply:
        if action == "status":
            return make_reply(node, {"applying": node in self.running, "lastrun": self.finished.get(node, 0)})
        if node in self.refused:
            return make_reply(node, {}, 1, statusmsg="Puppet is disabled: upgrade")
        self.started.append(node)
        self.running[node] = self.durations[node]
        self.peak = max(self.peak, len(self.running))
        return make_reply(node, {"initiated_at": 1, "summary": ""})

    def wait(self, seconds: float) -> None:
        """Let a round pass."""
        self.time += seconds
        left = {node: rounds if rounds is None else rounds - 1 for node, rounds in self.running.items()}
        self.running = {node: rounds for node, rounds in left.items() if rounds != 0}
        if self.summaries:
            self.finished |= {node: self.time for node, rounds in left.items() if rounds == 0}

    def run_all(self, places: int, run_timeout: float = 3600.0) -> dict[str, str]:
        """Run all nodes; return how each one ended."""
        names = [*self.durations]
        work = RunAll(self.ask, names, places, self.ended.append, run_timeout, lambda: self.time)
        work.run(self.wait)
        return {node: one.end for node, one in work.runs.items()}


def nodes(**durations: int | None) -> dict[str, int | None]:
    return durations


@pytest.mark.parametrize("places", [1, 2, 5])
def test_never_more_runs_than_places(places: int) -> None:
    """All nodes run, and never more than N at once."""
    machines = Machines(nodes(a=3, b=1, c=4, d=2, e=1, f=5))
    assert set(machines.run_all(places).values()) == {"ended"}
    assert sorted(machines.started) == list("abcdef")
    assert machines.peak == places


def test_runs_that_are_going_on_take_a_place() -> None:
    """A run that was started elsewhere counts among the N, and is the run of its node."""
    machines = Machines(nodes(a=2, b=2, c=2), running={"c": 4})
    assert set(machines.run_all(2).values()) == {"ended"}
    assert (machines.peak, sorted(machines.started)) == (2, ["a", "b"])


def test_a_stuck_node_keeps_its_place_and_does_not_stop_the_rest() -> None:
    """A run that never ends keeps its place until the time limit; the other place serves all others meanwhile."""
    machines = Machines(nodes(a=None, b=2, c=2, d=2, e=2))
    ends = machines.run_all(2, run_timeout=600)
    assert [one.node for one in machines.ended] == ["b", "c", "d", "e", "a"]
    assert ends["a"].startswith("still running after 60")
    assert machines.peak == 2


def test_silent_nodes_and_refusals_are_reported() -> None:
    """A silent node counts as silent after some rounds, and a node that refuses gives its place to the next."""
    machines = Machines(nodes(a=1, b=1, c=1), silent=frozenset("a"), refused=frozenset("b"))
    ends = machines.run_all(2, run_timeout=60)
    assert ends["b"] == "Puppet is disabled: upgrade"
    assert (ends["c"], machines.started) == ("ended", ["c"])
    assert ends["a"].startswith("still running after")


def test_a_waiting_node_without_replies_is_silent() -> None:
    """A node that does not answer while it waits for its turn is not started."""
    machines = Machines(nodes(a=MAX_MISSED + 3, b=1), silent=frozenset("b"))
    machines.run_all(1)
    [silent] = [one for one in machines.ended if one.node == "b"]
    assert (silent.silent, silent.end, machines.started) == (True, "no response", ["a"])


def test_a_run_that_is_too_short_to_be_seen_has_ended() -> None:
    """A run that ends between two rounds is over as soon as its summary is there."""
    machines = Machines(nodes(a=1))
    assert machines.run_all(1) == {"a": "ended"}
    assert machines.time < STARTING


def test_a_run_without_a_summary_has_ended_after_a_while() -> None:
    """A run that is not seen and leaves no summary is over after the time that a start may take."""
    machines = Machines(nodes(a=1), summaries=False)
    assert machines.run_all(1) == {"a": "ended"}
    assert machines.time > STARTING
