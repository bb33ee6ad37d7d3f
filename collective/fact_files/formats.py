"""Parse facts from files and command output: YAML, JSON, or lines of `key=value`.

Facts are sent as JSON, so dates and mapping keys become strings, and a value that JSON cannot represent is omitted.
Every error is a ConfigError that begins with the source.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from collective import lines
from collective.errors import ConfigError
from collective.fact_files.json_values import FactValues, as_facts, with_repeated
from collective.fact_files.yaml_values import FactsLoader, Unreadable
from collective.yaml_file import parse_yaml

Values = Mapping[str, Any]

MAX_SOURCE = 4 * 1024 * 1024  # bytes of one source
_BYTE_ORDER_MARK = "\ufeff"  # editors on Windows write it
_PAIR = re.compile(r"[^\s=]+=")


def read_file(path: Path) -> FactValues:
    """Return the facts of a file. `.json` is JSON, `.txt` is key=value, any other suffix is YAML.

    A file that does not exist has no facts: it may be created later.
    """
    try:
        if not path.exists():
            return FactValues()
        if not path.is_file():
            raise ConfigError(f"{path}: not a regular file")
        if path.stat().st_size > MAX_SOURCE:
            raise ConfigError(f"{path}: larger than the limit of {MAX_SOURCE} bytes")
        text = path.read_bytes().decode("utf-8")  # as it is: `read_text` would replace CR
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8: {error.reason} at byte {error.start}") from None
    parse = _BY_SUFFIX.get(path.suffix, _yaml)
    return as_facts(parse(text.removeprefix(_BYTE_ORDER_MARK), str(path)), str(path))


def parse_output(text: str, where: str) -> FactValues:
    """Return the facts in a command's output: JSON if it begins with a brace, key=value if it looks so, else YAML."""
    text = text.removeprefix(_BYTE_ORDER_MARK)
    stripped = (line.strip() for _, line in lines.numbered(text))
    first = next((line for line in stripped if line and not line.startswith("#")), "")
    if first.startswith("{"):
        return as_facts(_json(text, where), where)
    if _PAIR.match(first):
        return as_facts(_pairs(text, where), where)
    return as_facts(_yaml(text, where), where)


def _yaml(text: str, where: str) -> Any:
    return parse_yaml(text, where, FactsLoader)


def _json(text: str, where: str) -> Any:
    repeated: list[str] = []
    try:
        found = json.loads(text, object_pairs_hook=partial(_object, repeated), parse_int=_integer)
        return with_repeated(found, repeated, where)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{where}: not JSON: {error}") from None


def _object(repeated: list[str], pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object, and note its repeated keys: of these the last one is used."""
    found = dict(pairs)
    if len(found) != len(pairs):
        counts = Counter(key for key, _ in pairs)
        repeated += sorted(key for key, count in counts.items() if count > 1)
    return found


def _integer(text: str) -> int | Unreadable:
    """Return an integer; Unreadable if Python reads no integer that long."""
    try:
        return int(text)
    except ValueError:
        return Unreadable(f"integer of {len(text)} digits")


def _pairs(text: str, where: str) -> Any:
    pairs: dict[str, str] = {}
    repeated: list[str] = []
    for number, line in lines.numbered(text):
        if problem := lines.problem(line):
            raise ConfigError(f"{where}:{number}: {problem}")
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        key, equals, value = line.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"{where}:{number}: must be key=value, not {line[:80]!r}")
        if key.strip() in pairs:
            repeated.append(key.strip())
        pairs[key.strip()] = value.strip()
    return with_repeated(pairs, repeated, where)


_BY_SUFFIX: Mapping[str, Callable[[str, str], Any]] = {".json": _json, ".txt": _pairs}
