"""The rules of a policy, and the decision on a request."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from collective import filters
from collective.filters import Budget, Filter, Node
from collective.policy.input_names import Actions, named
from collective.policy.input_types import without_effect
from collective.policy.requirements import NO_REQUIREMENTS, CallFacts, Requirements
from collective.policy.time_window import TimeWindow
from collective.quick_check import certainly_valid
from collective.suggestions import suggest
from collective.time_limit import CheckTimeout, check_time, limited

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

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
    """Whether `caller` may run `action` of `agent` with the inputs `data` on `node`, or only a dry run of it.

    `known` are the actions whose inputs are known: those that the node has. `call` is what requirements and times are
    about.

    In a replay of an audit log, a `node` of None is unknown, `masked` are the inputs whose values are unknown, and
    `partial` says that there were more inputs.
    """

    caller: str
    agent: str
    action: str
    data: Mapping[str, Any]
    node: Node | None
    masked: frozenset[str] = frozenset()
    partial: bool = False
    dry_run: bool = False
    known: Actions = field(default_factory=dict)
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

    With `dry_run` true the rule matches only dry runs, with false only real runs, with None both. `between` are the
    times of day at which it matches (None: always). A rule that allows denies the requests that match and do not meet
    its `requires`.
    """

    name: str
    callers: tuple[str, ...] = ("*",)
    agents: tuple[str, ...] = ("*",)
    actions: tuple[str, ...] = ("*",)
    node: Filter = field(default_factory=Filter)
    inputs: Mapping[str, Any] | None = None
    allow: bool = True
    dry_run: bool | None = None
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
        if not self._covers(question):
            return False
        if self.dry_run not in (None, question.dry_run):
            return False
        conditions = (
            self._matches_time(question.call.time),
            self._matches_node(question.node),
            self._matches_inputs(question),
        )
        if False in conditions:
            return False
        return None if None in conditions else True

    def absent_inputs(self, question: Question) -> frozenset[str]:
        """Return the inputs that this rule names and the action does not have; empty for another rule's request."""
        has = question.known.get((question.agent, question.action))
        if self.inputs is None or has is None or not self._covers(question):
            return frozenset()
        return self._names - has.keys()

    def without_effect(self, question: Question) -> bool:
        """Return whether the inputs of a request that this rule covers are of types that its schema is not about."""
        has = question.known.get((question.agent, question.action), {})
        return self.inputs is not None and any(True for _ in without_effect(self.inputs, has))

    def mistyped(self, known: Actions) -> Iterator[tuple[str, str]]:
        """Yield each input of an action covered by this rule that is of another type than its schema, and the problem.

        Requests for such an action are denied.
        """
        for (agent, action), has in sorted(known.items()):
            if self.inputs is not None and self._names_action(agent, action):
                yield from (
                    (f"{agent} {action}", f"'{name}': {line}") for name, line in without_effect(self.inputs, has)
                )

    def misspelt(self, known: Actions) -> Mapping[str, str]:
        """Return the inputs that no action covered by this rule has, each with a hint.

        None are returned if the rule may cover actions that are not in `known`.
        """
        covered = [names for (agent, action), names in known.items() if self._names_action(agent, action)]
        if self.inputs is None or not covered or self._covers_more(known):
            return {}
        existing = frozenset[str]().union(*(names.keys() for names in covered))
        return {name: suggest(name, sorted(existing)) for name in sorted(self._names - existing)}

    def _covers(self, question: Question) -> bool:
        return _one_matches(self.callers, question.caller) and self._names_action(question.agent, question.action)

    def _names_action(self, agent: str, action: str) -> bool:
        return _one_matches(self.agents, agent) and _one_matches(self.actions, action)

    def _covers_more(self, known: Actions) -> bool:
        """Return whether this rule may cover actions that are not known. Globs in a rule that denies count as such."""
        globs = [*self.agents, *self.actions]
        if not self.allow and any(_is_glob(glob) for glob in globs):
            return True
        agents = {agent for agent, _ in known}
        actions = {action for agent, action in known if _one_matches(self.agents, agent)}
        named = ((self.agents, agents), (self.actions, actions))
        return any(glob not in existing for globs, existing in named for glob in globs if not _is_glob(glob))

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
        matching = filters.matches(self.node, node, filters.no_data, budget)
        return None if budget.spent else matching

    def _matches_inputs(self, question: Question) -> bool | None:
        if self.inputs is None:
            return True
        if self.absent_inputs(question):
            if self.allow:
                return False
            if self.misspelt(question.known):
                return None
        if self.without_effect(question):
            return None
        if question.partial or any(_depends_on(self.inputs, name) for name in question.masked):
            return None
        try:
            data = dict(question.data)
            return certainly_valid(self.inputs, data) or self._validator.is_valid(data)
        except (RecursionError, ArithmeticError):  # a $ref that refers to itself, or a number out of range
            return None

    @cached_property
    def _names(self) -> frozenset[str]:
        return named(self.inputs or {})

    @cached_property
    def _validator(self) -> Draft202012Validator:
        from collective import json_schema  # a daemon whose rules need no more than quick_check saves 3 MB

        return json_schema.validator(self.inputs or {})


