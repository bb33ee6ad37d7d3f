"""Check that every variable of an expression is defined where it is used, as far as that is known before a run.

    inputs.x     in the schema of the inputs          steps.x   the id of an earlier step, not of a loop before
    vars.x       set by an earlier step               failure   within rescue
    item         within for_each

What a reply has, and members whose name is an expression itself, are known only when the playbook runs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from collective.clients.playbooks.definition import PlaybookDefinition, PlaybookStep
from collective.clients.playbooks.expressions import PlaybookExpression, expressions
from collective.clients.playbooks.source import SourcePlace
from collective.errors import ConfigError
from collective.suggestions import suggest

GENERAL = frozenset({"inputs", "vars", "steps", "facts", "playbook"})


@dataclass(frozen=True)
class KnownVariables:
    """The names that an expression may use, and the members of `inputs`, `vars` and `steps`."""

    inputs: frozenset[str]
    vars: frozenset[str] = frozenset()
    steps: frozenset[str] = frozenset()
    names: frozenset[str] = GENERAL

    def check(self, found: PlaybookExpression) -> None:
        """Raise ConfigError for a variable that is not defined."""
        for name in sorted(found.names):
            if name not in self.names:
                raise _undefined(found, name, name, self.names)
        for holder, name in sorted(found.members):
            known: frozenset[str] = getattr(self, holder)
            if holder in self.names and name not in known:
                raise _undefined(found, f"{holder}.{name}", name, known)

    def after(self, step: PlaybookStep) -> KnownVariables:
        """Return what is known after a step."""
        steps = self.steps | ({step.id} if step.id else set())
        known = replace(self, steps=steps)
        if step.kind == "set":
            known = replace(known, vars=known.vars | frozenset(step.body))
        below: Iterable[PlaybookStep] = () if step.kind == "for_each" else step.steps
        for one in (*below, *step.rescue, *step.always):
            known = known.after(one)
        if step.kind == "for_each":
            known = replace(known, vars=known.vars | _set_in(step.steps))
        return known


def check_names(playbook: PlaybookDefinition) -> None:
    """Raise ConfigError for the first undefined variable or repeated id of a playbook and those that it includes."""
    ids: dict[tuple[str, str], SourcePlace] = {}
    for owner, step in playbook.every_step():
        first = ids.setdefault((str(owner.file.path), step.id), step.place)
        if step.id and first != step.place:
            raise step.place.at("id").error(f"the id '{step.id}' is already used in line {first.line}")
    seen = set()
    for owner in (playbook, *(step.included for _, step in playbook.every_step() if step.included)):
        if owner.file.path not in seen:
            seen.add(owner.file.path)
            _check_step(owner.root, KnownVariables(frozenset(owner.inputs.inputs)))


def _check_step(step: PlaybookStep, known: KnownVariables) -> None:
    for part in (step.when, step.body, step.retry and step.retry.delay, step.title):
        for found in expressions(part):
            known.check(found)
    inner = known
    if step.kind == "for_each":
        name = step.body["as"]
        if name in known.names:
            raise step.place.at("for_each", "as").error(f"as: '{name}' is the item of an outer loop (use another name)")
        inner = replace(known, names=known.names | {name})
    for one in step.steps:
        _check_step(one, inner)
        if step.kind != "parallel":
            inner = inner.after(one)
    ended = known.after(replace(step, rescue=(), always=()))
    _check_list(step.rescue, replace(ended, names=ended.names | {"failure"}))
    _check_list(step.always, known.after(replace(step, always=())))


def _check_list(steps: Iterable[PlaybookStep], known: KnownVariables) -> None:
    for step in steps:
        _check_step(step, known)
        known = known.after(step)


def _set_in(steps: Iterable[PlaybookStep]) -> frozenset[str]:
    found: set[str] = set()
    for step in steps:
        found |= set(step.body) if step.kind == "set" else set()
        found |= _set_in(step.below)
    return frozenset(found)


def _undefined(found: PlaybookExpression, shown: str, name: str, known: Iterable[str]) -> ConfigError:
    names = sorted(known)
    hint = suggest(name, names, f"known here: {', '.join(names)}" if names else "nothing is known here")
    return found.place.error(f"undefined variable '{shown}' in '{found.text}' ({hint})")
