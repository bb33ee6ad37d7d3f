"""DDLs of MCollective and Choria are refused as what they are, with what to do."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.crpc_call import Captured, called

from collective import ddl
from collective.catalog import Catalog
from collective.errors import DDLError
from collective.foreign_ddl import CHORIA, RUBY

RUBY_DDLS = [
    'metadata    :name        => "package",\n            :version     => "4.4.0"\n\nrequires :mcollective => "2.2.1"\n',
    "# Copyright\nmetadata(:name => 'package', :version => '1')\n",
    'metadata name: "package",\n         version: "1"\n',
    '  metadata :name =>\n   "package"',
]
CHORIA_DDLS = [
    '{"$schema": "https://choria.io/schemas/mcorpc/ddl/v1/agent.json", "metadata": {"name": "package"}, "actions": []}',
    '{"$schema": "https://choria.io/schemas/mcorpc/ddl/v1/data.json", "metadata": {"name": "package"}, "query": {}}',
    '{"metadata": {"name": "package"}, "actions": [{"action": "status", "input": {}, "output": {}}]}',
]


@pytest.mark.parametrize("text", RUBY_DDLS)
def test_a_ruby_ddl_with_the_name_of_a_json_file_is_recognized(text: str, tmp_path: Path) -> None:
    """The error for a Ruby DDL in a JSON file names the format and not the first invalid JSON."""
    path = tmp_path / "package.json"
    path.write_text(text)
    with pytest.raises(DDLError) as caught:
        ddl.read(path)
    assert str(caught.value) == f"{path}: {RUBY}"


@pytest.mark.parametrize("text", CHORIA_DDLS)
def test_a_choria_ddl_is_recognized(text: str, tmp_path: Path) -> None:
    """By its schema, or by its list of actions."""
    path = tmp_path / "package.json"
    path.write_text(text)
    with pytest.raises(DDLError) as caught:
        ddl.read(path)
    assert str(caught.value) == f"{path}: {CHORIA}"


def test_a_ruby_ddl_in_a_folder_is_not_ignored(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Ruby DDL is named by each command and by `crpc doctor`; a JSON DDL of the same name is used instead."""
    (tmp_path / "client.yaml").write_text("{collective: production, state: state, ddls: [.], key: none}")
    (tmp_path / "filemgr.ddl").write_text(RUBY_DDLS[0])
    monkeypatch.setenv("COLLECTIVE_CONFIG", str(tmp_path))
    expected = f"crpc: {tmp_path / 'filemgr.ddl'}: {RUBY}\n"
    for line in ("filemgr status", "describe filemgr", "filemgr --help"):
        assert called(line.split(), capsys) == (78, "", expected)
    assert f"DDLs           warning  {tmp_path / 'filemgr.ddl'}: {RUBY}\n" in called(["doctor"], capsys)[1]
    (tmp_path / "package.ddl").write_text(RUBY_DDLS[0])
    assert Catalog([tmp_path]).ddl("package").name == "package"
