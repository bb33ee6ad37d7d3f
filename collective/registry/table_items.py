"""The items of the registry's table: records, heads, revoked keys, and their translation.

    identity S (key) · instance S · node B (the rest, compressed)
                     · last_seen N · contested N · left_at N · terminated_at N · changed N
    #revoked NODE FINGERPRINT S (key) · node S · fingerprint S · active BOOL     a key that no caller may accept
    #cluster NAME S (key)            a cluster of machines, see collective.cluster.table: skipped here

Times are Unix seconds by the clock of the service. An invalid item costs only itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from collective.registry import CLUSTER, Contents, NodeRecord, Revocation, encoding
from collective.registry.encoding import InvalidRecord
from collective.registry.snapshot import Head
from collective.text import escape_controls

_REVOKED = "#revoked "  # begins the keys of revocations; no identity contains these characters
_OTHER = (_REVOKED, CLUSTER)  # begin the keys of items that are not nodes
_TYPES: Mapping[str, Any] = {"S": str, "N": str, "B": bytes, "BOOL": bool}
_TIMES = {"last_seen": "last_seen", "contested": "contested", "left": "left_at", "terminated": "terminated_at"}
# What a scan returns of each item when a snapshot has the rest; some names are reserved words.
HEADS: Any = {
    "ProjectionExpression": (
        "#identity, #instance, last_seen, contested, left_at, terminated_at, changed, fingerprint, active"
    ),
    "ExpressionAttributeNames": {"#identity": "identity", "#instance": "instance"},
}


def time_attribute(time: float) -> Any:
    """Return the attribute of a time."""
    return {"N": f"{time:.3f}"}


def to_item(record: NodeRecord, now: float) -> Any:
    """Return the item of a record that is written now, in Unix seconds."""
    item: Any = {
        "identity": {"S": record.identity},
        "instance": {"S": record.instance},
        "last_seen": time_attribute(now),
        "changed": time_attribute(now),
        "node": {"B": encoding.encode(encoding.fit(record))},
    }
    if record.contested is not None:
        item["contested"] = time_attribute(record.contested)
    return item


def revocation_item(revocation: Revocation, now: float) -> Any:
    """Return the item of a revoked or readmitted key."""
    return {
        "identity": {"S": f"{_REVOKED}{revocation.node} {revocation.fingerprint}"},
        "node": {"S": revocation.node},
        "fingerprint": {"S": revocation.fingerprint},
        "active": {"BOOL": revocation.active},
        "changed": time_attribute(now),
    }


def is_revocation(key: str) -> bool:
    """Return whether the key of an item is that of a revoked or readmitted node's key."""
    return key.startswith(_REVOKED)


def decoded(items: Iterable[Any]) -> Contents:
    """Return the contents of a table's items; an invalid item costs only itself, and is listed with the reason."""
    records: dict[str, NodeRecord] = {}
    invalid: dict[str, str] = {}
    revocations: list[Revocation] = []
    for item in items:
        key = str(item["identity"]["S"])
        try:
            if key.startswith(_REVOKED):
                revocations.append(_revocation(item))
            elif not key.startswith(CLUSTER):
                records[key] = _record(key, item)
        except InvalidRecord as error:
            invalid[escape_controls(key)] = str(error)
    return Contents(list(records.values()), invalid, revocations)


def is_node(key: str) -> bool:
    """Return whether the key of an item is the identity of a node."""
    return not key.startswith(_OTHER)


def heads(items: Iterable[Any]) -> tuple[list[Head], Contents]:
    """Return the heads of all records; and revoked keys and invalid items, without records."""
    by_key = {str(item["identity"]["S"]): item for item in items}
    rest = decoded(_with_node(key, item) for key, item in by_key.items() if is_revocation(key))
    invalid = dict(rest.invalid)
    found = []
    for key, item in by_key.items():
        if is_node(key):
            try:
                found.append(_head(key, item))
            except InvalidRecord as error:
                invalid[escape_controls(key)] = str(error)
    return found, Contents([], invalid, rest.revocations)


def changes(items: Iterable[Any]) -> dict[str, str]:
    """Return the last change of each record that has one."""
    found = {str(item["identity"]["S"]): _changed(item) for item in items}
    return {key: changed for key, changed in found.items() if changed and is_node(key)}


def _record(key: str, item: Any) -> NodeRecord:
    return encoding.decode(key, _attribute(item, "node", "B"), _times(item), _attribute(item, "instance", "S"))


def _head(key: str, item: Any) -> Head:
    """Return the head of a record, whose times are checked as those of a record are."""
    times: Any = _times(item)
    encoding.check_head(key, times)
    return Head(key, _attribute(item, "instance", "S"), _changed(item), **times)


def _times(item: Any) -> dict[str, float | None]:
    """Return the times of an item by the names that they have in a record."""
    return {name: _time(item, column) for name, column in _TIMES.items()}


def _changed(item: Any) -> str:
    """Return the last change of a record; an empty string if it has none, or one that is not a time."""
    number = item.get("changed", {}).get("N")
    with suppress(TypeError, ValueError):
        if math.isfinite(float(number)):
            return str(number)
    return ""


def _with_node(key: str, item: Any) -> Any:
    """Return the item of a revocation with its node, whose name is part of the key."""
    return {**item, "node": {"S": key.removeprefix(_REVOKED).rpartition(" ")[0]}}


def _revocation(item: Any) -> Revocation:
    node, fingerprint = _attribute(item, "node", "S"), _attribute(item, "fingerprint", "S")
    return Revocation(escape_controls(node), escape_controls(fingerprint), _attribute(item, "active", "BOOL"))


def _time(item: Any, column: str) -> float | None:
    if column not in item:
        return None
    try:
        number = float(_attribute(item, column, "N"))
    except ValueError:
        number = math.nan
    return number


def _attribute(item: Any, name: str, kind: str) -> Any:
    """Return an attribute of an item, which must have the type `kind` of DynamoDB. Raises InvalidRecord."""
    value = item.get(name, {}).get(kind)
    if not isinstance(value, _TYPES[kind]):
        raise InvalidRecord(f"{name}: missing, or not of the type {kind}")
    return bytes(value) if kind == "B" else value
