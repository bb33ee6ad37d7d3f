"""Check the calls of a playbook before anything is sent: agents, actions, inputs and options, as far as they are known.

Values with expressions are checked later: those over inputs before the first step (`preview.py`), the others when their
step runs.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from collective.clients.playbooks.call_options import arguments, check_options
from collective.clients.playbooks.definition import PlaybookDefinition, PlaybookStep
from collective.clients.playbooks.expressions import PlaybookExpression, expressions
from collective.clients.playbooks.source import SourcePlace
from collective.errors import CollectiveError, ConfigError, DDLError, RPCError, UsageError
from collective.suggestions import suggest

if TYPE_CHECKING:
    from collective.catalog import Catalog
    from collective.ddl import Action

_NOT_OPTIONS = ("agent", "action", "inputs", "targets", "pace")
_REPEATING = ("until", "every", "for")


def agents(playbook: PlaybookDefinition) -> Iterator[str]:
    """Yield the agents that the playbook calls."""
    for _, step in playbook.every_step():
        body = call_of(step)
        if body is not None:
            yield body["agent"]


def call_of(step: PlaybookStep) -> Mapping[str, Any] | None:
    """Return the call of a step of the kinds call and wait; None if it has none."""
    bodies = {"call": lambda: step.body, "wait": lambda: step.body.get("call")}
    found: Mapping[str, Any] | None = bodies[step.kind]() if step.kind in bodies else None
    return found


def check_calls(playbook: PlaybookDefinition, shared: argparse.Namespace, catalog: Catalog) -> None:
    """Raise ConfigError for the first call, filter or include that is wrong."""
    for _, step in playbook.every_step():
        place = step.place.at(step.kind)
        if step.included is not None:
            _check_inputs(step.included.inputs, step.body.get("inputs", {}), place.at("inputs"))
        body = call_of(step)
        if body is None:
            _check_wait(step, place)
            continue
        place = place.at("call") if step.kind == "wait" else place
        try:
            action = catalog.action(body["agent"], body["action"])
        except UsageError as error:
            key = "agent" if "agent '" in str(error) else "action"
            raise place.at(key).error(str(error)) from None
        except DDLError as error:
            raise place.at("agent").error(str(error)) from None
        if (step.retry or step.kind == "wait") and not action.idempotent:
            what = "wait" if step.kind == "wait" else "retry"
            raise step.place.at(what).error(
                f"{what}: {action.agent} {action.name} is not idempotent, so it is not repeated"
            )
        _check_inputs(action, body.get("inputs", {}), place.at("inputs"))
        _check_options(step, body, place, shared, catalog)


def _check_inputs(action: Action, given: Mapping[str, Any], place: SourcePlace) -> None:
    """Refuse unknown and missing inputs, and values without expressions that do not match their schema."""
    for name in given:
        if name not in action.inputs:
            hint = suggest(name, action.inputs, f"inputs: {', '.join(action.inputs) or 'none'}")
            raise place.at(name).error(f"{action.agent} {action.name}: unknown input '{name}' ({hint})")
    known = {name: value for name, value in given.items() if not any(expressions(value))}
    try:
        if len(known) == len(given):
            action.check_input(known)
            return
        missing = [name for name in action.required if name not in {**given, **action.with_defaults({})}]
        if missing:
            raise place.error(f"{action.agent} {action.name}: required input '{missing[0]}' is missing")
        for name, value in known.items():
            if not action.accepts(name, value):
                raise place.at(name).error(
                    f"{action.agent} {action.name}: input '{name}': {_shown(value)} is not valid"
                )
    except RPCError as error:
        named = next((name for name in known if f"'{name}'" in str(error)), None)
        raise (place.at(named) if named else place).error(str(error)) from None


def _check_options(
    step: PlaybookStep,
    body: Mapping[str, Any],
    place: SourcePlace,
    shared: argparse.Namespace,
    catalog: Catalog,
) -> None:
    """Refuse wrong options: all together, or each by itself if some have expressions."""
    repeat = {name: value for name, value in (step.body if step.kind == "wait" else {}).items() if name in _REPEATING}
    options = {name: value for name, value in body.items() if name != "inputs"}
    if any(expressions([options, repeat])):
        _check_each(body, place, shared)
        if isinstance(until := repeat.get("until"), str):
            _check_until(until, step.place.at("wait", "until"), catalog.action(body["agent"], body["action"]))
        return
    try:
        check_options(options, shared, catalog, **repeat)
    except ConfigError:
        raise
    except CollectiveError as error:
        _check_each(body, place, shared)  # it knows the line
        raise place.error(_text(error)) from None


def _check_each(body: Mapping[str, Any], place: SourcePlace, shared: argparse.Namespace) -> None:
    for group in ("targets", "pace", ""):
        members = body.get(group, {}) if group else {name: body[name] for name in body if name not in _NOT_OPTIONS}
        for name, value in members.items():
            if name == "nodes" or any(expressions(value)):
                continue
            one = {"agent": body["agent"], "action": body["action"]}
            one |= {group: {name: value}} if group else {name: value}
            try:
                arguments(one, shared)
            except CollectiveError as error:
                raise (place.at(group, name) if group else place.at(name)).error(_text(error)) from None


def _check_until(until: str, place: SourcePlace, action: Action) -> None:
    from collective.clients.view_options import read_where

    try:
        read_where(until, "until", action)
    except CollectiveError as error:
        raise place.error(_text(error)) from None


def _check_wait(step: PlaybookStep, place: SourcePlace) -> None:
    if step.kind != "wait" or isinstance(step.body["filter"], PlaybookExpression):
        return
    from collective.filters.select import read_select

    try:
        read_select(step.body["filter"], "filter")
    except CollectiveError as error:
        raise place.at("filter").error(_text(error)) from None


def _text(error: CollectiveError) -> str:
    """Return a message without the hint at the help page of requests."""
    return str(error).removesuffix(" (see 'crpc AGENT ACTION --help')")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 60 else f"{text[:59]}…"
