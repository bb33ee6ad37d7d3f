"""The DDLs that a caller finds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from collective.catalog import Catalog
from collective.errors import DDLError, UsageError


def write(folder: Path, name: str, description: str = "Hits") -> None:
    body = {"description": "Swing it", "input": {"type": "object"}, "output": {"type": "object"}}
    metadata = {"name": name, "description": description, "version": "1"}
    (folder / f"{name}.json").write_text(json.dumps({"metadata": metadata, "actions": {"swing": body}}))


def test_the_standard_agents_are_always_there() -> None:
    """Without any folder there are the agents that come with collective."""
    assert {"package", "service", "nrpe", "shell", "rpcutil"} <= set(Catalog().paths)


def test_a_folders_own_agents_are_found(tmp_path: Path) -> None:
    """A caller's own DDLs stand beside the standard ones."""
    write(tmp_path, "hammer")
    assert Catalog([tmp_path]).action("hammer", "swing").description == "Swing it"


def test_the_first_of_a_name_serves(tmp_path: Path) -> None:
    """No folder can replace a standard agent, nor a later folder an earlier one's."""
    first, second = tmp_path / "1", tmp_path / "2"
    for folder in (first, second):
        folder.mkdir()
        write(folder, "hammer", description=folder.name)
        write(folder, "package")
    catalog = Catalog([first, second])
    assert catalog.ddl("hammer").metadata["description"] == "1"
    assert "install" in catalog.ddl("package").actions


def test_a_folder_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    """The default folder need not exist."""
    assert Catalog([tmp_path / "none"]).paths == Catalog().paths


def test_an_unknown_agent_is_refused_with_a_hint() -> None:
    """A name that is nearly right is suggested; else where to look."""
    with pytest.raises(UsageError, match=r"unknown agent 'packge' \(did you mean 'package'\?\)"):
        Catalog().ddl("packge")
    with pytest.raises(UsageError, match=r"unknown agent 'zzz' \(run 'crpc help'"):
        Catalog().ddl("zzz")


def test_an_unknown_action_is_a_mistake_of_the_caller() -> None:
    """It is refused before anything is sent."""
    with pytest.raises(UsageError, match=r"package: unknown action 'instal' \(did you mean 'install'"):
        Catalog().action("package", "instal")


def test_a_wrong_ddl_is_refused_when_it_is_asked_for(tmp_path: Path) -> None:
    """One broken file does not keep the others from being used."""
    (tmp_path / "broken.json").write_text("{")
    catalog = Catalog([tmp_path])
    assert catalog.ddl("package").name == "package"
    with pytest.raises(DDLError, match=r"broken\.json"):
        catalog.ddl("broken")


def test_listing_agents_reads_no_schemas(tmp_path: Path) -> None:
    """`crpc help` and completion come at once: jsonschema is not loaded for a list of names."""
    script = "import sys, collective.catalog as c; c.Catalog().paths; sys.exit('jsonschema' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=False).returncode == 0
