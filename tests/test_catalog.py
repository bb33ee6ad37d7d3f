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


def test_the_standard_agents_are_always_found() -> None:
    """Without any configured folder the standard agents are found."""
    assert {"package", "service", "nrpe", "shell", "rpcutil"} <= set(Catalog().paths)


def test_agents_in_folders_are_found(tmp_path: Path) -> None:
    """DDLs in a configured folder are added to the standard ones."""
    write(tmp_path, "hammer")
    assert Catalog([tmp_path]).action("hammer", "swing").description == "Swing it"


def test_the_first_ddl_of_a_name_is_used(tmp_path: Path) -> None:
    """A folder cannot replace a standard agent, nor an agent of an earlier folder."""
    first, second = tmp_path / "1", tmp_path / "2"
    for folder in (first, second):
        folder.mkdir()
        write(folder, "hammer", description=folder.name)
        write(folder, "package")
    catalog = Catalog([first, second])
    assert catalog.ddl("hammer").metadata["description"] == "1"
    assert "install" in catalog.ddl("package").actions


def test_a_missing_folder_is_empty(tmp_path: Path) -> None:
    """The default folder does not have to exist."""
    assert Catalog([tmp_path / "none"]).paths == Catalog().paths


def test_an_unknown_agent_is_refused_with_a_hint() -> None:
    """A similar name is suggested, otherwise the command that lists agents."""
    with pytest.raises(UsageError, match=r"unknown agent 'packge' \(did you mean 'package'\?\)"):
        Catalog().ddl("packge")
    with pytest.raises(UsageError, match=r"unknown agent 'zzz' \(run 'crpc help'"):
        Catalog().ddl("zzz")


def test_an_unknown_action_is_a_usage_error() -> None:
    """An unknown action is refused before anything is sent."""
    with pytest.raises(UsageError, match=r"package: unknown action 'instal' \(did you mean 'install'"):
        Catalog().action("package", "instal")


def test_an_invalid_ddl_is_refused_when_it_is_used(tmp_path: Path) -> None:
    """An invalid file does not affect other agents."""
    (tmp_path / "broken.json").write_text("{")
    catalog = Catalog([tmp_path])
    assert catalog.ddl("package").name == "package"
    with pytest.raises(DDLError, match=r"broken\.json"):
        catalog.ddl("broken")


def test_listing_agents_does_not_import_jsonschema(tmp_path: Path) -> None:
    """Help and completion are fast because a list of names needs no validation."""
    script = "import sys, collective.catalog as c; c.Catalog().paths; sys.exit('jsonschema' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=False).returncode == 0
