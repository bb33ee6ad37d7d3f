"""Convert facts to JSON values, so that filters on the node and on the caller see the same values."""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Iterable
from typing import Any

from collective.errors import ConfigError
from collective.fact_files.yaml_values import Unreadable

MAX_VALUES = 500_000  # of one source, those repeated by YAML aliases included
_OMITTED = object()
_SURROGATE = "half of a surrogate pair is not text"


class FactValues(dict[str, Any]):
    """The facts of a source; `omitted` has a line for each value that cannot be a fact, or is replaced."""

    omitted: tuple[str, ...] = ()


def as_facts(facts: Any, where: str) -> FactValues:
    """Return parsed facts as JSON values; raise ConfigError, beginning with `where`, if they are not a mapping."""
    if facts is None:
        return FactValues()
    if not isinstance(facts, dict):
        raise ConfigError(f"{where}: must be a mapping of facts, not {type(facts).__name__}")
    converter = _Converter(where)
    converter.omitted += getattr(facts, "omitted", ())
    try:
        values = FactValues(converter.mapping(facts, ()))
    except RecursionError:
        raise ConfigError(f"{where}: nested too deeply") from None
    values.omitted = tuple(converter.omitted)
    return values


def with_repeated(facts: Any, repeated: Iterable[str], where: str) -> Any:
    """Return facts of a source that names some keys several times; anything but a mapping as it is."""
    if not isinstance(facts, dict):
        return facts
    values = FactValues(facts)
    values.omitted = tuple(_repeated(where, key) for key in repeated)
    return values


def _repeated(where: str, key: str) -> str:
    return f"{where}: fact '{key[:200]}' is given more than once: the last value is used"


def _has_surrogate(text: str) -> bool:
    """Return whether a text has half of a surrogate pair, which JSON can escape and no message can contain."""
    return not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text)


class _Converter:
    """Converts the values of one source, and collects the reasons for those that it omits."""

    def __init__(self, where: str) -> None:
        self.omitted: list[str] = []
        self._where = where
        self._left = MAX_VALUES
        self._open: set[int] = set()  # ids of the lists and mappings around the current value

    def mapping(self, found: dict[Any, Any], path: tuple[str, ...]) -> dict[str, Any]:
        converted = {}
        for key, value in found.items():
            name = self._key(key, path)
            if name is not None and (item := self._value(value, (*path, name))) is not _OMITTED:
                if name in converted:  # YAML's 1 and "1" are different keys
                    self.omitted.append(_repeated(self._where, ".".join((*path, name))))
                converted[name] = item
        return converted

    def _key(self, key: Any, path: tuple[str, ...]) -> str | None:
        if isinstance(key, Unreadable):
            self._omit((*path, "a key"), key.reason)
            return None
        if isinstance(key, str) and _has_surrogate(key):
            self._omit((*path, "a key"), _SURROGATE)
            return None
        return key if isinstance(key, str) else json.dumps(key)

    def _value(self, value: Any, path: tuple[str, ...]) -> Any:
        self._left -= 1
        if self._left < 0:
            raise ConfigError(f"{self._where}: more than {MAX_VALUES} values")
        if isinstance(value, (dict, list, tuple)):
            return self._nested(value, path)
        if isinstance(value, Unreadable):
            return self._omit(path, value.reason)
        if isinstance(value, float) and not math.isfinite(value):
            return self._omit(path, f"{json.dumps(value)} is not a JSON number")
        if isinstance(value, str) and _has_surrogate(value):
            return self._omit(path, _SURROGATE)
        if isinstance(value, (datetime.date, datetime.time)):
            return value.isoformat()
        if value is None or isinstance(value, (str, int, float)):
            return value
        return self._omit(path, f"{type(value).__name__} is not a JSON value")

    def _nested(self, value: Any, path: tuple[str, ...]) -> Any:
        if id(value) in self._open:
            return self._omit(path, "contains itself")
        self._open.add(id(value))
        if isinstance(value, dict):
            converted: Any = self.mapping(value, path)
        else:
            items = (self._value(item, (*path, str(at))) for at, item in enumerate(value))
            converted = [item for item in items if item is not _OMITTED]
        self._open.discard(id(value))
        return converted

    def _omit(self, path: tuple[str, ...], reason: str) -> object:
        self.omitted.append(f"{self._where}: fact '{'.'.join(path)[:200]}' is omitted: {reason}")
        return _OMITTED
