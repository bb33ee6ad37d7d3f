"""Read YAML files safely: no duplicate keys, bounded depth; errors name file, line and column.

Unquoted words are read as YAML 1.2 does, and only numbers in the form of JSON are numbers. YAML 1.1, which PyYAML
implements, finds booleans in `no` and `on`, and other numbers in `52:54:00:44:49:56`, `1_000` and `0644`: programs that
write facts mean text.

    null, ~, nothing      null
    true, false           booleans
    -1, 3, 0.5, 1.0e+20   numbers
    <<                    merges mappings
    everything else       strings: yes, on, 2026-11-27, 0644, 0x1F, +49, 1e3
"""

from __future__ import annotations

import re
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import ConstructorError

from collective.errors import ConfigError

MAX_DEPTH = 128  # levels of nesting
MAX_MERGED_KEYS = 100_000  # in one file, duplicates included
MAX_BITS = 14_000  # of an integer: 4,214 digits; Python converts at most 4,300 to text
_MERGE = "tag:yaml.org,2002:merge"
FAST_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(path: Path) -> Any:
    """Return the content of a YAML file; raise ConfigError naming the file, and line and column if known."""
    return parse_yaml(read_text(path), str(path))


def read_text(path: Path) -> str:
    """Return the text of a UTF-8 file; raise ConfigError naming the file."""
    try:
        return path.read_bytes().decode("utf-8")  # as it is: `read_text` would replace CR
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8: {error.reason} at byte {error.start}") from None


def parse_yaml(text: str, where: str, loader: type[Loader] | None = None) -> Any:
    """Return the content of YAML text; raise ConfigError like `read_yaml`. `where` is its origin: a file, a command."""
    try:
        _check_depth(text, where)
        return yaml.load(text, loader or Loader)  # noqa: S506 - a safe loader, with repeated keys refused
    except yaml.MarkedYAMLError as error:
        if "nesting depth" in (error.problem or ""):
            # The limit of libyaml itself since PyYAML 6.0.4; a long line reaches it before the first event.
            raise _too_deep(_place(where, error.problem_mark)) from None
        raise ConfigError(
            f"{_place(where, error.problem_mark)}: {error.problem or error.context or 'not YAML'}"
        ) from None
    except (yaml.YAMLError, RecursionError, ValueError, LookupError, AttributeError) as error:
        # PyYAML raises the last two for a value that does not match its tag: `!!bool maybe`.
        raise ConfigError(f"{where}: not YAML: {' '.join(str(error).split())}") from None


def line_of(tree: yaml.Node | None, place: Iterable[str | int]) -> int:
    """Return the line, from 1, of a place in a composed document, or of its nearest parent."""
    line = 0
    for step in place:
        if isinstance(tree, yaml.MappingNode):
            found = next(((key, value) for key, value in tree.value if key.value == str(step)), None)
            if found is None:
                break
            line, tree = found[0].start_mark.line, found[1]
        elif isinstance(tree, yaml.SequenceNode) and isinstance(step, int) and step < len(tree.value):
            tree = tree.value[step]
            line = tree.start_mark.line
    return line + 1


def _check_depth(text: str, where: str) -> None:
    """Reject deep nesting before loading: libyaml's composer recurses in C and would crash the process."""
    depth = 0
    for event in yaml.parse(text, Loader=FAST_LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise _too_deep(_place(where, event.start_mark))


def _too_deep(place: str) -> ConfigError:
    return ConfigError(f"{place}: nested more than {MAX_DEPTH} levels deep")


def _place(where: str, mark: Any) -> str:
    """Return `file:line:column`, or only the file without a mark."""
    return f"{where}:{mark.line + 1}:{mark.column + 1}" if mark else where


class Loader(FAST_LOADER):  # type: ignore[misc]
    """The safe loader, with duplicate keys rejected and the types of this module.

    Dates stay strings, as in JSON, because facts and settings are sent as JSON.
    """

    yaml_implicit_resolvers: typing.ClassVar[dict[str, list[tuple[str, re.Pattern[str]]]]] = {}

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self._flattened: set[yaml.Node] = set()
        self._merged = 0

    def construct_integer(self, node: Any) -> int:
        """Return an integer that can be written; `!!int 0x…` reads more digits than Python writes."""
        number: int = self.construct_yaml_int(node)
        if number.bit_length() > MAX_BITS:
            raise ConstructorError(None, None, f"integer of more than {MAX_BITS} bits", node.start_mark)
        return number

    def flatten_mapping(self, node: Any) -> None:
        """Replace each `<<` of a mapping with the pairs that it merges; of pairs with the same key, the last one wins.

        PyYAML's own method is not used because its result depends on the version: in `<<: [*a, *b]`, 6.0.4 prefers
        `b`; YAML's definition and the versions before prefer `a`.
        """
        if node in self._flattened:
            return
        self._flattened.add(node)  # before its sources: a mapping that merges itself must not recurse endlessly
        sources = [value for key, value in node.value if key.tag == _MERGE]
        node.value = [pair for pair in node.value if pair[0].tag != _MERGE]
        self._refuse_repeated(node)
        node.value = [pair for source in sources for pair in self._pairs(source)] + node.value

    def _pairs(self, source: Any) -> list[tuple[Any, Any]]:
        """Return the pairs of a `<<`: of a mapping, or of a list of mappings of which the first has precedence."""
        pairs: list[tuple[Any, Any]] = []
        for mapping in reversed(source.value if isinstance(source, yaml.SequenceNode) else [source]):
            if not isinstance(mapping, yaml.MappingNode):
                problem = f"expected a mapping to merge, not a {mapping.id}"
                raise ConstructorError(None, None, problem, source.start_mark)
            self.flatten_mapping(mapping)
            self._merged += len(mapping.value)
            if self._merged > MAX_MERGED_KEYS:
                raise ConstructorError(None, None, f"'<<' merges more than {MAX_MERGED_KEYS} keys", source.start_mark)
            pairs += mapping.value
        return pairs

    def _refuse_repeated(self, node: Any) -> None:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, (str, int)) and key in seen:
                raise ConstructorError(None, None, f"duplicate key '{key}'", key_node.start_mark)
            if isinstance(key, (str, int)):
                seen.add(key)


for _kind, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"-?(?:0|[1-9][0-9]*)", "-0123456789"),
    ("float", r"-?(?:(?:0|[1-9][0-9]*)\.[0-9]*|\.[0-9]+)(?:[eE][-+][0-9]+)?", "-.0123456789"),
    ("float", r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", "-+."),
    ("merge", "<<", "<"),
):
    Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(rf"(?:{_pattern})\Z"), list(_first))
Loader.add_constructor("tag:yaml.org,2002:int", Loader.construct_integer)
