"""Read YAML files safely: no duplicate keys, bounded depth; errors name file, line and column."""

from __future__ import annotations

import typing
from pathlib import Path
from typing import Any

import yaml

from collective.errors import ConfigError

MAX_DEPTH = 128  # levels of nesting
MAX_MERGED_KEYS = 100_000  # of one mapping, duplicates included
_TOO_DEEP = f"nested more than {MAX_DEPTH} levels deep"
FAST_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(path: Path) -> Any:
    """Return the content of a YAML file; raise ConfigError naming the file, and line and column if known."""
    return parse_yaml(read_text(path), str(path))


def read_text(path: Path) -> str:
    """Return the text of a UTF-8 file; raise ConfigError naming the file."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8: {error.reason} at byte {error.start}") from None


def parse_yaml(text: str, where: str) -> Any:
    """Return the content of YAML text; raise ConfigError like `read_yaml`. `where` is its origin: a file, a command."""
    try:
        _check_depth(text, where)
        return yaml.load(text, _Loader)  # noqa: S506 - a safe loader, with repeated keys refused
    except yaml.MarkedYAMLError as error:
        problem = error.problem or error.context or "not YAML"
        if problem == "exceeded maximum nesting depth":  # libyaml's own limit, of 1000 levels
            problem = _TOO_DEEP
        raise ConfigError(f"{_place(where, error.problem_mark)}: {problem}") from None
    except (yaml.YAMLError, RecursionError, ValueError, LookupError, AttributeError) as error:
        # PyYAML raises the last two for a value that does not match its tag: `!!bool maybe`.
        raise ConfigError(f"{where}: not YAML: {' '.join(str(error).split())}") from None


def _check_depth(text: str, where: str) -> None:
    """Reject deep nesting before loading: libyaml's composer recurses in C and would crash the process."""
    depth = 0
    for event in yaml.parse(text, Loader=FAST_LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise ConfigError(f"{_place(where, event.start_mark)}: {_TOO_DEEP}")


def _place(where: str, mark: Any) -> str:
    """Return `file:line:column`, or only the file without a mark."""
    return f"{where}:{mark.line + 1}:{mark.column + 1}" if mark else where


class _Loader(FAST_LOADER):  # type: ignore[misc]
    """The safe loader, with duplicate keys rejected.

    Dates stay strings, as in JSON, because facts and settings are sent as JSON.
    """

    yaml_implicit_resolvers: typing.ClassVar = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def flatten_mapping(self, node: Any) -> None:
        """Resolve `<<`, bounded: twenty lines that each merge the line before twice would make a million keys."""
        super().flatten_mapping(node)
        if len(node.value) > MAX_MERGED_KEYS:
            problem = f"'<<' merges more than {MAX_MERGED_KEYS} keys"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value if isinstance(node, yaml.MappingNode) else ():  # `!!set` may be on any node
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, (str, int)) and key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"duplicate key '{key}'", key_node.start_mark)
            if isinstance(key, (str, int)):
                seen.add(key)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        return mapping
