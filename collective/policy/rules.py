"""The rules of a policy, and the decision on a request."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from jsonschema import Draft202012Validator

from collective import filters, json_schema
from collective.filters import Budget, Filter, Node
from collective.policy.requirements import NO_REQUIREMENTS, CallFacts, Requirements
from collective.policy.time_window import TimeWindow
from collective.time_limit import CheckTimeout, check_time, limited

# JSON Schema keywords of the inputs as a whole that depend on the names of inputs, not on their values.
_ABOUT_NAMES = frozenset("type required minProperties maxProperties propertyNames dependentRequired".split())
DECISION_SECONDS = 1.0  # for all rules that are evaluated for one request
_ONE_CALL = CallFacts()
_COMMENTS = frozenset({"$schema", "$comment", "title", "description"})


@dataclass(frozen=True)
class KnownNode:
    """The attributes of a node that rules use."""

    facts: Mapping[str, Any]
    classes: frozenset[str]
    identity: str = ""
    agents: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Question:
    """Whether `caller` may run `action` of `agent` with the inputs `data` on `node`.

    `call` is what requirements and times are about. In a replay of an audit log, a `node` of None is unknown, `masked`
    are the inputs whose values are unknown, and `partial` says that there were more inputs.
    """

    caller: str
    agent: str
    action: str
    data: Mapping[str, Any]
    node: Node | None
    masked: frozenset[str] = frozenset()
    partial: bool = False
    call: CallFacts = _ONE_CALL


@dataclass(frozen=True)
class Decision:
    """A decision, the name of the rule that made it (None: no rule matched), and the reason as a sentence."""

    allow: bool
    rule: str | None
    why: str


NO_RULE_ALLOWS = Decision(False, None, "no rule allows it")


@dataclass(frozen=True)
class Rule:
    """One rule. `callers`, `agents` and `actions` are names or globs, `inputs` is a JSON Schema or None.

    `between` are the times of day at which it matches (None: always). A rule that allows denies the requests that match
    and do not meet its `requires`.
    """

    name: str
    callers: tuple[str, ...] = ("*",)
    agents: tuple[str, ...] = ("*",)
    actions: tuple[str, ...] = ("*",)
    node: Filter = field(default_factory=Filter)
    inputs: Mapping[str, Any] | None = None
    allow: bool = True
    between: TimeWindow | None = None
    requires: Requirements = NO_REQUIREMENTS

    def matches(self, question: Question) -> bool | None:
        """Return whether this rule matches; None when that cannot be decided, or not within DECISION_SECONDS."""
        try:
            check_time()
            return self._matches(question)
        except CheckTimeout:
            return None

    def _matches(self, question: Question) -> bool | None:
        parts = ((self.callers, question.caller), (self.agents, question.agent), (self.actions, question.action))
        if not all(any(fnmatch.fnmatchcase(value, glob) for glob in globs) for globs, value in parts):
            return False
        conditions = (
            self._matches_time(question.call.time),
            self._matches_node(question.node),
            self._matches_inputs(question),
        )
        if False in conditions:
            return False
        return None if None in conditions else True

    @property
    def decision(self) -> Decision:
        """The decision where this rule matches, and its requirements are met."""
        return Decision(self.allow, self.name, f"rule '{self.name}' {'allows' if self.allow else 'denies'} it")

    def decide(self, question: Question) -> Decision:
        """Return the decision on a question that this rule matches."""
        unmet = self.requires.unmet(question.call) if self.allow else ""
        return Decision(False, self.name, f"rule '{self.name}' requires {unmet}") if unmet else self.decision

    def _matches_time(self, time: float | None) -> bool | None:
        if self.between is None:
            return True
        return None if time is None else self.between.contains(time)

    def _matches_node(self, node: Node | None) -> bool | None:
        if self.node.empty:
            return True
        if node is None:
            return None
        budget = Budget()
        matching = filters.matches(self.node, node, _no_data, budget)
        return None if budget.spent else matching

    def _matches_inputs(self, question: Question) -> bool | None:
        if self.inputs is None:
            return True
        if question.partial or any(_depends_on(self.inputs, name) for name in question.masked):
            return None
        try:
            return self._validator.is_valid(dict(question.data))
        except (RecursionError, ArithmeticError):  # a $ref that refers to itself, or a number out of range
            return None

    @cached_property
    def _validator(self) -> Draft202012Validator:
        return json_schema.validator(self.inputs or {})


@dataclass(frozen=True)
class Policy:
    """The rules in force, in order."""

    rules: Sequence[Rule]

    def decide(self, question: Question) -> Decision:
        """Return the decision of the first matching rule. A rule that cannot be evaluated denies the request."""
        with limited(DECISION_SECONDS):
            return self._decide(question)

    def _decide(self, question: Question) -> Decision:
        for rule in self.rules:
            matching = rule.matches(question)
            if matching is None:
                return Decision(False, rule.name, f"rule '{rule.name}' cannot be evaluated, so the request is denied")
            if matching:
                return rule.decide(question)
        return self._none_allows(question)

    def possible(self, question: Question) -> list[Decision]:
        """Return every possible decision on a question with unknown parts; exactly one if all is known."""
        found = []
        for rule in self.rules:
            with limited(DECISION_SECONDS):
                matching = rule.matches(question)
            if matching is not False:
                found.append(rule.decide(question))
                if rule.allow and rule.requires.depends_on_hour(question.call):
                    found.append(Decision(False, rule.name, f"rule '{rule.name}' limits the nodes per hour"))
            if matching:
                return found
        return [*found, self._none_allows(question)]

    def _none_allows(self, question: Question) -> Decision:
        """Return the denial when no rule matches; it names a rule that would allow the request at another time."""
        for rule in self.rules:
            if rule.allow and rule.between and replace(rule, between=None).matches(question):
                return Decision(False, None, f"no rule allows it now (rule '{rule.name}': {rule.between.text})")
        return NO_RULE_ALLOWS


def _no_data(_function: str, _query: str) -> None:
    """Return None: a policy has no data functions, because parsing rejects them."""


def _depends_on(schema: Mapping[str, Any], name: str) -> bool:
    """Return whether the result of a schema may depend on the value of the input `name`; True if unsure."""
    if not schema.keys() <= _ABOUT_NAMES | _COMMENTS | {"properties", "additionalProperties"}:
        return True
    return name in schema.get("properties", {}) or not isinstance(schema.get("additionalProperties", True), bool)
