"""The members as keys and values, for templates that were written for confd.

    /members/IDENTITY/address            also identity, state, role
    /members/IDENTITY/facts/NAME/…       nested facts as further parts; lists by number
    /members/IDENTITY/classes/NAME       NAME
    /roles/ROLE/IDENTITY                 the address of a member with this role

`gets` and `getvs` take a pattern as Go's path.Match: `*` and `?` match anything but `/`, `[a-z]` a character.
Source: confd, "Templates" in its documentation, and github.com/kelseyhightower/memkv.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

_MISSING = object()


class KeyMissing(LookupError):
    """A template asks for a key that does not exist."""


class Keys:
    """The keys of the members that are alive."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def getv(self, key: str, default: Any = _MISSING) -> str:
        """Return the value of a key, or `default`; raise KeyMissing without both."""
        found = self._found.get(key)
        if found is not None:
            return found
        if default is _MISSING:
            raise KeyMissing(f"key '{key}' does not exist")
        return str(default)

    def get(self, key: str) -> dict[str, str]:
        """Return a key and its value as {"key", "value"}; raise KeyMissing if it does not exist."""
        return {"key": key, "value": self.getv(key)}

    def gets(self, pattern: str) -> list[dict[str, str]]:
        """Return the keys that match, sorted, each as {"key", "value"}."""
        matches = _expression(pattern).fullmatch
        return [{"key": key, "value": value} for key, value in sorted(self._found.items()) if matches(key)]

    def getvs(self, pattern: str) -> list[str]:
        """Return the values of the keys that match, sorted."""
        return sorted(one["value"] for one in self.gets(pattern))

    def ls(self, path: str) -> list[str]:
        """Return the names directly below a path, sorted; the name itself if it is a key."""
        own = {posixpath.basename(path)} if path in self._found else set()
        return sorted(own.union(rest.partition("/")[0] for rest in self._below(path)))

    def lsdir(self, path: str) -> list[str]:
        """Return the names directly below a path that have keys below them, sorted."""
        return sorted({rest.partition("/")[0] for rest in self._below(path) if "/" in rest})

    def exists(self, key: str) -> bool:
        """Return whether a key exists."""
        return key in self._found

    def _below(self, path: str) -> Iterator[str]:
        """Yield the rest of each key below a path."""
        start = path.rstrip("/") + "/"
        return (key.removeprefix(start) for key in self._found if key.startswith(start))

    @cached_property
    def _found(self) -> dict[str, str]:
        return dict(pair for member in self._values["members"] for pair in _pairs(member))


def _pairs(member: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    identity = member["identity"]
    top = f"/members/{identity}"
    for name in ("identity", "address", "state", "role"):
        yield f"{top}/{name}", member[name]
    for name in member["classes"]:
        yield f"{top}/classes/{name}", name
    yield from _below(f"{top}/facts", member["facts"])
    if member["role"] and member["address"]:
        yield f"/roles/{member['role']}/{identity}", member["address"]


def _below(path: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for name, one in value.items():
            yield from _below(f"{path}/{name}", one)
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from _below(f"{path}/{number}", one)
    elif value is not None:
        yield path, str(value).lower() if isinstance(value, bool) else str(value)


def _expression(pattern: str) -> re.Pattern[str]:
    """Return the regular expression of a pattern of path.Match."""
    parts, place = [], 0
    while place < len(pattern):
        character, place = pattern[place], place + 1
        end = pattern.find("]", place + 1)
        if character == "[" and end > 0:
            inside = pattern[place:end]
            negated, inside = inside.startswith("^"), inside.removeprefix("^")
            escaped = "".join(one if one == "-" else re.escape(one) for one in inside)
            parts.append(f"(?!/)[{'^' if negated else ''}{escaped}]")
            place = end + 1
        else:
            parts.append({"*": "[^/]*", "?": "[^/]"}.get(character) or re.escape(character))
    return re.compile("".join(parts), re.DOTALL)
