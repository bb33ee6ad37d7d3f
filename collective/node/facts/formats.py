"""Read facts from what files and commands say: YAML, JSON, or a `key=value` a line.

Whatever the format, the result is what JSON can carry, because facts travel: dates become text, the keys of
mappings too. Every fault is a ConfigError that begins with where it is.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from collective.errors import ConfigError
from collective.yaml_file import parse_yaml

Values = Mapping[str, Any]

LARGEST = 4 * 1024 * 1024  # bytes of one source
_PAIR = re.compile(r"[^\s=]+=")


def read_file(path: Path) -> Values:
    """Return the facts of a file, by its suffix: `.json`, `.txt` (key=value), anything else is YAML.

    A file that is not there has none: it may come later.
    """
    try:
        if not path.exists():
            return {}
        if not path.is_file():
            raise ConfigError(f"{path}: is no file")
        if path.stat().st_size > LARGEST:
            raise ConfigError(f"{path}: is larger than {LARGEST} bytes, the most that facts may take")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8: {error.reason} at byte {error.start}") from None
    parse = _BY_SUFFIX.get(path.suffix, parse_yaml)
    return _plain(parse(text, str(path)), str(path))


def parse_output(text: str, where: str) -> Values:
    """Return the facts that a command has printed: JSON when it begins with a brace, key=value, or YAML."""
    lines = (line.strip() for line in text.splitlines())
    first = next((line for line in lines if line and not line.startswith("#")), "")
    if first.startswith("{"):
        return _plain(_json(text, where), where)
    if _PAIR.match(first):
        return _plain(_pairs(text, where), where)
    return _plain(parse_yaml(text, where), where)


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{where}: not JSON: {error}") from None


def _pairs(text: str, where: str) -> Any:
    pairs = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        key, equals, value = line.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"{where}:{number}: must be key=value, not {line[:80]!r}")
        pairs[key.strip()] = value.strip()
    return pairs


_BY_SUFFIX: Mapping[str, Callable[[str, str], Any]] = {".json": _json, ".txt": _pairs}


def _plain(facts: Any, where: str) -> Values:
    """Return facts as JSON carries them: there and back, so that a filter here and one far away see the same."""
    if facts is None:
        return {}
    if not isinstance(facts, dict):
        raise ConfigError(f"{where}: must hold facts and values, not {type(facts).__name__}")
    try:
        values: Values = json.loads(json.dumps(facts, allow_nan=False, default=_text))
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(f"{where}: facts must be what JSON can carry: {error}") from None
    return values


def _text(value: Any) -> str:
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    raise TypeError(f"not {type(value).__name__}")
