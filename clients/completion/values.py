"""The values that can complete a word, by the names that parsers give them with `completed_by`.

Agents, actions and inputs come from the DDLs; nodes, facts and classes from the caller's copy of the registry, which
calls keep up to date (fleet/registry_names.py). Both are only read from files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collective.clients import apps, lookup, own_commands
from collective.clients.commands import COMMANDS
from collective.clients.completion import Candidate
from collective.clients.completion.local_names import LocalNames

if TYPE_CHECKING:
    from collective.clients.parser import Parser

# A fact and an operator, then the value: `-F role=we`
_TEST = re.compile(r"(?P<fact>[^=!<>~]+)(?P<operator>==?|!=|<=|>=|<|>)(?P<value>[^~/].*|)")
_LAST_WORD = re.compile(r"[^\s()]*\Z")  # of an expression
_SIMPLE = re.compile(r"[\w.:/@+-]+")  # a value that an expression takes without quotes
_RUNS = 50  # that are completed
_CONDITIONS = ("and", "or", "not")


def starting(known: LocalNames, kind: str, words: Sequence[str], current: str) -> list[Candidate]:
    """Return the values of `kind` that begin with `current`; `words` precede it, without options."""
    return [one for one in SOURCES[kind](known, words, current) if one.word.startswith(current)]


def verbs(parser: Parser) -> list[Candidate]:
    """Return the verbs of a command, each with the first sentence of its description."""
    return [Candidate(name, (verb.description or "").partition(".")[0]) for name, verb in parser.verbs.items()]


def _commands(known: LocalNames, _words: Sequence[str], _current: str) -> Iterator[Candidate]:
    yield from (Candidate(name, about) for name, about in COMMANDS.items())
    for agent in known.agents:
        yield Candidate(agent, str(known.ddl(agent).get("metadata", {}).get("description", "")))
    own = own_commands.usable(known.config) if known.config else []
    yield from (Candidate(one.name, one.about) for _, one in own)
    yield from (Candidate(one.name, one.about) for one in lookup.plugins() if one.name not in known.agents)


def _agents(known: LocalNames, _words: Sequence[str], _current: str) -> Iterator[Candidate]:
    for agent in known.agents:
        yield Candidate(agent, str(known.ddl(agent).get("metadata", {}).get("description", "")))


def _request(known: LocalNames, words: Sequence[str], current: str) -> Iterable[Candidate]:
    """Yield agents, then the actions of an agent and its extra verbs, then inputs and their values."""
    if not words:
        return _agents(known, words, current)
    actions = known.ddl(words[0]).get("actions", {})
    if len(words) == 1:
        return [*_actions(actions), *(Candidate(name, one.about) for name, one in apps.verbs(words[0]).items())]
    return _inputs(known, actions.get(words[1], {}), words[2:], current)


def _actions(actions: Mapping[str, Any]) -> list[Candidate]:
    return [Candidate(name, str(action.get("description", ""))) for name, action in actions.items()]


def _describe(known: LocalNames, words: Sequence[str], current: str) -> Iterable[Candidate]:
    return _actions(known.ddl(words[0]).get("actions", {})) if words else _agents(known, words, current)


def _help(known: LocalNames, words: Sequence[str], current: str) -> Iterable[Candidate]:
    if words and words[0] in COMMANDS:
        make_parser = lookup.find(words[:1]).make_parser
        return verbs(make_parser()) if make_parser and len(words) == 1 else []
    return _request(known, words, current) if words else _commands(known, words, current)


def _inputs(known: LocalNames, action: Mapping[str, Any], given: Sequence[str], current: str) -> Iterator[Candidate]:
    """Yield `NAME=` for the inputs that are not given yet, the required ones first; after `=` the input's values."""
    schema = action.get("input", {})
    inputs = schema.get("properties", {})
    name, equals, value = current.partition("=")
    if equals and name in inputs:
        if value.startswith("@") and not value.startswith("@@"):
            found = _files(known, [], value[1:])
            yield from (Candidate(f"{name}=@{one.word}", one.about, one.ended) for one in found)
        for one in _choices(inputs[name]):
            yield Candidate(f"{name}={one}")
        return
    done = {word.partition("=")[0] for word in given}
    required = schema.get("required", [])
    for key in sorted(inputs, key=lambda key: key not in required):
        if key not in done:
            yield Candidate(f"{key}=", str(inputs[key].get("title") or inputs[key].get("description", "")), False)


def _choices(schema: Mapping[str, Any]) -> list[str]:
    """Return the values that a schema names: its enum, both booleans, or its default and examples."""
    kinds = schema.get("type", ())
    found = schema.get("enum") or (
        [True, False] if "boolean" in kinds else [*schema.get("examples", ()), schema.get("default")]
    )
    return [one if isinstance(one, str) else json.dumps(one) for one in found if one is not None]


def _facts(known: LocalNames, _words: Sequence[str], _current: str) -> Iterator[Candidate]:
    return (Candidate(fact) for fact in known.names.facts)


def _fact_test(known: LocalNames, _words: Sequence[str], current: str) -> Iterator[Candidate]:
    """Yield `FACT=`, and after an operator the values of the fact."""
    test = _TEST.fullmatch(current)
    if test is None:
        yield from (Candidate(f"{fact}=", ", ".join(some[:3]), False) for fact, some in known.names.facts.items())
        return
    head = current[: test.start("value")]
    yield from (Candidate(head + value) for value in known.names.facts.get(test["fact"], ()))


