"""Read YAML that people write: safe, no key twice, not too deep; every fault names file, line and column."""

from __future__ import annotations

import typing
from pathlib import Path
from typing import Any

import yaml

from collective.errors import ConfigError

DEEPEST = 128  # levels of a YAML file
MOST_MERGED = 100_000  # keys of one mapping, repeated ones included
FAST_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(path: Path) -> Any:
    """Return what a YAML file holds; raise ConfigError naming the file, and line and column when it has them."""
    return parse_yaml(read_text(path), str(path))


def read_text(path: Path) -> str:
    """Return the text of a file; raise ConfigError naming it."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8: {error.reason} at byte {error.start}") from None


def parse_yaml(text: str, where: str) -> Any:
    """Return what a YAML text from `where` (a file, a command) holds; raise ConfigError like `read_yaml`."""
    try:
        _check_depth(text, where)
        return yaml.load(text, _Loader)  # noqa: S506 - a safe loader, with repeated keys refused
    except yaml.MarkedYAMLError as error:
        raise ConfigError(
            f"{_place(where, error.problem_mark)}: {error.problem or error.context or 'not YAML'}"
        ) from None
    except (yaml.YAMLError, RecursionError, ValueError, LookupError, AttributeError) as error:
        # The last two are how PyYAML fails on a value that is not what its tag says: `!!bool maybe`.
        raise ConfigError(f"{where}: not YAML: {' '.join(str(error).split())}") from None


def _check_depth(text: str, where: str) -> None:
    """Refuse what is nested so deeply that libyaml's composer, which recurses in C, would end the process."""
    depth = 0
    for event in yaml.parse(text, Loader=FAST_LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise ConfigError(f"{_place(where, event.start_mark)}: nested more than {DEEPEST} levels deep")


def _place(where: str, mark: Any) -> str:
    """Return where a mark of YAML's is, for people: `file:line:column`; there may be none."""
    return f"{where}:{mark.line + 1}:{mark.column + 1}" if mark else where


class _Loader(FAST_LOADER):  # type: ignore[misc]
    """YAML's safe loader, that does not let a second `key:` silently win over the first.

    Dates stay text, as in JSON: facts and settings travel.
    """

    yaml_implicit_resolvers: typing.ClassVar = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def flatten_mapping(self, node: Any) -> None:
        """Do what `<<` says; twenty lines of merging the line before twice would make a million keys."""
        super().flatten_mapping(node)
        if len(node.value) > MOST_MERGED:
            raise yaml.constructor.ConstructorError(None, None, f"merges more than {MOST_MERGED} keys", node.start_mark)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value if isinstance(node, yaml.MappingNode) else ():  # `!!set` may stand on anything
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, (str, int)) and key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"'{key}' is said twice", key_node.start_mark)
            if isinstance(key, (str, int)):
                seen.add(key)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        return mapping
