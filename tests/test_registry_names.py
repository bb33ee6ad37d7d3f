"""The names of the registry are kept in a private file, within bounds."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from collective.fleet import registry_names
from collective.fleet.registry_names import RegistryNames, load, save, summarized
from collective.registry import Contents, NodeRecord

RECORDS = [
    NodeRecord(
        "web2", "1", facts={"role": "web", "net": {"ip": ["a", "b"]}, "cpus": 4, "up": True}, agents={"nrpe": "1"}
    ),
    NodeRecord("web1", "1", facts={"role": "db", "a.b": 1, "long": "x" * 101, "none": None}, classes=("apache",)),
]
NAMES = RegistryNames(
    nodes=["web1", "web2"],
    agents=["nrpe"],
    classes=["apache"],
    facts={"cpus": ["4"], "long": [], "net.ip": ["a", "b"], "none": ["null"], "role": ["db", "web"], "up": ["true"]},
)


def test_names_and_values_are_summarized() -> None:
    """Nested facts are dotted paths; long values are not completed, and their facts are."""
    assert summarized(RECORDS) == NAMES


def test_the_file_is_private_and_read_back(tmp_path: Path) -> None:
    """Only the caller can read the file; another collective has a file of its own."""
    save(tmp_path / "state", "production", Contents(RECORDS))
    assert load(tmp_path / "state", "production") == NAMES
    assert load(tmp_path / "state", "staging") == RegistryNames()
    (file,) = (tmp_path / "state").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_recent_file_is_left_as_it_is(tmp_path: Path) -> None:
    """Programs that call often do not write the file each time."""
    save(tmp_path, "production", Contents(RECORDS))
    save(tmp_path, "production", Contents([]))
    assert load(tmp_path, "production").nodes == ["web1", "web2"]
    file = tmp_path / "names_production.json"
    os.utime(file, (0, 0))
    save(tmp_path, "production", Contents([]))
    assert load(tmp_path, "production").nodes == []


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    """Completion is a convenience: a call never fails because of it."""
    (tmp_path / "state").write_text("a file")
    save(tmp_path / "state", "production", Contents(RECORDS))
    assert load(tmp_path / "state", "production") == RegistryNames()


def test_the_summary_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fleet with very many facts and values does not make a call slow; all nodes are kept."""
    monkeypatch.setattr(registry_names, "MAX_RECORDS", 50)
    monkeypatch.setattr(registry_names, "MAX_FACTS", 5)
    monkeypatch.setattr(registry_names, "MAX_VALUES", 3)
    records = [NodeRecord(f"n{n:03}", "1", facts={f"f{n}": 1, "same": str(n)}) for n in range(100)]
    names = summarized(records)
    assert len(names.nodes) == 100
    assert len(names.facts) == 5
    assert names.facts["same"] == ["0", "1", "2"]
