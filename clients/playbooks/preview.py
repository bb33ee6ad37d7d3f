"""Look at what a playbook would do, as far as that is known before it runs; nothing is sent.

What depends only on inputs is resolved and checked as when it runs: conditions, options, inputs of actions, nodes that
the registry knows. What depends on replies, answers and outputs of commands is shown as it is written.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from collective.clients.playbooks import call_options
from collective.clients.playbooks.call_checks import call_of
from collective.clients.playbooks.definition import PlaybookStep
from collective.clients.playbooks.expressions import PlaybookExpression, expressions, resolved
from collective.clients.playbooks.scope import StepScope
from collective.clients.render.formatting import in_words
from collective.errors import CollectiveError, ConfigError, NoNodes, RPCError, TransportError, UsageError

if TYPE_CHECKING:
    from collective.catalog import Catalog
    from collective.clients.prepared_call import PreparedCall
    from collective.config import ClientConfig
    from collective.fleet.fleet import Fleet

_NEVER = ("steps", "failure")  # names that are known only when the playbook runs
_REPEATING = ("until", "every", "for")


@dataclass
class PreviewedStep:
    """A step as it would run. `nodes` is None if they are known only when it runs; `later` are the reasons."""

    number: str
    name: str
    kind: str
    does: str
    when: str = ""
    omitted: bool = False
    nodes: tuple[str, ...] | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    later: list[str] = field(default_factory=list)


@dataclass
class PlaybookPreview:
    """Walks over the steps. Without a fleet, nodes are not looked up. `rows` are the steps so far."""

    shared: argparse.Namespace
    config: ClientConfig
    catalog: Catalog
    fleet: Fleet | None = None
    rows: list[PreviewedStep] = field(default_factory=list)

    def look(self, scope: StepScope) -> list[PreviewedStep]:
        """Return all steps; raise ConfigError, naming file and line, for the first that is wrong."""
        self._list(scope.playbook.root.below, scope, frozenset())
        return self.rows

    def _list(self, steps: Iterable[PlaybookStep], scope: StepScope, unknown: frozenset[str]) -> None:
        for step in steps:
            self._step(step, scope, unknown)

    def _step(self, step: PlaybookStep, scope: StepScope, unknown: frozenset[str]) -> None:
        is_condition = step.kind == "assert"  # it is shown as it is written
        text = _conditions(step) if is_condition else does(step.kind, _partly(step.body, scope, unknown))
        row = PreviewedStep(scope.key(step), shown(_partly(step.title, scope, unknown)), step.kind, text)
        self.rows.append(row)
        if step.when is not None:
            row.when = step.when.text
            if _is_known(step.when, scope, unknown):
                row.omitted = not _value(step.when, scope)
            else:
                row.later.append("when")
        if not row.omitted:
            self._look_at(step, row, scope, unknown)
        if step.kind == "for_each":
            self._rounds(step, scope, unknown)
        else:
            self._list(step.steps, scope, unknown)
        self._list(step.rescue, scope, unknown)
        self._list(step.always, scope, unknown)

    def _rounds(self, step: PlaybookStep, scope: StepScope, unknown: frozenset[str]) -> None:
        """Look at each round of a loop, or at its steps once if the items are known only when it runs."""
        if not _is_known(step.body["in"], scope, unknown):
            self._list(step.steps, scope, unknown | {step.body["as"]})
            return
        items = _value(step.body["in"], scope)
        if not isinstance(items, list):
            raise step.place.at("for_each", "in").error(f"in: must be a list, not '{str(items)[:60]}'")
        for number, item in enumerate(items, start=1):
            self._list(step.steps, scope.round(step, number, item), unknown)

    def _look_at(self, step: PlaybookStep, row: PreviewedStep, scope: StepScope, unknown: frozenset[str]) -> None:
        if (body := call_of(step)) is not None:
            self._look_at_call(step, body, row, scope, unknown)
        elif step.kind == "set":
            for name, value in step.body.items():
                if _is_known(value, scope, unknown) and not row.when and name not in scope.vars:
                    scope.vars[name] = _value(value, scope)
        elif step.included is not None:
            self._look_at_include(step, row, scope, unknown)
        elif not _is_known(step.body, scope, unknown):
            row.later += [name for name, value in step.body.items() if not _is_known(value, scope, unknown)]

    def _look_at_include(
        self, step: PlaybookStep, row: PreviewedStep, scope: StepScope, unknown: frozenset[str]
    ) -> None:
        included = step.playbook_included
        given = step.body.get("inputs", {})
        inputs: Mapping[str, Any] = {}
        inner = frozenset({"inputs"})
        if _is_known(given, scope, unknown):
            try:
                inputs, inner = included.inputs.check_input(_value(given, scope)), frozenset()
            except RPCError as error:
                raise step.place.at("include", "inputs").error(str(error)) from None
        else:
            row.later.append("inputs")
        self._list(included.root.below, scope.included(step, inputs), inner)

    def _look_at_call(
        self,
        step: PlaybookStep,
        body: Mapping[str, Any],
        row: PreviewedStep,
        scope: StepScope,
        unknown: frozenset[str],
    ) -> None:
        place = step.place.at(*(("wait", "call") if step.kind == "wait" else ("call",)))
        repeat = {name: step.body[name] for name in _REPEATING if step.kind == "wait" and name in step.body}
        row.later += [name for name, value in {**body, **repeat}.items() if not _is_known(value, scope, unknown)]
        if set(row.later) - {"when"}:
            row.settings = written(_partly({**body.get("targets", {}), **body.get("pace", {})}, scope, unknown))
            return
        found = _value({**body, "repeat": repeat}, scope)
        repeat = found.pop("repeat")
        row.settings = {**found.get("targets", {}), **found.get("pace", {})}
        try:
            _args, prepared = call_options.prepared(found, self.shared, self.config, self.catalog, **repeat)
        except ConfigError:
            raise
        except CollectiveError as error:
            raise place.error(str(error)) from None
        row.does = _call_text(prepared, step)
        row.nodes = self._nodes(prepared)

    def _nodes(self, prepared: PreparedCall) -> tuple[str, ...] | None:
        """Return the nodes as the registry has them; None if the nodes must be asked."""
        from collective.filters import DataTest, leaves

        targets = prepared.targets
        asks = any(isinstance(test, DataTest) for test in leaves(targets.filter))
        if self.fleet is None or asks or targets.method == "broadcast" or self.config.registry == "none":
            return None
        try:
            return tuple(self.fleet.find(replaced_method(targets), prepared.action.agent).nodes)
        except NoNodes:
            return ()
        except TransportError:
            return None


def replaced_method(targets: Any) -> Any:
    """Return targets that only the registry selects."""
    from collective.fleet.targets import Targets

    rest = (targets.discovery_timeout, targets.limit, targets.limit_seed, targets.sets)
    names_only = targets.nodes is not None and targets.method is None
    return targets if names_only else Targets(targets.filter, targets.nodes, "registry", *rest)


def _is_known(compiled: Any, scope: StepScope, unknown: frozenset[str]) -> bool:
    return all(_expression_is_known(one, scope, unknown) for one in expressions(compiled))


def _expression_is_known(found: PlaybookExpression, scope: StepScope, unknown: frozenset[str]) -> bool:
    if found.names & {*_NEVER, *unknown} or "vars" in found.whole:
        return False
    if any(holder == "vars" and name not in scope.vars for holder, name in found.members):
        return False
    return "facts" not in found.names or bool(scope.facts)


def _value(compiled: Any, scope: StepScope) -> Any:
    """Return a value that is known; an expression that fails is a ConfigError, because nothing has been sent."""
    try:
        return resolved(compiled, scope.values())
    except UsageError as error:
        raise ConfigError(str(error)) from None


def _partly(compiled: Any, scope: StepScope, unknown: frozenset[str]) -> Any:
    """Return a value with those of its expressions evaluated that are known."""
    if isinstance(compiled, PlaybookExpression):
        return _value(compiled, scope) if _expression_is_known(compiled, scope, unknown) else compiled
    if isinstance(compiled, Mapping):
        return {name: _partly(value, scope, unknown) for name, value in compiled.items()}
    return [_partly(value, scope, unknown) for value in compiled] if isinstance(compiled, list) else compiled


def _conditions(step: PlaybookStep) -> str:
    return " and ".join(one.text for one in step.body["that"])


def does(kind: str, body: Any) -> str:
    """Return what a step of a kind does."""
    if kind in ("call", "wait") and (call := body if kind == "call" else body.get("call")):
        inputs = [f"{name}={shown(value)}" for name, value in call.get("inputs", {}).items()]
        text = " ".join([call["agent"], call["action"], *inputs])
        return f"{text} until {shown(body['until'])}" if kind == "wait" else text
    if kind == "wait":
        return f"until {shown(body['filter'])}"
    texts: Mapping[str, Callable[[], str]] = {
        "set": lambda: ", ".join(body),
        "for_each": lambda: f"{body['as']} in {shown(body['in'])}",
        "include": lambda: str(body["file"]),
        "ask": lambda: shown(body["question"]),
        "notify": lambda: shown(body.get("title", "")),
        "local": lambda: " ".join(map(shown, body["command"])),
    }
    return texts[kind]() if kind in texts else ""


def shown(compiled: Any) -> str:
    """Return a value for people, with its expressions as they are written."""
    return compiled.text if isinstance(compiled, PlaybookExpression) else in_words(written(compiled))


def written(compiled: Any) -> Any:
    """Return a value with the text of its expressions in their place."""
    if isinstance(compiled, PlaybookExpression):
        return compiled.text
    if isinstance(compiled, Mapping):
        return {name: written(value) for name, value in compiled.items()}
    return [written(value) for value in compiled] if isinstance(compiled, list) else compiled


def _call_text(prepared: PreparedCall, step: PlaybookStep) -> str:
    inputs = [f"{name}={in_words(value)}" for name, value in prepared.action.masked(prepared.data).items()]
    text = " ".join([prepared.action.agent, prepared.action.name, *inputs])
    return f"{text} until {shown(step.body['until'])}" if step.kind == "wait" else text