def _expression(known: LocalNames, _words: Sequence[str], current: str) -> Iterator[Candidate]:
    """Yield what the last word of an expression can become: facts, their values, classes, `and`, `or` and `not`."""
    found = _LAST_WORD.search(current)  # it matches the empty end as well
    place = found.start() if found else len(current)
    head, last = current[:place], current[place:]
    for one in [*_fact_test(known, [], last), *_classes(known, [], last)]:
        if one.word.endswith("=") or all(map(_SIMPLE.fullmatch, re.split(r"[=!<>]+", one.word))):
            yield Candidate(head + one.word, one.about, one.ended)
    if head.strip():
        yield from (Candidate(head + word) for word in _CONDITIONS)


def _facts_and_classes(known: LocalNames, _words: Sequence[str], current: str) -> Iterator[Candidate]:
    """Yield what the last word of `-W` can become."""
    place = len(current) - len(current.split(" ")[-1])
    head, last = current[:place], current[place:]
    for one in [*_fact_test(known, [], last), *_classes(known, [], last)]:
        if not re.search(r"\s", one.word):
            yield Candidate(head + one.word, one.about, one.ended)


def _classes(known: LocalNames, _words: Sequence[str], _current: str) -> Iterator[Candidate]:
    return (Candidate(name) for name in known.names.classes)


def _node_agents(known: LocalNames, _words: Sequence[str], _current: str) -> Iterator[Candidate]:
    return (Candidate(name) for name in known.names.agents or known.agents)


def _nodes(known: LocalNames, _words: Sequence[str], _current: str) -> Iterator[Candidate]:
    """Yield the nodes of the registry, and the groups of the configuration as `@NAME`."""
    yield from (Candidate(name) for name in known.names.nodes)
    yield from (Candidate(f"@{name}", "group") for name in (known.config.groups if known.config else ()))


def _collectives(known: LocalNames, _words: Sequence[str], _current: str) -> Iterator[Candidate]:
    if known.config is not None:
        yield from (Candidate(name) for name in (known.config.collective, *known.config.collectives))


def _notifications(known: LocalNames, _words: Sequence[str], _current: str) -> Iterator[Candidate]:
    if known.config is not None:
        yield from (Candidate(name) for name in known.config.notify)


def _runs(known: LocalNames, _words: Sequence[str], _current: str) -> Iterator[Candidate]:
    """Yield the newest saved runs, each with its call."""
    if known.config is None:
        return
    from collective.clients import options, saved_runs

    yield Candidate(saved_runs.LAST)
    for file in options.run_folder(known.config).newest()[:_RUNS]:
        begin = file.begin()
        words = [str(begin.get(name, "")) for name in ("agent", "action", "inputs")]
        yield Candidate(saved_runs.short(file.run), " ".join(words))


def _reports(known: LocalNames, words: Sequence[str], _current: str) -> Iterator[Candidate]:
    """Yield the reports, and before them `list` and `show`."""
    from collective.clients.reports.definition import paths

    if not words:
        yield from (Candidate(name) for name in ("list", "show"))
    if not words or words == ["show"]:
        yield from (Candidate(name) for name in paths(known.config.reports if known.config else []))


def _playbook(known: LocalNames, words: Sequence[str], current: str) -> Iterator[Candidate]:
    """Yield the playbooks, and files; after the playbook nothing, because its inputs are in the file."""
    from collective.clients.playbooks.folders import paths

    if not words:
        yield from (Candidate(name) for name in paths(known.config.playbooks if known.config else []))
        yield from _files(known, words, current)


def _schemas(_known: LocalNames, _words: Sequence[str], _current: str) -> Iterator[Candidate]:
    from collective import schemas

    return (Candidate(name) for name in schemas.names())


def _nothing(_known: LocalNames, _words: Sequence[str], _current: str) -> Iterator[Candidate]:
    """Yield nothing: the value is not known before the command runs."""
    return iter(())


def _lab_nodes(known: LocalNames, _words: Sequence[str], _current: str) -> Iterator[Candidate]:
    """Yield the nodes of a lab, whether they run or not, and `all`."""
    from collective.lab.control import default_folder
    from collective.lab.layout import Layout

    given = lookup.option_value(known.words, "--folder")
    yield from (Candidate(name) for name in Layout(Path(given) if given else default_folder()).nodes())
    yield Candidate("all", "every node")


def _files(_known: LocalNames, _words: Sequence[str], current: str) -> Iterator[Candidate]:
    """Yield the paths that begin with `current`; a leading `~` stands for a home folder."""
    folder, slash, start = current.rpartition("/")
    place = Path(folder + slash or ".").expanduser()
    for entry in sorted(place.iterdir()):
        if entry.name.startswith(start) and (start or not entry.name.startswith(".")):
            is_folder = entry.is_dir()
            yield Candidate(f"{folder}{slash}{entry.name}" + "/" * is_folder, "", not is_folder)


SOURCES: Mapping[str, Callable[[LocalNames, Sequence[str], str], Iterable[Candidate]]] = {
    "command": _commands,
    "request": _request,
    "agent": _agents,
    "described": _describe,
    "help": _help,
    "fact": _facts,
    "fact_test": _fact_test,
    "expression": _expression,
    "facts_and_classes": _facts_and_classes,
    "class": _classes,
    "node_agent": _node_agents,
    "node": _nodes,
    "collective": _collectives,
    "playbook": _playbook,
    "notification": _notifications,
    "report": _reports,
    "run": _runs,
    "schema": _schemas,
    "lab_node": _lab_nodes,
    "nothing": _nothing,
    "file": _files,
}
