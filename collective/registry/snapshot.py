"""A file with the records of a large registry: facts are stored by name, so that a filter reads only those it tests.

    {"version": 1, "sections": {NAME: [OFFSET, LENGTH], …}}     the first line
    JSON, one section after the other                           compressed

    heads      identity, instance, change and public key of each node, and the number of its common part
    common     what many nodes have in common: versions, agents, classes, and so on
    fact NAME  the different values of one fact, and for each node which of them it has (-1: none)

The file is a copy: one that cannot be read is as good as none. It is in the caller's own folder, and only read by its
owner.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from collective.registry import NodeRecord
from collective.replaced_file import replace_file

_VERSION = 1
_HEADER = 1024 * 1024  # bytes of the first line at most
_COMMON = ("version", "classes", "agents", "ddls", "refused", "outdated", "problems", "omitted", "period")
_LEVEL = 1  # of zlib: the fastest


class Head(NamedTuple):
    """What a scan of the table always reads of a node; `changed` identifies its record, times are Unix seconds."""

    identity: str
    instance: str
    changed: str
    last_seen: float
    contested: float | None
    left: float | None
    terminated: float | None = None


class RegistrySnapshot:
    """The records in a file, by identity."""

    def __init__(self, path: Path, sections: Mapping[str, Sequence[int]], begin: int) -> None:
        self._path = path
        self._sections = sections
        self._begin = begin
        heads = self._section("heads")
        self._changes = dict(zip(heads["identity"], zip(heads["instance"], heads["changed"], strict=True), strict=True))
        self._rows = {identity: row for row, identity in enumerate(heads["identity"])}
        self._keys: list[str] = heads["public_key"]
        self._parts: list[int] = heads["common"]
        self._facts: dict[str, Any] = {}
        self._common = [
            {**one, "classes": tuple(one["classes"]), "problems": tuple(one["problems"])}
            for one in self._section("common")
        ]

    def __len__(self) -> int:
        return len(self._rows)

    def has(self, head: Head) -> bool:
        """Return whether the file has the record as it is now in the table."""
        return bool(head.changed) and self._changes.get(head.identity) == (head.instance, head.changed)

    def record(self, head: Head) -> NodeRecord:
        """Return the record of a node that the file has, with the times of `head`."""
        row = self._rows[head.identity]
        record = object.__new__(NodeRecord)
        members = self._common[self._parts[row]].copy()  # the constructor takes ten times as long; all is checked
        members["identity"] = head.identity
        members["instance"] = head.instance
        members["public_key"] = self._keys[row]
        members["facts"] = SnapshotFacts(self, row)
        members["last_seen"] = head.last_seen
        members["contested"] = head.contested
        members["left"] = head.left
        members["terminated"] = head.terminated
        object.__setattr__(record, "__dict__", members)
        return record

    @cached_property
    def fact_names(self) -> list[str]:
        """The names of all facts, sorted."""
        return sorted(name.removeprefix("fact ") for name in self._sections if name.startswith("fact "))

    @property
    def read_facts(self) -> list[str]:
        """The names of the facts that were asked for."""
        return list(self._facts)

    def fact(self, name: str, row: int) -> Any:
        """Return one fact of the node in a row. Raises KeyError if it has none."""
        if name not in self._facts:
            self._facts[name] = self._section(f"fact {name}") if f"fact {name}" in self._sections else None
        section = self._facts[name]
        if section is None or (number := section["rows"][row]) < 0:
            raise KeyError(name)
        return section["values"][number]

    def _section(self, name: str) -> Any:
        offset, length = self._sections[name]
        with self._path.open("rb") as file:
            file.seek(self._begin + offset)
            return json.loads(zlib.decompress(file.read(length)))


class SnapshotFacts(Mapping[str, Any]):
    """The facts of one node, read from the file when they are asked for."""

    __slots__ = ("_row", "_snapshot")

    def __init__(self, snapshot: RegistrySnapshot, row: int) -> None:
        self._snapshot = snapshot
        self._row = row

    def __getitem__(self, name: str) -> Any:
        return self._snapshot.fact(name, self._row)

    def __iter__(self) -> Iterator[str]:
        for name in self._snapshot.fact_names:
            with suppress(KeyError):
                self._snapshot.fact(name, self._row)
                yield name

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return repr(dict(self))


def load(path: Path) -> RegistrySnapshot | None:
    """Return the snapshot in a file; None if there is none that can be read."""
    with suppress(OSError, ValueError, TypeError, KeyError, AttributeError, zlib.error, RecursionError):
        with path.open("rb") as file:
            line = file.readline(_HEADER)
        header = json.loads(line)
        end = len(line) + max(offset + length for offset, length in header["sections"].values())
        if header["version"] == _VERSION and path.stat().st_size == end:
            return RegistrySnapshot(path, header["sections"], len(line))
    return None


def save(path: Path, records: Sequence[NodeRecord], changes: Mapping[str, str]) -> None:
    """Write the records of which `changes` has the time of the last change, by identity."""
    kept = [record for record in records if changes.get(record.identity)]
    sections: dict[str, list[int]] = {}
    blocks: list[bytes] = []
    end = 0
    for name, value in _contents(kept, changes):
        block = zlib.compress(json.dumps(value, separators=(",", ":"), default=dict).encode(), _LEVEL)
        sections[name] = [end, len(block)]
        blocks.append(block)
        end += len(block)
    header = json.dumps({"version": _VERSION, "sections": sections}, separators=(",", ":")).encode()
    if len(header) >= _HEADER:
        return
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        replace_file(path, b"\n".join([header, b"".join(blocks)]))


def _contents(records: Sequence[NodeRecord], changes: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    """Yield the sections by name."""
    common: dict[str, int] = {}
    numbers = [common.setdefault(_common_text(record), len(common)) for record in records]
    yield (
        "heads",
        {
            "identity": [record.identity for record in records],
            "instance": [record.instance for record in records],
            "changed": [changes[record.identity] for record in records],
            "public_key": [record.public_key for record in records],
            "common": numbers,
        },
    )
    yield "common", [json.loads(text) for text in common]
    facts: dict[str, dict[int, Any]] = {}
    for row, record in enumerate(records):
        for name, value in record.facts.items():
            facts.setdefault(name, {})[row] = value
    for name, values in facts.items():
        yield f"fact {name}", _distinct(values, len(records))


def _common_text(record: NodeRecord) -> str:
    return json.dumps({name: getattr(record, name) for name in _COMMON}, default=dict, sort_keys=True)


def _distinct(values: Mapping[int, Any], rows: int) -> dict[str, Any]:
    """Return the different values of a fact, and for each row the number of its value."""
    known: dict[Any, int] = {}
    distinct: list[Any] = []
    numbers = [-1] * rows
    for row, value in values.items():
        key = (type(value), value) if isinstance(value, (str, int, float)) else json.dumps(value, default=dict)
        if key not in known:
            known[key] = len(distinct)
            distinct.append(value)
        numbers[row] = known[key]
    return {"values": distinct, "rows": numbers}
