"""What was read from the registry a short time ago is used again, and AWS is not asked."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from support.crpc_call import Captured, called
from support.daemons import aws_environment

from collective import Fleet, Targets
from collective.errors import Unreachable
from collective.fleet.recent_contents import RecentNodes
from collective.registry import Contents, NodeRecord

RECORDS = [
    NodeRecord(
        f"web{number:04}.my.net",
        "0.3",
        {"role": ("web", "db")[number % 2], "number": number},
        ("role::web",),
        {"rpcutil": "1.0.0"},
        instance=f"i{number}",
        last_seen=1000.0 + number,
        left=1001.0 if number == 3 else None,
    )
    for number in range(5)
]


class CountedReads:
    """A registry that counts its reads; its clock is 60 s ahead."""

    def __init__(self, contents: Contents) -> None:
        self.contents = contents
        self.reads = 0

    def now(self) -> float:
        """Return the time of this registry."""
        return 1060.0

    def read(self) -> Contents:
        """Return the contents."""
        self.reads += 1
        return self.contents


def recent(folder: Path, table: CountedReads, now: float, seconds: float = 60) -> RecentNodes:
    return RecentNodes(folder, "lab", seconds, lambda: table, lambda: now)


def test_a_recent_read_is_used_again(tmp_path: Path) -> None:
    """Records, times and invalid records are the same. Whether nodes are alive is judged by the time of the read."""
    table = CountedReads(Contents(RECORDS, {"db1": "not valid"}))
    assert recent(tmp_path, table, 1000).read() == table.contents
    again = recent(tmp_path, table, 1060)
    assert again.read().invalid == {"db1": "not valid"}
    assert [replace(one, facts=dict(one.facts)) for one in again.read().records] == RECORDS
    assert (again.now(), table.reads) == (1060, 1)


@pytest.mark.parametrize("now", [1060.1, 999.9])
def test_an_old_read_is_not_used(tmp_path: Path, now: float) -> None:
    """Nor one from the future: then the clock was set back."""
    table = CountedReads(Contents(RECORDS))
    recent(tmp_path, table, 1000).read()
    recent(tmp_path, table, now).read()
    assert table.reads == 2


@pytest.mark.parametrize("name", ["recent_lab.json", "recent_lab.snapshot"])
@pytest.mark.parametrize("content", ["", "[]", "{}", '{"time": "x"}', "\0", "[" * 5000])
def test_a_damaged_file_is_as_good_as_none(tmp_path: Path, name: str, content: str) -> None:
    """The registry is read, and the file is replaced."""
    table = CountedReads(Contents(RECORDS))
    recent(tmp_path, table, 1000).read()
    (tmp_path / name).write_text(content)
    recent(tmp_path, table, 1001).read()
    recent(tmp_path, table, 1002).read()
    assert table.reads == 2


def test_files_of_two_reads_are_not_mixed(tmp_path: Path) -> None:
    """Records of one read with the times of another would be wrong."""
    table = CountedReads(Contents(RECORDS))
    recent(tmp_path, table, 1000).read()
    old = (tmp_path / "recent_lab.snapshot").read_bytes()
    recent(tmp_path, table, 1000.5, 0.1).read()
    (tmp_path / "recent_lab.snapshot").write_bytes(old)
    recent(tmp_path, table, 1001).read()
    assert table.reads == 3


def test_only_the_owner_can_read_the_files(tmp_path: Path) -> None:
    """The files have the facts of all nodes."""
    recent(tmp_path / "state", CountedReads(Contents(RECORDS)), 1000).read()
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "state").iterdir()} == {0o600}


def test_an_error_is_not_kept(tmp_path: Path) -> None:
    """Without a connection there is no file."""

    def fail() -> CountedReads:
        raise Unreachable("no")

    with pytest.raises(Unreachable):
        RecentNodes(tmp_path, "lab", 60, fail).read()
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def read_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A caller who cannot reach AWS, and has read the registry a moment ago; all 1,000 nodes are alive."""
    monkeypatch.setenv("COLLECTIVE_CONFIG", str(tmp_path))
    for name, value in aws_environment("http://127.0.0.1:9").items():
        monkeypatch.setenv(name, value)
    (tmp_path / "client.yaml").write_text("{collective: lab, state: state, key: none}")
    many = [replace(RECORDS[n % 5], identity=f"n{n:03}", left=None, last_seen=4e9) for n in range(1000)]
    table = CountedReads(Contents(many))
    RecentNodes(tmp_path / "state", "lab", 60, lambda: table).read()
    return tmp_path


def test_find_sends_no_request(read_before: Path, capsys: Captured) -> None:
    """With a recent read, `crpc find` answers where AWS cannot be reached."""
    code, out, err = called(["find", "-F", "role=web", "--max-age", "1h", "--json"], capsys)
    assert (code, err) == (0, "")
    assert len(json.loads(out)["nodes"]) == 600
    code, out, _ = called(["inventory", "export", "--format", "csv", "--max-age", "1h"], capsys)
    assert (code, out.count("\n")) == (0, 1001)
    assert called(["find", "--max-age", "0.000001", "--dm", "registry"], capsys)[0] == 69


def test_find_loads_no_library_of_aws(read_before: Path) -> None:
    """Most of the time of a call is imports: without these it takes less than 0.3 s."""
    code = """
import sys
from collective.clients.crpc import main
main(["find", "-F", "role=web", "--max-age", "1h", "--json"])
print(*sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"boto3", "botocore", "jsonschema", "asyncio"}.intersection(done.stdout.splitlines()[-1].split())


def test_a_program_finds_nodes_with_one_call(read_before: Path) -> None:
    """`discover` of a fleet with a recent read is all that a program needs."""
    with Fleet.connect(recent=3600) as fleet:
        assert len(fleet.discover(Targets.select(facts=["role=db"]))) == 400
