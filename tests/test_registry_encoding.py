"""Records of the registry: what is too large is shortened, and what others wrote is decoded with bounds."""

from __future__ import annotations

import json
import time
import tracemalloc
import zlib
from dataclasses import replace
from typing import Any

import pytest

from collective.registry import NodeRecord, Revocation
from collective.registry.encoding import MAX_PACKED, MAX_UNPACKED, encode, fit, omission
from collective.registry.table_items import decoded

RECORD = NodeRecord("web1", "1.0", {"role": "web"}, agents={"package": "1"}, public_key="ssh-ed25519 AAAA", period=60.0)


def item(identity: str = "web1", **members: Any) -> dict[str, Any]:
    """Return the item of a record, with some members of its JSON replaced."""
    content = {**json.loads(zlib.decompress(encode(RECORD))), **members}
    return raw(zlib.compress(json.dumps(content).encode()), identity)


def raw(packed: bytes, identity: str = "web1", **attributes: Any) -> dict[str, Any]:
    """Return an item with this content."""
    times = {"last_seen": {"N": "1000"}, "instance": {"S": "one"}}
    return {"identity": {"S": identity}, **times, "node": {"B": packed}, **attributes}


def deep(levels: int) -> Any:
    """Return nested lists."""
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("broken", "problem"),
    [
        (item(agents=None), "agents: must be an object"),
        (item(agents={"package": 1}), "agents: must be an object of strings"),
        (item(agents=["package"]), "agents: must be an object"),
        (item(period="x"), "period: must be a number from 0"),
        (item(period=10**400), "period: must be a number from 0"),
        (item(period=-1), "period: must be a number from 0"),
        (item(period=0), "period: must be more than 0"),
        (item(period=True), "period: must be a number from 0"),
        (item(public_key=5), "public_key: must be a string"),
        (item(version=None), "version: must be a string"),
        (item(classes="apache"), "classes: must be a list of strings"),
        (item(classes=[1]), "classes: must be a list of strings"),
        (item(refused={"a": []}), "refused: must be an object of strings"),
        (item(omitted={"identity": 1}), "omitted: must be an object of integers"),
        (item(facts=[]), "facts: must be an object"),
        (item(facts={"a": deep(200)}), "node: nested more than 128 levels deep"),
        (item(version="x" * 5000), "version: must be a string of at most 2000 characters"),
        (item(identity="web1\x1b[2J"), "identity: invalid identity"),
        (item(identity="a\nb"), "identity: invalid identity"),
        (raw(b"hello"), "node: cannot be decompressed"),
        (raw(zlib.compress(b"[1]")), "node: must be an object"),
        (raw(zlib.compress(b'{"facts": NaN}')), "node: not JSON"),
        (raw(zlib.compress(b"\xff")), "node: not UTF-8"),
        (raw(zlib.compress(b" " * (MAX_UNPACKED + 1))), "node: truncated, or more than"),
        (raw(zlib.compress(b"[" + b"[]," * 200_000 + b"1]")), "node: more than 100000 values"),
        (raw(b"", node={"S": "x"}), "node: missing, or not of the type B"),
        (raw(encode(RECORD), last_seen={"N": "1e400"}), "last_seen: must be a number"),
        (raw(encode(RECORD), last_seen={"S": "x"}), "last_seen: missing, or not of the type N"),
        (raw(encode(RECORD), instance={"N": "1"}), "instance: missing, or not of the type S"),
        (raw(encode(RECORD), left_at={"N": "-1"}), "left: must be a number"),
    ],
)
def test_an_invalid_record_costs_only_itself(broken: dict[str, Any], problem: str) -> None:
    """The other nodes are read, and the reason names the member."""
    contents = decoded([item("db1"), broken, item("db2")])
    assert [record.identity for record in contents.records] == ["db1", "db2"]
    [(name, found)] = contents.invalid.items()
    assert found.startswith(problem)
    assert (name + found).isprintable()


def test_texts_of_a_record_are_escaped() -> None:
    """What commands print of a record has no control characters."""
    [record] = decoded([item(version="1\x1b[2J", refused={"odd": "no\nDDL"}, outdated={"odd": "\u202e"})]).records
    assert (record.version, record.refused, record.outdated) == (
        "1\\x1b[2J",
        {"odd": "no\\nDDL"},
        {"odd": "\\u202e"},
    )


def test_a_small_item_cannot_take_much_memory() -> None:
    """An item of 117 KB that expands to gigabytes is refused after a few megabytes."""
    packer = zlib.compressobj()
    bomb = b"".join(packer.compress(b"[" * 1_000_000) for _ in range(120)) + packer.flush()
    assert len(bomb) < 150_000
    tracemalloc.start()
    assert "more than" in decoded([raw(bomb)]).invalid["web1"]
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()


