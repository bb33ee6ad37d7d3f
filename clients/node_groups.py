"""The groups of client.yaml, for `-I @web-prod`: filters, names, and programs that print names.

A program gets an object on its standard input, and prints names as JSON: a list, or an object with `nodes`.

    {"group": "cmdb", "collective": "production"}   ─►   program   ─►   ["web1.my.net", "web2.my.net"]
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from collective.errors import ConfigError, UsageError
from collective.filters import Filter, parse
from collective.filters.patterns import is_pattern
from collective.fleet.node_sets import ListedNodes, MatchingNodes, NodeSet, read_expression, union
from collective.names import check_identity

if TYPE_CHECKING:
    from collective.config import ClientConfig

PROGRAM_SECONDS = 30.0  # for a program to print its names
MOST_OUTPUT = 16 * 1024 * 1024  # bytes


def read(texts: Sequence[str], config: ClientConfig, where: str = "-I") -> NodeSet:
    """Return the union of the values of `-I`: names, expressions with groups, and regular expressions.

    `where` precedes errors. Raises UsageError for a wrong expression, and ConfigError for a program that fails.
    """
    groups = _Groups(config)
    return union([_read(text, groups, where) for text in texts])


def names(texts: Sequence[str], config: ClientConfig, where: str) -> list[str]:
    """Return the names of nodes that need not exist yet, in order; raise UsageError for a group that is a filter."""
    groups = _Groups(config)
    found: dict[str, None] = {}
    for text in texts:
        found.update(dict.fromkeys(_listed(read_expression(text, groups, where), f"{where} '{text}'")))
    return list(found)


def _listed(wanted: NodeSet, where: str) -> tuple[str, ...]:
    if isinstance(wanted, ListedNodes):
        return wanted.names
    if isinstance(wanted, MatchingNodes):
        raise UsageError(f"{where}: a group with a filter has no names (use a group with nodes or a command)")
    left, right = _listed(wanted.left, where), _listed(wanted.right, where)
    if wanted.operator == ",":
        return (*left, *right)
    excluded = wanted.operator == "!"
    return tuple(name for name in left if (name in right) != excluded)


def _read(text: str, groups: _Groups, where: str) -> NodeSet:
    return MatchingNodes(parse(with_identity=[text])) if is_pattern(text) else read_expression(text, groups, where)


class _Groups(Mapping[str, "Filter | tuple[str, ...] | list[str]"]):
    """The groups of a configuration; a program is run when its group is used, and once."""

    def __init__(self, config: ClientConfig) -> None:
        self._config = config
        self._names: dict[str, tuple[str, ...]] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._config.groups)

    def __len__(self) -> int:
        return len(self._config.groups)

    def __getitem__(self, name: str) -> Filter | tuple[str, ...] | list[str]:
        [(kind, value)] = self._config.groups[name].items()
        if kind == "nodes":
            return [value] if isinstance(value, str) else value
        if kind == "filter":
            return _filter(name, value)
        if name not in self._names:
            self._names[name] = _run(name, value, self._config.collective)
        return self._names[name]


def _filter(name: str, text: str) -> Filter:
    try:
        return parse(select=text)
    except UsageError as error:
        raise UsageError(f"groups.{name}.filter: {str(error).removeprefix('-S ')}") from None


def _run(name: str, words: Sequence[str], collective: str) -> tuple[str, ...]:
    """Run the program of a group and return the names that it prints. Raises ConfigError."""
    where = f"groups.{name}.command: {words[0]}"
    request = json.dumps({"group": name, "collective": collective})
    try:
        done = subprocess.run(
            list(words), input=request.encode(), capture_output=True, timeout=PROGRAM_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise ConfigError(f"{where}: no result within {PROGRAM_SECONDS:.0f} s") from None
    except OSError as error:
        raise ConfigError(f"{where}: cannot be run: {error.strerror}") from None
    if done.returncode:
        last = (done.stderr.decode(errors="replace").strip().splitlines() or ["no message"])[-1]
        raise ConfigError(f"{where}: exit code {done.returncode}: {last[:300]}")
    if len(done.stdout) > MOST_OUTPUT:
        raise ConfigError(f"{where}: printed more than {MOST_OUTPUT} bytes")
    return _names(done.stdout, where)


def _names(output: bytes, where: str) -> tuple[str, ...]:
    try:
        found: Any = json.loads(output)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{where}: printed no valid JSON: {error}") from None
    nodes = found.get("nodes") if isinstance(found, dict) else found
    if not isinstance(nodes, list) or not all(isinstance(node, str) for node in nodes):
        raise ConfigError(f"{where}: must print a list of names, or an object with 'nodes'")
    try:
        return tuple(sorted({check_identity(node) for node in nodes}))
    except UsageError as error:
        raise ConfigError(f"{where}: {error}") from None
