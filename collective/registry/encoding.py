"""Encode node records for the registry, and decode them with bounds: what is in the table is not trusted.

    node     fit ─► encode ─► compressed JSON, at most MAX_PACKED bytes
    caller   decode ─► NodeRecord, or InvalidRecord

A record that is too large loses entries of its largest member, the largest ones first: facts, usually. Identity, key,
period and agents are never omitted.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from itertools import accumulate
from sys import intern
from typing import Any

from collective import bounded_json, names
from collective.errors import CollectiveError, MessageError, UsageError
from collective.registry import NodeRecord
from collective.text import escape_controls

MAX_PACKED = 380_000  # bytes; DynamoDB: an item has at most 400 KB, names and numbers of attributes included
MAX_UNPACKED = 4 * 1024 * 1024  # bytes; the facts of a node have some kilobytes
MAX_VALUES = 100_000  # separators in the JSON text, an upper bound of its values
MAX_FACT_DEPTH = 100  # levels of one fact; a record adds two
_LONGEST = 2_000  # characters of a version, an error or a key
_MOST_PROBLEMS = 20
_LARGEST = 1e11  # seconds; no time or period is larger
_MARGIN = 0.9  # of the room that is left, because entries do not compress equally well
_CUT = ("facts", "refused", "outdated", "classes")

Members = Mapping[str, Any]


class InvalidRecord(CollectiveError):
    """A record of the registry breaks a rule; the message begins with the member."""


# -- encoding


def fit(record: NodeRecord) -> NodeRecord:
    """Return the record without the entries that the registry cannot store; `omitted` counts them."""
    facts = {name for name, value in record.facts.items() if _is_storable({name: value})}
    classes = {name for name in record.classes if len(name) <= _LONGEST and _is_storable({name: None})}
    problems = tuple(escape_controls(line)[:_LONGEST] for line in record.problems[:_MOST_PROBLEMS])
    record = replace(record, refused=_shown(record.refused), outdated=_shown(record.outdated), problems=problems)
    record = _with_only(_with_only(record, "facts", facts), "classes", classes)
    for part in sorted(_CUT, key=lambda part: len(_json(getattr(record, part))), reverse=True):
        if _fits(record):
            break
        record = _shortened(record, part)
    return record


def _shown(reasons: Mapping[str, str]) -> dict[str, str]:
    """Return names and reasons as decoders accept them: the name of an agent is that of a file, in any bytes."""
    return {escape_controls(name)[:_LONGEST]: escape_controls(text)[:_LONGEST] for name, text in reasons.items()}


def omission(record: NodeRecord) -> str:
    """Return what the registry does not have of a record, as one line; empty if it has everything."""
    counts = [f"{count} of {count + len(getattr(record, part))} {part}" for part, count in record.omitted.items()]
    return f"the registry cannot store {' and '.join(counts)} of this node" if counts else ""


def encode(record: NodeRecord) -> bytes:
    """Return the compressed JSON of a record's members, except those that are attributes of their own."""
    return zlib.compress(_text(record).encode())


def _text(record: NodeRecord) -> str:
    members = {name: getattr(record, name) for name in _MEMBERS if getattr(record, name) or name in _REQUIRED}
    return _json(members)


def _json(value: Any) -> str:
    return json.dumps(value, default=dict)


def _fits(record: NodeRecord) -> bool:
    return _load(record) <= 1


def _load(record: NodeRecord) -> float:
    """Return how much of the limits a record takes: 1 is all of it."""
    text = _text(record)
    packed = len(zlib.compress(text.encode()))
    return max(packed / MAX_PACKED, len(text) / MAX_UNPACKED, _separators(text) / MAX_VALUES)


def _shortened(record: NodeRecord, part: str) -> NodeRecord:
    """Return the record with the smallest entries of one part, about as many as fit."""
    entries = getattr(record, part)
    weights = {name: _weight(entries, name) for name in entries}
    by_weight = sorted(entries, key=weights.__getitem__)
    room = sum(weights.values()) / _load(record) * _MARGIN
    while by_weight:
        totals = accumulate(weights[name] for name in by_weight)
        kept = {name for name, total in zip(by_weight, totals, strict=True) if total <= room}
        shorter = _with_only(record, part, kept)
        if not kept or _fits(shorter):
            return shorter
        room *= _MARGIN
    return record


def _weight(entries: Any, name: str) -> float:
    """Return how much an entry takes: characters, or as many for each value."""
    text = _json([name, entries[name]] if isinstance(entries, Mapping) else name)
    return max(len(text), _separators(text) * MAX_UNPACKED / MAX_VALUES)


def _with_only(record: NodeRecord, part: str, kept: Collection[str]) -> NodeRecord:
    entries = getattr(record, part)
    names_kept = [name for name in entries if name in kept]
    fewer: Any = {name: entries[name] for name in names_kept} if isinstance(entries, Mapping) else tuple(names_kept)
    members: dict[str, Any] = {part: fewer}
    omitted = record.omitted.get(part, 0) + len(entries) - len(names_kept)
    return _noting(replace(record, **members), part, omitted)


def _noting(record: NodeRecord, part: str, omitted: int) -> NodeRecord:
    return replace(record, omitted={**record.omitted, part: omitted}) if omitted else record


def _is_storable(fact: Members) -> bool:
    """Return whether a fact is strict JSON, neither too deep nor with halves of surrogate pairs."""
    try:
        text = json.dumps(fact, allow_nan=False)
        bounded_json.parse(text, "fact")
    except (MessageError, TypeError, ValueError, RecursionError):
        return False
    return text.count("{") + text.count("[") <= MAX_FACT_DEPTH or _depth(fact) <= MAX_FACT_DEPTH


