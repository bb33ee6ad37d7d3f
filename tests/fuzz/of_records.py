"""Target for the registry: items of the table, as another machine may have written them."""

from __future__ import annotations

import json
import zlib
from typing import Any

from collective.filters import Budget, matches, parse
from collective.registry import Contents, NodeRecord
from collective.registry.encoding import encode, fit
from collective.registry.table_items import decoded
from fuzz import Target
from fuzz.mutations import in_json
from fuzz.of_signatures import KEYS

_FILTERS = (parse(with_fact=["role=web", "os.name=~^D"], with_class=["/a/"]), parse(select="not (role=db or cores<4)"))

RECORD = NodeRecord(
    identity="web1.my.net",
    version="1.0",
    facts={"role": "web", "os": {"name": "Debian", "tags": ["a", None, 1.5, True]}, "cores": 8},
    classes=("apache", "role::web"),
    agents={"package": "1.0"},
    refused={"odd": "odd.py: no DDL"},
    outdated={"package": "package.py: no such input"},
    omitted={"facts": 3},
    public_key=KEYS["alice"].public.line,
    period=60.0,
)


def item(data: bytes) -> dict[str, Any] | None:
    """Return the item that a JSON document describes; its `node` is compressed, unless it is a string already."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    typed = {name: value for name, value in found.items() if isinstance(value, dict)}
    packed = found.get("node")
    if not isinstance(packed, dict) or "S" not in packed:
        typed["node"] = {"B": zlib.compress(json.dumps(packed).encode("utf-8", "replace"), 1)}
    key = found.get("identity", {})
    typed["identity"] = {"S": key["S"] if isinstance(key, dict) and isinstance(key.get("S"), str) else "web1"}
    return typed


def read(data: bytes) -> None:
    """Decode an item in every form, and use the record as callers do."""
    raw = {"identity": {"S": "raw"}, "instance": {"S": ""}, "last_seen": {"N": "1"}, "node": {"B": data}}
    packed = {**raw, "identity": {"S": "packed"}, "node": {"B": zlib.compress(data, 1)}}
    for one in (raw, packed, item(data)):
        if one is not None:
            _use(decoded([one]))


def _use(contents: Contents) -> None:
    for name, problem in contents.invalid.items():
        assert name.isprintable()
        assert problem.isprintable()
        assert 0 < len(problem) <= 1000
    assert all((one.node + one.fingerprint).isprintable() for one in contents.revocations)
    for record in contents.records:
        shown = (record.identity, record.version, record.public_key, *record.refused.values())
        assert all(text.isprintable() for text in (*shown, *record.outdated.values()))
        assert isinstance(record.alive(1000.0) or record.is_contested(1000.0), bool)
        for wanted in _FILTERS:
            matches(wanted, record, lambda *_: None, Budget())
        encode(fit(record))


_TIMES = {"last_seen": {"N": "1789000000.123"}, "contested": {"N": "1"}, "left_at": {"N": "2"}, "instance": {"S": "ab"}}
_SEED = {"identity": {"S": "web1.my.net"}, **_TIMES, "node": json.loads(zlib.decompress(encode(RECORD)))}
_REVOKED = {
    "identity": {"S": "#revoked web1 SHA256:x"},
    "node": {"S": "web1"},
    "fingerprint": {"S": KEYS["alice"].public.fingerprint},
    "active": {"BOOL": True},
}
RECORDS = Target(
    "registry",
    read,
    [json.dumps(_SEED).encode(), json.dumps(_SEED["node"]).encode(), encode(RECORD), json.dumps(_REVOKED).encode()],
    in_json(*_SEED, *_SEED["node"], "S", "N", "B", "BOOL", "1e400", "nan", "#revoked x"),
)
