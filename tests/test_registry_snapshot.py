"""A snapshot of a large registry: what it returns is what the registry has."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from collective.filters import parse
from collective.fleet import discovery
from collective.fleet.targets import Targets
from collective.registry import Contents, NodeRecord, Revocation, snapshot
from collective.registry.snapshot import Head
from collective.registry.snapshot_nodes import LEAST, SnapshotNodes

NOW = 1000.0
REVOKED = [Revocation("node0001", "SHA256:x")]


def record(number: int, **changes: Any) -> NodeRecord:
    """Return a record with facts of all kinds."""
    facts = {"role": ("web", "db")[number % 2], "number": number, "os": {"family": "Debian"}, "tags": ["a", None]}
    odd = {"one": 1, "true": True, "float": 1.0, "none": None, "": ""} if number == 3 else {}
    plain = NodeRecord(
        f"node{number:04}",
        "1.0",
        {**facts, **odd},
        ("base", f"class{number % 3}"),
        {"rpcutil": "1.0"},
        {"rpcutil": "abc"},
        public_key=f"key {number}",
        instance="one",
        last_seen=NOW,
    )
    return replace(plain, **changes)


class RegistryTable:
    """A registry that counts how it is read; `changes` has the last change of each record."""

    def __init__(self, count: int) -> None:
        self.records = {f"node{number:04}": record(number) for number in range(count)}
        self.changes = dict.fromkeys(self.records, "1.000")
        self.reads: list[str] = []

    def now(self) -> float:
        """Return the time."""
        return NOW

    def put(self, new: NodeRecord, changed: str) -> None:
        """Store a record."""
        self.records[new.identity] = new
        self.changes[new.identity] = changed

    def read(self) -> Contents:
        """Return everything."""
        return self.read_with_changes()[0]

    def read_with_changes(self) -> tuple[Contents, dict[str, str]]:
        """Return everything."""
        self.reads.append("everything")
        return Contents(list(self.records.values()), {"bad": "invalid"}, REVOKED), dict(self.changes)

    def read_heads(self) -> tuple[list[Head], Contents]:
        """Return the heads."""
        self.reads.append("heads")
        heads = [
            Head(one.identity, one.instance, self.changes.get(one.identity, ""), one.last_seen, one.contested, one.left)
            for one in self.records.values()
        ]
        return heads, Contents([], {"bad": "invalid"}, REVOKED)

    def read_changed(self, since: str) -> tuple[Contents, dict[str, str]]:
        """Return some records."""
        self.reads.append(f"changed since {since}")
        never = "999"
        found = [one for one in self.records.values() if float(self.changes.get(one.identity, never)) >= float(since)]
        return Contents(found), {
            one.identity: self.changes[one.identity] for one in found if one.identity in self.changes
        }


def nodes(table: RegistryTable, folder: Path) -> SnapshotNodes:
    """Return the registry as another process reads it."""
    return SnapshotNodes(table, folder / "state" / "registry.snapshot")


def by_name(contents: Contents) -> dict[str, NodeRecord]:
    """Return records by identity, with plain facts."""
    return {one.identity: replace(one, facts=dict(one.facts)) for one in contents.records}


def test_a_snapshot_has_every_record(tmp_path: Path) -> None:
    """All members, and values of every type; only the heads are read."""
    table = RegistryTable(LEAST)
    nodes(table, tmp_path).read()
    found = nodes(table, tmp_path).read()
    assert table.reads == ["everything", "heads"]
    assert by_name(found) == table.records
    kinds = [type(value) for value in by_name(found)["node0003"].facts.values()]
    assert sorted(map(str, kinds)) == sorted(str(type(value)) for value in table.records["node0003"].facts.values())
    assert (found.invalid, found.revocations) == ({"bad": "invalid"}, REVOKED)


def test_a_small_registry_has_no_snapshot(tmp_path: Path) -> None:
    """A table that is read with one request is not saved on disk."""
    table = RegistryTable(LEAST - 1)
    for _ in range(2):
        nodes(table, tmp_path).read()
    assert table.reads == ["everything"] * 2


def test_times_are_those_of_the_table(tmp_path: Path) -> None:
    """A heartbeat does not change a record, and a node that has stopped is seen to have stopped."""
    table = RegistryTable(LEAST)
    nodes(table, tmp_path).read()
    table.records["node0007"] = replace(table.records["node0007"], last_seen=2000.0, left=2001.0, contested=5.0)
    found = by_name(nodes(table, tmp_path).read())["node0007"]
    assert (found.last_seen, found.left, found.contested) == (2000.0, 2001.0, 5.0)
    assert table.reads[-1] == "heads"


@pytest.mark.parametrize("change", [{"facts": {"role": "cache"}}, {"instance": "two"}, {"public_key": "other"}])
def test_a_changed_record_is_read_again(tmp_path: Path, change: dict[str, Any]) -> None:
    """A new record is read too, and one without a last change; a removed one is gone."""
    table = RegistryTable(LEAST + 2)
    nodes(table, tmp_path).read()
    table.put(record(9, **change), "7.000")
    table.put(record(5000), "6.500")
    table.put(record(5001), "")
    del table.changes["node5001"], table.records["node0011"]
    assert by_name(nodes(table, tmp_path).read()) == table.records
    assert table.reads[1:] == ["heads", "changed since 6.500"]


def test_many_changes_make_a_new_snapshot(tmp_path: Path) -> None:
    """After that, only heads are read again."""
    table = RegistryTable(LEAST)
    nodes(table, tmp_path).read()
    for number in range(LEAST // 10):
        table.put(record(number, version="2"), "7.000")
    for _ in range(2):
        assert by_name(nodes(table, tmp_path).read()) == table.records
    assert table.reads == ["everything", "heads", "changed since 7.000", "heads"]
    for number in range(LEAST // 2):
        table.put(record(number, version="3"), "8.000")
    for _ in range(2):
        assert by_name(nodes(table, tmp_path).read()) == table.records
    assert table.reads[4:] == ["heads", "everything", "heads"]


@pytest.mark.parametrize("content", [b"", b"{}\n", b"[]\n", b'{"version": 1, "sections": {}}\n', b"\xff" * 100, None])
def test_a_damaged_snapshot_is_as_none(tmp_path: Path, content: bytes | None) -> None:
    """The file is written again."""
    table = RegistryTable(LEAST)
    nodes(table, tmp_path).read()
    path = tmp_path / "state" / "registry.snapshot"
    path.write_bytes(path.read_bytes()[:-2000] if content is None else content)
    assert by_name(nodes(table, tmp_path).read()) == table.records
    assert by_name(nodes(table, tmp_path).read()) == table.records


def test_a_filter_reads_only_the_facts_that_it_tests(tmp_path: Path) -> None:
    """The result is that of the records themselves."""
    table = RegistryTable(LEAST)
    nodes(table, tmp_path).read()
    file = snapshot.load(tmp_path / "state" / "registry.snapshot")
    assert file is not None
    heads, _ = table.read_heads()
    contents = Contents([file.record(head) for head in heads])
    wanted = Targets(parse(with_fact=["role=web", "number<100", "os.family=Debian"], with_class=["class1"]))
    whole = Contents(list(table.records.values()))
    found, plain = (discovery.candidates(one, NOW, wanted, "rpcutil", lambda _: False) for one in (contents, whole))
    assert found == plain
    assert len(found.matching) == 16
    assert sorted(file.read_facts) == ["number", "os", "os.family", "role"]


def test_the_file_is_private(tmp_path: Path) -> None:
    """Facts can be confidential."""
    nodes(RegistryTable(LEAST), tmp_path).read()
    assert (tmp_path / "state" / "registry.snapshot").stat().st_mode & 0o077 == 0