@dataclass(frozen=True)
class Policy:
    """The rules in force, in order. `digest` is that of the file, empty without one."""

    rules: Sequence[Rule]
    digest: str = field(default="", compare=False)

    @cached_property
    def limits_hours(self) -> bool:
        """Whether a rule limits the nodes of a caller's calls within an hour."""
        return any(rule.requires.max_targets_per_hour is not None for rule in self.rules)

    def decide(self, question: Question) -> Decision:
        """Return the decision of the first matching rule. A rule that cannot be evaluated denies the request."""
        with limited(DECISION_SECONDS):
            return self._decide(question)

    def _decide(self, question: Question) -> Decision:
        for rule in self.rules:
            matching = rule.matches(question)
            if matching is None:
                return _undecided(rule)
            if matching:
                return rule.decide(question)
        return self._no_rule(question)

    def possible(self, question: Question) -> list[Decision]:
        """Return every possible decision on a question with unknown parts; exactly one if all is known."""
        found: list[Decision] = []
        for rule in self.rules:
            with limited(DECISION_SECONDS):
                matching = rule.matches(question)
            if matching is None and _denies_undecided(rule, question):
                return [*found, _undecided(rule)]
            if matching is not False:
                found.append(rule.decide(question))
                if rule.allow and rule.requires.depends_on_hour(question.call):
                    found.append(Decision(False, rule.name, f"rule '{rule.name}' limits the nodes per hour"))
            if matching:
                return found
        return [*found, self._no_rule(question)]

    def _no_rule(self, question: Question) -> Decision:
        """Return the denial of a request that no rule matches.

        It names a rule with inputs that the action lacks, or one that would allow the request at another time.
        """
        for rule in self.rules:
            if rule.allow and rule.between and replace(rule, between=None).matches(question):
                return Decision(False, None, f"no rule allows it now (rule '{rule.name}': {rule.between.text})")
            if rule.allow and (absent := rule.absent_inputs(question)):
                what = f"the input '{min(absent)}', which {question.agent} {question.action} does not have"
                return replace(NO_RULE_ALLOWS, why=f"{NO_RULE_ALLOWS.why} (rule '{rule.name}' names {what})")
        return NO_RULE_ALLOWS

    def input_problems(self, known: Actions) -> list[str]:
        """Return an error for each input that no action covered by its rule has, or that is of another type there."""
        misspelt = [
            f"rule '{rule.name}': inputs: no action that it covers has an input '{name}'"
            + (f" ({hint})" if hint else "")
            for rule in self.rules
            for name, hint in rule.misspelt(known).items()
        ]
        mistyped = [
            f"rule '{rule.name}': inputs: {problem} ({action})"
            for rule in self.rules
            for action, problem in rule.mistyped(known)
        ]
        return misspelt + mistyped


def _denies_undecided(rule: Rule, question: Question) -> bool:
    """Return whether a rule cannot be evaluated for a request, whatever the unknown parts of the request are."""
    return rule.without_effect(question) or (not rule.allow and bool(rule.misspelt(question.known)))


def _undecided(rule: Rule) -> Decision:
    return Decision(False, rule.name, f"rule '{rule.name}' cannot be evaluated, so the request is denied")


def _one_matches(globs: Sequence[str], value: str) -> bool:
    return any(fnmatch.fnmatchcase(value, glob) for glob in globs)


def _is_glob(text: str) -> bool:
    return any(char in text for char in "*?[")


def _depends_on(schema: Mapping[str, Any], name: str) -> bool:
    """Return whether the result of a schema may depend on the value of the input `name`; True if unsure."""
    if not schema.keys() <= _ABOUT_NAMES | _COMMENTS | {"properties", "additionalProperties"}:
        return True
    return name in schema.get("properties", {}) or not isinstance(schema.get("additionalProperties", True), bool)
