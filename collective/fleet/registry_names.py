"""Keep the names of the registry in a file, so that the shell can complete them without a call.

    <state>/names_<collective>.json      nodes, agents, classes, and facts with their values

Callers write the file when they have read the registry, at most once a minute. It is a convenience: a file that cannot
be read has no names, and one that cannot be written is skipped.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collective.replaced_file import replace_file

if TYPE_CHECKING:
    from collective.registry import Contents, NodeRecord, Nodes

PERIOD = 60.0  # seconds for which a file is left as it is
MAX_RECORDS = 2000  # nodes whose facts are read: the names and values of facts are alike in the others
MAX_FACTS = 1000  # names
MAX_VALUES = 100  # of one fact
MAX_LENGTH = 100  # characters of a name or value
_DEPTH = 4  # levels of nested facts
_MAX_SIZE = 16 * 1024 * 1024  # bytes of a file that is read


@dataclass(frozen=True)
class RegistryNames:
    """The names in a registry, sorted; `facts` are values by dotted path."""

    nodes: list[str] = field(default_factory=list)
    agents: list[str] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    facts: Mapping[str, list[str]] = field(default_factory=dict)


def load(state: Path, collective: str) -> RegistryNames:
    """Return the names of a collective as they were last written; none if there is no valid file."""
    with suppress(OSError, ValueError, TypeError, AttributeError, RecursionError):
        with _path(state, collective).open(encoding="utf-8") as file:
            found = json.loads(file.read(_MAX_SIZE))
        lists = {key: [str(name) for name in found[key]] for key in ("nodes", "agents", "classes")}
        facts = {str(fact): [str(value) for value in values] for fact, values in found["facts"].items()}
        return RegistryNames(**lists, facts=facts)
    return RegistryNames()


def save(state: Path, collective: str, contents: Contents) -> None:
    """Write the names in the `contents` of a registry, unless the file is recent."""
    path = _path(state, collective)
    with suppress(OSError):
        if path.exists() and 0 <= time.time() - path.stat().st_mtime < PERIOD:
            return
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        replace_file(path, json.dumps(asdict(summarized(contents.records))).encode())


def summarized(records: Iterable[NodeRecord]) -> RegistryNames:
    """Return the names in some records."""
    nodes: set[str] = set()
    agents: set[str] = set()
    classes: set[str] = set()
    facts: dict[str, dict[str, None]] = {}
    for number, record in enumerate(records):
        nodes.add(record.identity)
        if number >= MAX_RECORDS:
            continue
        agents.update(record.agents)
        classes.update(name for name in record.classes if len(name) <= MAX_LENGTH)
        for fact, value in _flat(record.facts):
            values = facts.setdefault(fact, {}) if len(facts) < MAX_FACTS else facts.get(fact, {})
            if len(values) < MAX_VALUES:
                values[value] = None
    ordered = {fact: sorted(value for value in facts[fact] if value) for fact in sorted(facts)}
    return RegistryNames(sorted(nodes), sorted(agents), sorted(classes), ordered)


def _flat(facts: Mapping[str, Any], head: str = "", depth: int = 1) -> Iterator[tuple[str, str]]:
    """Yield the dotted path and the value of each fact, and of each member of an array."""
    for name, value in facts.items():
        path = f"{head}{name}"
        if "." in name or len(path) > MAX_LENGTH:
            continue  # a path with quotes is rarely typed
        if isinstance(value, Mapping):
            if depth < _DEPTH:
                yield from _flat(value, f"{path}.", depth + 1)
            continue
        for one in value if isinstance(value, list) else [value]:
            text = one if isinstance(one, str) else json.dumps(one, default=str)
            yield path, text if len(text) <= MAX_LENGTH and not isinstance(one, (list, Mapping)) else ""


def _path(state: Path, collective: str) -> Path:
    return state / f"names_{collective}.json"


class NamedNodes:
    """A registry whose names are kept in a file whenever it is read."""

    def __init__(self, registry: Nodes, state: Path, collective: str) -> None:
        self._registry = registry
        self._state = state
        self._collective = collective

    def now(self) -> float:
        """Return the registry's time in Unix seconds."""
        return self._registry.now()

    def read(self) -> Contents:
        """Return the contents of the registry, after writing its names."""
        contents = self._registry.read()
        save(self._state, self._collective, contents)
        return contents
