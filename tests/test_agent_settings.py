"""Settings of agents: checked against the DDL, and read only from files that others cannot change."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from collective import schemas
from collective.bundled import DDLS
from collective.clients.render.describe import describe_agent
from collective.ddl import read
from collective.node.plugins import plugin_set
from collective.node.plugins.agents import bundled
from collective.node.plugins.plugin_set import Plugins

CODE = """
from collective.agent import action, check

@action
def swing(*, settings):
    return {"weight": settings["weight"]}

@check
def setup(settings):
    if settings["weight"] > 5:
        yield "too heavy"
    if settings["weight"] > 8:
        raise ValueError("broken")
"""
SETTINGS = {
    "type": "object",
    "required": ["owner"],
    "properties": {
        "weight": {"description": "Kilograms", "type": "integer", "default": 2},
        "owner": {"type": "string"},
    },
}
OTHER = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change the owner of a file")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the agent `hammer`, whose DDL describes its settings, and valid settings."""
    (tmp_path / "hammer.py").write_text(CODE)
    metadata = {"name": "hammer", "description": "Hits", "version": "1.0"}
    output = {"type": "object", "properties": {"weight": {"type": "integer"}}}
    swing = {"description": "Swing it", "input": {"type": "object"}, "output": output}
    document = {"metadata": metadata, "settings": SETTINGS, "actions": {"swing": swing}}
    (tmp_path / "hammer.json").write_text(json.dumps(document))
    (tmp_path / "settings").mkdir()
    (tmp_path / "settings" / "hammer.yaml").write_text("owner: alice\n")
    return tmp_path


def load(folder: Path, before: Plugins | None = None, standard: bool = False) -> Plugins:
    """Load the plugins of `folder`, and the standard ones if wanted."""
    code, ddls = ([bundled(), folder], [DDLS, folder]) if standard else ([folder], [folder])
    return plugin_set.load(code, ddls, folder / "settings", before)


def test_defaults_of_the_ddl_are_filled_in(folder: Path) -> None:
    """An action gets the node's settings with the defaults of the DDL."""
    loaded = load(folder)
    assert loaded.problems == ()
    assert loaded.agents["hammer"].settings == {"weight": 2, "owner": "alice"}


@pytest.mark.parametrize(
    ("agent", "content", "problem"),
    [
        ("hammer", "owner: a\nwieght: 3\n", "unknown key 'wieght' (did you mean 'weight'?)"),
        ("hammer", "owner: a\nweight: heavy\n", "weight: 'heavy' is not of type 'integer'"),
        ("hammer", "weight: 3\n", "'owner' is a required property"),
        ("hammer", "false\n", "must be a mapping, not bool"),
        ("nrpe", "allow_arguments:\n", "allow_arguments: null is not of type 'boolean'"),
        ("nrpe", "user: true\n", "user: true is not of type 'string'"),
        ("nrpe", "alow_arguments: true\n", "unknown key 'alow_arguments' (did you mean 'allow_arguments'?)"),
        ("nrpe", "allow_arguments: 'yes'\n", "allow_arguments: 'yes' is not of type 'boolean'"),
        (
            "package",
            "provider: aptitude\n",
            "provider: 'aptitude' is not one of ['apt', 'dnf', 'yum', 'zypper', 'apk']",
        ),
        ("service", "manager: sysv\n", "unknown key 'manager' (keys: provider)"),
        ("shell", "jobs: 5\n", "jobs: 5 is not of type 'string'"),
    ],
)
def test_settings_that_do_not_match_are_refused(folder: Path, agent: str, content: str, problem: str) -> None:
    """The agent is not loaded; the error names the file, the key and a suggestion. After a reload it is kept."""
    path = folder / "settings" / f"{agent}.yaml"
    standard = agent != "hammer"
    before = load(folder, standard=standard)
    path.write_text(content)
    loaded = load(folder, standard=standard)
    assert f"{path}: {problem}" in loaded.problems
    assert loaded.agents.refused[agent] == f"{path}: {problem}"
    assert agent not in loaded.data, "the data function of the same name has the same settings"
    kept = load(folder, before, standard)
    assert f"{path}: {problem}" in kept.problems
    assert kept.agents[agent] is before.agents[agent]


def test_settings_without_an_agent_are_reported(folder: Path) -> None:
    """A file that no agent reads is an error, with a suggestion."""
    settings = folder / "settings"
    (settings / "nrp.yaml").write_text("allow_arguments: true\n")
    (settings / "nrpe.yml").write_text("allow_arguments: true\n")
    assert load(folder, standard=True).problems == (
        f"{settings}/nrp.yaml: not read: no agent has this name (did you mean 'nrpe'?)",
        f"{settings}/nrpe.yml: not read (rename it to nrpe.yaml)",
    )


def test_checks_of_an_agent_are_reported(folder: Path) -> None:
    """Each line of an agent's own checks is a problem of the node; the agent serves nevertheless."""
    path = folder / "settings" / "hammer.yaml"
    path.write_text("owner: a\nweight: 6\n")
    assert load(folder).problems == ("hammer: too heavy",)
    path.write_text("owner: a\nweight: 9\n")
    loaded = load(folder)
    assert loaded.problems[-1] == "hammer: check 'setup' failed: ValueError: broken"
    assert "hammer" in loaded.agents


def test_a_ddl_with_an_invalid_schema_of_settings_is_refused(folder: Path) -> None:
    """A misspelt keyword in `settings` is an error of the DDL."""
    text = (folder / "hammer.json").read_text().replace('"Kilograms", "type"', '"Kilograms", "tpye"')
    (folder / "hammer.json").write_text(text)
    assert "$.settings" in load(folder).agents.refused["hammer"]


@as_root
@pytest.mark.parametrize("name", ["hammer.py", "hammer.json", "settings/hammer.yaml", "settings", "."])
def test_files_that_other_users_can_change_are_not_loaded(folder: Path, name: str) -> None:
    """Code, DDL and settings of an agent must be closed to other users, and so must their folders."""
    for change in (lambda path: os.chown(path, OTHER, OTHER), lambda path: path.chmod(0o777)):
        path = folder / name
        found = path.stat()
        change(path)
        loaded = load(folder)
        assert "hammer" not in loaded.agents
        assert "not loaded, because other users can change it: " in loaded.agents.refused["hammer"]
        os.chown(path, 0, 0)
        path.chmod(found.st_mode & 0o7777)
    assert "hammer" in load(folder).agents


@pytest.mark.parametrize("agent", ["nrpe", "package", "service", "shell"])
def test_the_schemas_for_editors_are_those_of_the_ddls(agent: str) -> None:
    """The shipped schemas of settings, which editors use, have the same keys as the DDLs, which nodes use."""
    described: Any = read(DDLS / f"{agent}.json").settings
    shipped = schemas.load(f"settings-{agent}")
    assert (shipped["properties"], shipped["additionalProperties"]) == (described["properties"], False)


def test_settings_are_described() -> None:
    """`crpc describe` documents the settings of an agent."""
    text = describe_agent(read(DDLS / "nrpe.json"), 100)
    assert "Settings on a node (settings/nrpe.yaml):" in text
    assert "allow_arguments" in text
