"""A policy as values, and how it decides."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from jsonschema import Draft202012Validator

from collective import json_schema
from collective.filters import Budget, Filter, Node, matches

# Words of a schema for the data as a whole that look at the inputs' names, not at their values.
_ABOUT_NAMES = frozenset("type required minProperties maxProperties propertyNames dependentRequired".split())
_COMMENTS = frozenset({"$schema", "$comment", "title", "description"})


@dataclass(frozen=True)
class KnownNode:
    """A node as far as rules look at it."""

    facts: Mapping[str, Any]
    classes: frozenset[str]
    identity: str = ""
    agents: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Question:
    """Whether `caller` may have `agent` do `action` with the inputs `data` on `node`.

    When it is asked about the past, a `node` of None is one that is not known, and `masked` are inputs whose values
    are not known.
    """

    caller: str
    agent: str
    action: str
    data: Mapping[str, Any]
    node: Node | None
    masked: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Decision:
    """What a policy says, the name of the rule that says it (None: there is none), and both in words."""

    allow: bool
    rule: str | None
    why: str


NOBODY_ALLOWS = Decision(False, None, "no rule allows it")


@dataclass(frozen=True)
class Rule:
    """One rule. `callers`, `agents` and `actions` are names or globs, `inputs` is a JSON Schema or None."""

    name: str
    callers: tuple[str, ...] = ("*",)
    agents: tuple[str, ...] = ("*",)
    actions: tuple[str, ...] = ("*",)
    node: Filter = field(default_factory=Filter)
    inputs: Mapping[str, Any] | None = None
    allow: bool = True

    def holds(self, question: Question) -> bool | None:
        """Tell whether this rule speaks of `question`; None when that cannot be said."""
        parts = ((self.callers, question.caller), (self.agents, question.agent), (self.actions, question.action))
        if not all(any(fnmatch.fnmatchcase(value, glob) for glob in globs) for globs, value in parts):
            return False
        conditions = (self._fits_node(question.node), self._fits_inputs(question))
        if False in conditions:
            return False
        return None if None in conditions else True

    @property
    def decision(self) -> Decision:
        """What follows where this rule holds."""
        return Decision(self.allow, self.name, f"rule '{self.name}' {'allows' if self.allow else 'denies'} it")

    def _fits_node(self, node: Node | None) -> bool | None:
        if self.node.empty:
            return True
        if node is None:
            return None
        budget = Budget()
        fits = matches(self.node, node, _no_data, budget)
        return None if budget.spent else fits

    def _fits_inputs(self, question: Question) -> bool | None:
        if self.inputs is None:
            return True
        if any(_looks_at(self.inputs, name) for name in question.masked):
            return None
        try:
            return self._validator.is_valid(dict(question.data))
        except (RecursionError, ArithmeticError):  # a $ref that leads back to itself, a number beyond all bounds
            return None

    @cached_property
    def _validator(self) -> Draft202012Validator:
        return json_schema.validator(self.inputs or {})


@dataclass(frozen=True)
class Policy:
    """The rules in force, in order."""

    rules: Sequence[Rule]

    def decide(self, question: Question) -> Decision:
        """Return what the first rule says that holds; where one cannot be judged, the answer is no."""
        for rule in self.rules:
            holds = rule.holds(question)
            if holds is None:
                return Decision(False, rule.name, f"rule '{rule.name}' cannot be judged, so it denies it")
            if holds:
                return rule.decision
        return NOBODY_ALLOWS

    def possible(self, question: Question) -> list[Decision]:
        """Return every decision that `question` may have led to, as far as it is known: one, when all is known."""
        found = []
        for rule in self.rules:
            holds = rule.holds(question)
            if holds is not False:
                found.append(rule.decision)
            if holds:
                return found
        return [*found, NOBODY_ALLOWS]


def _no_data(_function: str, _query: str) -> None:
    """Answer nothing: reading has refused data functions."""


def _looks_at(schema: Mapping[str, Any], name: str) -> bool:
    """Tell whether a schema's verdict may depend on the value of the input `name`; in doubt it does."""
    if not schema.keys() <= _ABOUT_NAMES | _COMMENTS | {"properties", "additionalProperties"}:
        return True
    return name in schema.get("properties", {}) or not isinstance(schema.get("additionalProperties", True), bool)