def test_members_of_a_newer_version_are_ignored() -> None:
    """A node of a newer version is not invalid."""
    assert decoded([item(invented=[1])]).records[0].version == "1.0"


def test_a_revocation_is_read() -> None:
    """Revocations and nodes share the table."""
    fields = {"node": {"S": "web1"}, "fingerprint": {"S": "SHA256:x"}, "active": {"BOOL": True}}
    contents = decoded([{"identity": {"S": "#revoked web1 SHA256:x"}, **fields}, item("db1")])
    assert contents.revocations == [Revocation("web1", "SHA256:x")]
    assert [record.identity for record in contents.records] == ["db1"]


def noise(number: int) -> str:
    """Return a text that does not compress."""
    import hashlib

    return hashlib.sha512(str(number).encode()).hexdigest()


@pytest.mark.parametrize(
    ("changes", "omitted"),
    [
        ({"facts": {f"fact{number}": noise(number) for number in range(10_455)}}, "facts"),
        ({"facts": {"role": "web", "huge": "".join(noise(number) for number in range(9_000))}}, "facts"),
        ({"classes": tuple(f"class{number}::{noise(number)}" for number in range(10_000))}, "classes"),
        ({"refused": {f"agent{number}": noise(number) for number in range(10_000)}}, "refused"),
        ({"facts": {"list": list(range(150_000)), "role": "web"}}, "facts"),
    ],
)
def test_a_record_that_is_too_large_is_shortened(changes: dict[str, Any], omitted: str) -> None:
    """The node stays registered with its key, agents and as much as fits; `omitted` counts the rest."""
    record = replace(RECORD, **changes)
    fitted = fit(record)
    assert len(encode(fitted)) <= MAX_PACKED
    assert (fitted.identity, fitted.public_key, fitted.agents) == ("web1", RECORD.public_key, RECORD.agents)
    assert list(fitted.omitted) == [omitted]
    kept = len(getattr(fitted, omitted))
    assert fitted.omitted[omitted] + kept == len(changes[omitted])
    assert kept
    counts = f"{fitted.omitted[omitted]} of {len(changes[omitted])}"
    assert omission(fitted) == f"the registry cannot store {counts} {omitted} of this node"
    assert decoded([raw(encode(fitted))]).records[0].omitted == fitted.omitted


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), "\ud800", deep(150), {1, 2}])
def test_a_fact_that_json_cannot_hold_is_omitted(odd: Any) -> None:
    """One odd value does not make the record invalid."""
    fitted = fit(replace(RECORD, facts={"role": "web", "odd": odd}))
    assert (fitted.facts, fitted.omitted) == ({"role": "web"}, {"facts": 1})
    assert decoded([raw(encode(fitted))]).records[0].facts == {"role": "web"}


@pytest.mark.parametrize("odd", ["x" * 2_001, "role::\udcff"])
def test_a_class_that_the_registry_cannot_hold_is_omitted(odd: str) -> None:
    """One odd class does not make the record invalid."""
    fitted = fit(replace(RECORD, classes=("web", odd)))
    assert (fitted.classes, fitted.omitted) == (("web",), {"classes": 1})
    assert decoded([raw(encode(fitted))]).records[0].classes == ("web",)


@pytest.mark.parametrize(("name", "shown"), [("\udcff", "\\udcff"), ("x" * 3_000, "x" * 2_000), ("a\nb", "a\\nb")])
@pytest.mark.parametrize("part", ["refused", "outdated"])
def test_the_name_of_a_refused_agent_may_have_any_bytes(part: str, name: str, shown: str) -> None:
    """A file name that is not UTF-8 in a folder of agents does not make the record invalid."""
    fitted = fit(replace(RECORD, **{part: {name: "no DDL"}}))  # type: ignore[arg-type]
    assert getattr(decoded([raw(encode(fitted))]).records[0], part) == {shown: "no DDL"}


def test_problems_are_bounded_and_escaped() -> None:
    """A policy with a thousand errors does not make the record large or invalid."""
    fitted = fit(replace(RECORD, problems=("a\udcff", "x" * 3_000, *["y"] * 1_000)))
    found = decoded([raw(encode(fitted))]).records[0].problems
    assert (found[:2], len(found)) == (("a\\udcff", "x" * 2_000), 20)


def test_a_record_that_fits_is_unchanged() -> None:
    """Shortening a record twice changes nothing."""
    assert fit(RECORD) == RECORD
    large = fit(replace(RECORD, facts={str(number): noise(number) for number in range(9_000)}))
    assert fit(large) == large


def test_records_are_read_fast() -> None:
    """A registry of a thousand nodes with 100 facts each takes less than a second of CPU time."""
    one = item(facts={f"fact{number}": {"value": noise(number)[:20]} for number in range(100)})
    began = time.process_time()
    assert len(decoded([{**one, "identity": {"S": f"web{number}"}} for number in range(1000)]).records) == 1000
    assert time.process_time() - began < 1.0
