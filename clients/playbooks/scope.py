"""The values that the expressions of a playbook see: inputs, variables, results of earlier steps, facts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from threading import Event
from typing import Any

from collective.clients.playbooks.definition import PlaybookDefinition, PlaybookStep
from collective.clients.playbooks.expressions import resolved
from collective.errors import UsageError


@dataclass(frozen=True)
class LoopRound:
    """One round of a loop: its step's number, the round from 1, and a digest of the item."""

    loop: str
    number: int
    digest: str


@dataclass(frozen=True)
class StepScope:
    """What one playbook, or one branch or round of it, sees. `vars` and `steps` are filled while it runs.

    `names` are items of loops, and `failure` within rescue. `prefix` is what the keys of its steps begin with, for
    people and in the saved state. With `recorded`, finished steps are saved; with `cleaning`, steps run although the
    playbook stops. No step begins after one of `halted` is set.
    """

    playbook: PlaybookDefinition
    inputs: Mapping[str, Any]
    about: Mapping[str, Any]
    facts: Mapping[str, Any]
    vars: dict[str, Any] = field(default_factory=dict)
    steps: dict[str, Any] = field(default_factory=dict)
    names: Mapping[str, Any] = field(default_factory=dict)
    prefix: tuple[str, str] = ("", "")
    rounds: tuple[LoopRound, ...] = ()
    recorded: bool = True
    cleaning: bool = False
    halted: tuple[Event, ...] = ()

    def values(self) -> dict[str, Any]:
        """Return the variables of expressions."""
        general = {"inputs": self.inputs, "vars": self.vars, "steps": self.steps, "facts": self.facts}
        return {**general, "playbook": self.about, **self.names}

    def key(self, step: PlaybookStep) -> str:
        """Return what a step is called in this run: `2[1].1` in the first round of the loop 2."""
        return self.prefix[0] + self._placed(step, lambda one: str(one.number))

    def saved_key(self, step: PlaybookStep) -> str:
        """Return the same for the saved state; rounds with another item than before have another key."""
        return self.prefix[1] + self._placed(step, lambda one: f"{one.number}:{one.digest}")

    def title(self, step: PlaybookStep) -> str:
        """Return the name of a step with its expressions evaluated; as it is written if they have no value yet."""
        try:
            return str(resolved(step.title, self.values()))
        except UsageError:
            return step.name

    def named(self, name: str, value: Any) -> StepScope:
        """Return a scope with a further name; variables and results are the same."""
        return replace(self, names={**self.names, name: value})

    def aside(self, *, cleaning: bool = False) -> StepScope:
        """Return the scope of the steps in rescue and always, which a resumed run repeats."""
        halted = () if cleaning else self.halted
        return replace(self, recorded=False, cleaning=self.cleaning or cleaning, halted=halted)

    def round(self, step: PlaybookStep, number: int, item: Any) -> StepScope:
        """Return the scope of one round of a loop, whose results are not seen outside."""
        digest = hashlib.sha256(json.dumps(item, sort_keys=True, default=str).encode()).hexdigest()[:8]
        rounds = (*self.rounds, LoopRound(step.number, number, digest))
        return replace(self.named(step.body["as"], item), steps=dict(self.steps), rounds=rounds)

    def branch(self, halted: Event) -> StepScope:
        """Return the scope of one branch of a parallel step: what it sets is seen when all have ended."""
        return replace(self, vars=dict(self.vars), steps=dict(self.steps), halted=(*self.halted, halted))

    def join(self, branches: Iterable[StepScope]) -> None:
        """Take what the branches have set."""
        for holder in ("vars", "steps"):
            own: dict[str, Any] = getattr(self, holder)
            before = dict(own)
            for branch in branches:
                found: dict[str, Any] = getattr(branch, holder)
                own.update({name: value for name, value in found.items() if before.get(name) is not value})

    def included(self, step: PlaybookStep, inputs: Mapping[str, Any]) -> StepScope:
        """Return the scope of an included playbook."""
        playbook = step.playbook_included
        about = {**self.about, "title": playbook.title, "file": str(playbook.file.path)}
        prefix = (f"{self.key(step)}/", f"{self.saved_key(step)}/")
        own = StepScope(playbook, inputs, about, self.facts, prefix=prefix, halted=self.halted)
        return replace(own, recorded=self.recorded, cleaning=self.cleaning)

    def result_of(self, step: PlaybookStep, data: Any) -> None:
        """Add the result of a step that has an id."""
        if step.id:
            self.steps[step.id] = data

    def set_below(self, step: PlaybookStep) -> dict[str, dict[str, Any]]:
        """Return the results and variables of the steps below a step; in a round of a loop, those of the round."""
        ids = {one.id for one in _below(step, loops=False)}
        names = {name for one in _below(step, loops=True) if one.kind == "set" for name in one.body}
        found = {"steps": {name: self.steps[name] for name in ids if name in self.steps}}
        return found | {"vars": {name: self.vars[name] for name in names if name in self.vars}}

    def _placed(self, step: PlaybookStep, shown: Callable[[LoopRound], str]) -> str:
        text = step.number
        for one in reversed(self.rounds):
            text = f"{one.loop}[{shown(one)}]{text[len(one.loop) :]}"
        return text


def _below(step: PlaybookStep, *, loops: bool) -> Iterator[PlaybookStep]:
    """Yield the steps below a step; those within loops below it only with `loops`."""
    for one in step.below:
        yield one
        if loops or one.kind != "for_each":
            yield from _below(one, loops=loops)


class LazyFacts(Mapping[str, Any]):
    """The facts of all nodes by identity, read from the registry when an expression first uses them."""

    def __init__(self, read: Callable[[], Mapping[str, Any]]) -> None:
        self._read = read
        self._facts: Mapping[str, Any] | None = None

    def _all(self) -> Mapping[str, Any]:
        if self._facts is None:
            self._facts = self._read()
        return self._facts

    def __getitem__(self, node: str) -> Any:
        return self._all()[node]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())