def _depth(value: Any) -> int:
    if not isinstance(value, (dict, list)):
        return 0
    return 1 + max(map(_depth, value.values() if isinstance(value, dict) else value), default=0)


# -- decoding


def decode(identity: str, packed: bytes, times: Mapping[str, float | None], instance: str) -> NodeRecord:
    """Return the record of one item. Raises InvalidRecord.

    `times` are `last_seen`, `contested`, `left` and `terminated`, in Unix seconds.
    """
    _check_identity(identity)
    members = _members(packed)
    for name, check in _MEMBERS.items():
        if name in members:
            check(name, members[name])
        elif name in _REQUIRED:
            raise InvalidRecord(f"{name}: missing")
    for name, value in {**times, "instance": instance}.items():
        (_check_text if name == "instance" else _check_time)(name, value)
    known = {name: members[name] for name in _MEMBERS if name in members}
    # Nodes have the names of facts, and agents with their DDLs, in common: one copy serves all records.
    known["facts"] = {intern(fact): value for fact, value in known["facts"].items()}
    for name in ("agents", "ddls"):
        known[name] = {intern(agent): intern(text) for agent, text in known.get(name, {}).items()}
    known["classes"] = tuple(known.get("classes", ()))
    known["problems"] = tuple(map(escape_controls, known.get("problems", ())))
    for name in ("version", "public_key", "policy"):
        known[name] = escape_controls(known.get(name, ""))
    for name in ("refused", "outdated"):
        known[name] = {agent: escape_controls(text) for agent, text in known.get(name, {}).items()}
    return NodeRecord(identity=identity, instance=instance, **times, **known)  # type: ignore[arg-type]


def check_head(identity: str, times: Mapping[str, float | None]) -> None:
    """Raise InvalidRecord for the key and the times of an item that no record can have."""
    _check_identity(identity)
    for name, value in times.items():
        _check_time(name, value)


def _check_identity(identity: str) -> None:
    try:
        names.check_identity(identity)
    except UsageError as error:
        raise InvalidRecord(f"identity: {error}") from None


def _members(packed: bytes) -> Members:
    if len(packed) > 2 * MAX_PACKED:
        raise InvalidRecord(f"node: more than {2 * MAX_PACKED} bytes")
    unpacker = zlib.decompressobj()
    try:
        text = unpacker.decompress(packed, MAX_UNPACKED)
    except zlib.error as error:
        raise InvalidRecord(f"node: cannot be decompressed: {error}") from None
    if unpacker.unconsumed_tail or not unpacker.eof:
        raise InvalidRecord(f"node: truncated, or more than {MAX_UNPACKED} bytes when decompressed")
    try:
        members = bounded_json.parse(_bounded(text.decode("utf-8")), "node")
    except (MessageError, UnicodeDecodeError) as error:
        raise InvalidRecord(str(error) if isinstance(error, MessageError) else "node: not UTF-8") from None
    if not isinstance(members, dict):
        raise InvalidRecord("node: must be an object")
    return members


def _bounded(text: str) -> str:
    if _separators(text) > MAX_VALUES:
        raise InvalidRecord(f"node: more than {MAX_VALUES} values")
    return text


def _separators(text: str) -> int:
    return text.count(",") + text.count("[") + text.count("{")


def _require(valid: bool, name: str, what: str) -> None:
    if not valid:
        raise InvalidRecord(f"{name}: must be {what}")


def _check_text(name: str, value: Any) -> None:
    _require(isinstance(value, str) and len(value) <= _LONGEST, name, f"a string of at most {_LONGEST} characters")


def _check_time(name: str, value: Any) -> None:
    if name == "last_seen" or value is not None:
        _check_number(name, value)


def _check_number(name: str, value: Any) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    _require(number and 0 <= value <= _LARGEST, name, f"a number from 0 to {_LARGEST:.0f}")


def _check_period(name: str, value: Any) -> None:
    """Check the time between heartbeats: watchers divide by it."""
    _check_number(name, value)
    _require(value > 0, name, "more than 0")


def _check_object(name: str, value: Any) -> None:
    _require(isinstance(value, dict), name, "an object")


def _check_texts(name: str, value: Any) -> None:
    _check_object(name, value)
    valid = all(isinstance(text, str) and len(text) <= _LONGEST and len(key) <= _LONGEST for key, text in value.items())
    _require(valid, name, f"an object of strings of at most {_LONGEST} characters")


def _check_counts(name: str, value: Any) -> None:
    _check_object(name, value)
    valid = all(type(count) is int and part in _CUT and 0 < count < 1e9 for part, count in value.items())
    _require(valid, name, f"an object of integers, with the keys {', '.join(_CUT)}")


def _check_names(name: str, value: Any) -> None:
    valid = isinstance(value, list) and all(isinstance(one, str) and len(one) <= _LONGEST for one in value)
    _require(valid, name, f"a list of strings of at most {_LONGEST} characters")


# The members of the compressed JSON; `identity` and what heartbeats change are attributes of the item.
_MEMBERS: Mapping[str, Callable[[str, Any], None]] = {
    "version": _check_text,
    "public_key": _check_text,
    "policy": _check_text,
    "period": _check_period,
    "agents": _check_texts,
    "ddls": _check_texts,
    "classes": _check_names,
    "refused": _check_texts,
    "outdated": _check_texts,
    "problems": _check_names,
    "omitted": _check_counts,
    "facts": _check_object,
}
_REQUIRED = frozenset({"version", "agents", "facts"})
