"""Read YAML that people write: safe, no key twice, not too deep; every fault names file, line and column."""

from __future__ import annotations

import typing
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import ConstructorError

from collective.errors import ConfigError

DEEPEST = 128  # levels of a YAML file
MOST_MERGED = 100_000  # keys that the `<<` of one file merge, repeated ones included
_MERGE = "tag:yaml.org,2002:merge"
FAST_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(path: Path) -> Any:
    """Return what a YAML file holds; raise ConfigError naming the file, and line and column when it has them."""
    return parse_yaml(read_text(path), str(path))


def read_text(path: Path) -> str:
    """Return the text of a file; raise ConfigError naming it."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as fault:
        raise ConfigError(f"{path}: cannot be read: {fault.strerror}") from None
    except UnicodeDecodeError as fault:
        raise ConfigError(f"{path}: not UTF-8: {fault.reason} at byte {fault.start}") from None


def parse_yaml(text: str, where: str) -> Any:
    """Return what a YAML text from `where` (a file, a command) holds; raise ConfigError like `read_yaml`."""
    try:
        _check_depth(text, where)
        return yaml.load(text, _Loader)  # noqa: S506 - a safe loader, with repeated keys refused
    except yaml.MarkedYAMLError as fault:
        if "nesting depth" in (fault.problem or ""):
            # libyaml's own limit, since PyYAML 6.0.4; in a long line it is reached before the first event is seen.
            raise _too_deep(_place(where, fault.problem_mark)) from None
        raise ConfigError(
            f"{_place(where, fault.problem_mark)}: {fault.problem or fault.context or 'not YAML'}"
        ) from None
    except (yaml.YAMLError, RecursionError, ValueError, LookupError, AttributeError) as fault:
        # The last two are how PyYAML fails on a value that is not what its tag says: `!!bool maybe`.
        raise ConfigError(f"{where}: not YAML: {' '.join(str(fault).split())}") from None


def _check_depth(text: str, where: str) -> None:
    """Refuse what is nested so deeply that libyaml's composer, which recurses in C, would end the process."""
    depth = 0
    for event in yaml.parse(text, Loader=FAST_LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise _too_deep(_place(where, event.start_mark))


def _too_deep(place: str) -> ConfigError:
    return ConfigError(f"{place}: nested more than {DEEPEST} levels deep")


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

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self._flattened: set[yaml.Node] = set()
        self._merged = 0

    def flatten_mapping(self, node: Any) -> None:
        """Replace each `<<` of a mapping by the pairs that it merges; of pairs with the same key, the last one wins.

        PyYAML's own method is not used because its result depends on the version: in `<<: [*a, *b]`, 6.0.4 prefers
        `b`; YAML's definition and the versions before prefer `a`.
        """
        if node in self._flattened:
            return
        self._flattened.add(node)  # before its sources: a mapping that merges itself must not recurse for ever
        sources = [value for key, value in node.value if key.tag == _MERGE]
        node.value = [pair for pair in node.value if pair[0].tag != _MERGE]
        self._refuse_repeated(node)
        node.value = [pair for source in sources for pair in self._pairs(source)] + node.value

    def _pairs(self, source: Any) -> list[tuple[Any, Any]]:
        """Return what a `<<` merges: a mapping, or a list of mappings of which the first has precedence."""
        pairs: list[tuple[Any, Any]] = []
        for mapping in reversed(source.value if isinstance(source, yaml.SequenceNode) else [source]):
            if not isinstance(mapping, yaml.MappingNode):
                problem = f"expected a mapping to merge, not a {mapping.id}"
                raise ConstructorError(None, None, problem, source.start_mark)
            self.flatten_mapping(mapping)
            self._merged += len(mapping.value)
            if self._merged > MOST_MERGED:
                raise ConstructorError(None, None, f"merges more than {MOST_MERGED} keys", source.start_mark)
            pairs += mapping.value
        return pairs

    def _refuse_repeated(self, node: Any) -> None:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, (str, int)) and key in seen:
                raise ConstructorError(None, None, f"'{key}' is said twice", key_node.start_mark)
            if isinstance(key, (str, int)):
                seen.add(key)
