"""Random playbooks over a scripted fleet keep the promises of the engine, by a model of thirty lines."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support.scripted_fleet import Part, Scripted

from collective.clients.commands.playbook import make_parser
from collective.clients.playbooks.definition import PlaybookStep
from collective.clients.playbooks.engine import PlaybookEngine
from collective.clients.playbooks.finished_steps import FinishedSteps
from collective.clients.playbooks.node_work import NodeWork
from collective.clients.playbooks.progress import PlaybookProgress
from collective.clients.playbooks.reading import read_playbook
from collective.clients.playbooks.results import StepFailure, StepResult
from collective.clients.playbooks.saved_state import PlaybookState, read_earlier
from collective.clients.playbooks.scope import StepScope
from collective.clients.repeated_call import RoundClock
from collective.exit_codes import FAILED
from collective.fleet.runs.folder import RunFolder
from collective.messages import new_id

NODES = {"good": Part(after=0.1), "bad": Part(after=0.1, statuscode=1)}
Steps = list[dict[str, Any]]
Log = list[tuple[str, str]]  # what has run: the name of a step, and a node or `here`


def leaf() -> st.SearchStrategy[dict[str, Any]]:
    """Return steps without steps below: calls of nodes, and commands that succeed, fail or are interrupted."""
    nodes = st.sampled_from([["good"], ["bad"], ["bad", "good"]])
    calls = st.fixed_dictionaries({"kind": st.just("call"), "nodes": nodes})
    acts = st.sampled_from(["ok", "ok", "fail", "interrupt"])
    return st.one_of(calls, calls, st.fixed_dictionaries({"kind": st.just("local"), "act": acts}))


def around(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Return steps with steps below, some with rescue, always or on_failure."""
    some, few = st.lists(inner, min_size=1, max_size=3), st.lists(inner, max_size=1)
    return st.fixed_dictionaries(
        {
            "kind": st.sampled_from(["steps", "steps", "for_each", "parallel"]),
            "steps": some,
            "rescue": few,
            "always": few,
            "on_failure": st.sampled_from(["stop", "stop", "continue"]),
        }
    )


def failing(always: Steps, rescue: Steps, on_failure: str = "stop") -> dict[str, Any]:
    """Return steps that fail."""
    call = {"kind": "call", "nodes": ["bad"]}
    return {"kind": "steps", "steps": [call], "rescue": rescue, "always": always, "on_failure": on_failure}


STEPS = st.lists(st.recursive(leaf(), around, max_leaves=6), min_size=1, max_size=3)
INTERRUPT = {"kind": "local", "act": "interrupt"}
GOOD = {"kind": "call", "nodes": ["good"]}
STOPPED_CLEANING = [{**failing([], [], "continue"), "steps": [failing([INTERRUPT], [])]}, GOOD]
RESCUED_CLEANING = [{**failing([failing([], [GOOD])], []), "steps": [INTERRUPT]}, GOOD]


def numbered(steps: Steps, numbers: Iterator[int]) -> Steps:
    """Return the steps with names, each of its own."""
    found = []
    for step in steps:
        below: dict[str, Any] = {
            part: numbered(step[part], numbers) for part in ("steps", "rescue", "always") if part in step
        }
        found.append({**step, **below, "name": f"n{next(numbers)}"})
    return found


def written(steps: Steps) -> Steps:
    """Return the steps as they are in a file."""
    return [_written(step) for step in steps]


def _written(step: dict[str, Any]) -> dict[str, Any]:
    kind, name = step["kind"], step["name"]
    if kind == "call":
        call = {"agent": "shell", "action": "run", "inputs": {"command": name}, "targets": {"nodes": step["nodes"]}}
        return {"name": name, "call": call}
    if kind == "local":
        return {"name": name, "local": {"command": [step["act"]]}}
    body: Any = written(step["steps"])
    body = {"in": [1, 2], "steps": body} if kind == "for_each" else body
    more = {part: written(step[part]) for part in ("rescue", "always") if step[part]}
    return {"name": name, kind: body, **more, **({} if step["rescue"] else {"on_failure": step["on_failure"]})}


@dataclass
class Model:
    """Runs steps as the documentation says; `done` are the finished ones and the nodes that were OK, by key."""

    fixed: bool = False  # everything succeeds now
    done: set[tuple[Any, ...]] = field(default_factory=set)
    log: Log = field(default_factory=list)
    interrupted: bool = False

    def steps(self, steps: Steps, key: tuple[Any, ...], cleaning: bool = False, aside: bool = False) -> bool:
        """Run steps until one fails; return whether none did."""
        return all(self.step(step, (*key, step["name"]), cleaning, aside) for step in steps)

    def step(self, step: dict[str, Any], key: tuple[Any, ...], cleaning: bool, aside: bool) -> bool:
        """Run one step; return whether the next one may run."""
        if self.interrupted and not cleaning:
            return False
        if key in self.done and not aside:
            return True
        before = self.interrupted
        ok = self.work(step, key, cleaning, aside)
        handled = not ok and self.interrupted == before  # an earlier interruption does not concern `always`
        if handled and step.get("rescue"):
            ok = self.steps(step["rescue"], key, cleaning, True)
        elif handled and step.get("on_failure") == "continue":
            ok = True
        ok &= self.steps(step.get("always", []), key, True, True)
        if ok and not aside:
            self.done.add(key)
        return ok

    def work(self, step: dict[str, Any], key: tuple[Any, ...], cleaning: bool, aside: bool) -> bool:
        """Do what a step does itself; return whether it succeeded."""
        if step["kind"] == "local":
            self.log.append((step["name"], "here"))
            self.interrupted |= step["act"] == "interrupt" and not self.fixed
            return step["act"] == "ok" or self.fixed
        if step["kind"] == "call":
            nodes = [node for node in step["nodes"] if aside or (*key, node) not in self.done]
            self.log += [(step["name"], node) for node in nodes]
            ok = [node for node in nodes if self.fixed or node == "good"]
            self.done |= set() if aside else {(*key, node) for node in ok}
            return ok == nodes
        if step["kind"] == "for_each":
            return all(self.steps(step["steps"], (*key, number), cleaning, aside) for number in (1, 2))
        if step["kind"] == "parallel":  # one after the other in this test: those after a failure do not begin
            return self.steps(step["steps"], key, cleaning, aside)
        return self.steps(step["steps"], key, cleaning, aside)


class Runs:
    """The engine over a scripted fleet; `log` is what has run."""

    def __init__(self, folder: Path, steps: Steps) -> None:
        self.folder = folder
        path = folder / "playbook.yaml"
        path.write_text(yaml.safe_dump({"title": "random", "steps": written(steps)}))
        self.playbook = read_playbook(path)
        self.states = RunFolder(folder / "playbooks")

    def run(self, fixed: bool = False, resume: bool = False) -> tuple[Log, StepFailure | None, list[dict[str, Any]]]:
        """Run the playbook; return what has run, the failure, and the rows of the steps."""
        log: Log = []
        network = Scripted(dict.fromkeys(NODES, Part(after=0.1)) if fixed else NODES)
        network.watch = lambda sent: log.append((sent.request.data["command"], sent.node))
        args = make_parser().parse_args(["run", "x", "--yes", "--json", "--quiet"])
        state = PlaybookState(
            self.playbook, new_id(), self.states, read_earlier(self.states.newest()[0]) if resume else None
        )
        state.begin({"title": "random"}, {})
        progress = PlaybookProgress(args)

        def local(step: PlaybookStep, _scope: StepScope, _key: str) -> StepResult:
            log.append((step.name, "here"))
            if not fixed and step.body["command"] == ["interrupt"]:
                raise KeyboardInterrupt
            failed = not fixed and step.body["command"] == ["fail"]
            return StepResult({}, FAILED if failed else 0, "failed" if failed else "")

        with network.fleet(self.folder) as fleet:
            work = NodeWork(args, fleet, state, progress, RoundClock(network.clock, lambda _: None))
            engine = PlaybookEngine(
                self.playbook,
                {"call": work.call, "local": local},
                FinishedSteps(state, progress.secrets),
                progress,
                RoundClock(network.clock, lambda _: None),
                in_threads=False,
            )
            failure = engine.run(StepScope(self.playbook, {}, {}, {}))
        state.end("stopped" if failure else "ended", "", "")
        return log, failure, progress.rows


def ordered(log: Log) -> Log:
    """Return a log with the nodes of one call sorted, because they are sent to at once."""
    return [one for _, group in itertools.groupby(log, key=lambda one: one[0]) for one in sorted(group)]


@given(steps=STEPS)
@example(steps=STOPPED_CLEANING)
@example(steps=RESCUED_CLEANING)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_playbook_breaks_a_promise(tmp_path_factory: Any, steps: Steps) -> None:
    """Nothing is sent after a stop, always runs, and a resumed run repeats no finished step and no OK node.

    A model says what runs, in which order: in the first run, and in the run that is resumed when the causes are gone.
    """
    steps = numbered(steps, itertools.count())
    runs, model = Runs(tmp_path_factory.mktemp("playbook"), steps), Model()
    ended = model.steps(steps, ())
    log, failure, _ = runs.run()
    assert ordered(log) == ordered(model.log)
    assert (failure is None) == ended
    again = Model(fixed=True, done=set(model.done))
    again.steps(steps, ())
    log, failure, rows = runs.run(fixed=True, resume=True)
    assert ordered(log) == ordered(again.log)
    assert failure is None, rows


@given(steps=STEPS)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_always_runs_after_every_step_that_has_begun(tmp_path_factory: Any, steps: Steps) -> None:
    """Each step that is in the rows and did not only finish before has run the first step of its always block."""
    steps = numbered(steps, itertools.count())
    _log, _failure, rows = Runs(tmp_path_factory.mktemp("playbook"), steps).run()
    ran = {row["step"] for row in rows}
    for owner, first in wanted(steps, ""):
        assert owner not in ran or first in ran, rows


def wanted(steps: Steps, prefix: str) -> Iterator[tuple[str, str]]:
    """Yield the step number of each step with an always block outside of loops, and that of the block's first step."""
    for number, step in enumerate(steps, start=1):
        own = f"{prefix}{number}"
        if step.get("always"):
            yield own, f"{own}.always.1"
        if step["kind"] in ("steps", "parallel"):
            yield from wanted(step["steps"], f"{own}.")
