"""Agents in other languages: which of them a node loads, and what it says about the others."""

from __future__ import annotations

import logging
import os
import shutil
import stat
from pathlib import Path

import pytest
from support.program_agents import ddl, load, make_folder, write_program

from collective.node.plugins import agents, plugin_set


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of code, DDLs and settings."""
    return make_folder(tmp_path)


def inactive(answer: str) -> str:
    return f"#!/bin/sh\n{answer}\n"


def test_an_agent_that_is_not_to_be_active_is_not_loaded(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An answer of `false` is not a problem: the agent is not loaded, and the log says so."""
    write_program(folder / "shy", inactive("echo '{\"activate\": false}' > $CHORIA_EXTERNAL_REPLY"))
    (folder / "shy.json").write_text(ddl("shy"))
    with caplog.at_level(logging.INFO, "collective"):
        loaded = load(folder)
    assert (dict(loaded), loaded.problems) == ({}, ())
    (event,) = [vars(line) for line in caplog.records if line.message == "plugin.inactive"]
    assert (event["plugin"], event["path"]) == ("shy", str(folder / "shy"))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("echo oops >&2; exit 3", "not activated: the activation request ended with exit code 3: oops"),
        ("sleep 60", "not activated: no answer to the activation request within 2 s"),
        ("true", "not activated: the answer to the activation request must be"),
        ("echo '{\"activate\": 1}' > $2", "not activated: the answer to the activation request must be"),
        ("echo '{' > $2", "not activated: the program's reply: not JSON"),
    ],
)
def test_an_agent_that_cannot_tell_whether_it_is_active_is_a_problem(folder: Path, answer: str, message: str) -> None:
    """The agent is not loaded, and one line says what the program did."""
    write_program(folder / "odd", inactive(answer))
    (folder / "odd.json").write_text(ddl("odd"))
    (problem,) = load(folder).problems
    assert message in problem


def test_a_program_that_others_can_change_is_refused(folder: Path) -> None:
    """The same checks as for Python files: a program that all users can write is not run, nor one in a folder."""
    for name in ("single", "several/go"):
        write_program(folder / name, "#!/bin/sh\ntouch /tmp/must-not-run\n", mode=0o777)
        agent = name.partition("/")[0]
        (folder / f"{agent}.json").write_text(ddl(agent))
    problems = load(folder).problems
    assert len(problems) == 2
    assert all("other users can change it" in line for line in problems)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"disk/free": 0o755}, "no action 'free' in the DDL"),
        ({"disk/go": 0o755, "disk/go.sh": 0o755}, "the action 'go' already has the program"),
        ({"disk/other": 0o644}, "no code found (create disk.py in"),
        ({"disk": 0o644}, "is not executable: use 'chmod +x"),
        ({"disk.sh": 0o644}, "is not executable: use 'chmod +x"),
        ({"disk": 0o755, "disk.py": 0o644}, "the name 'disk' is already used by"),
        ({"other": 0o755}, "no DDL found (create other.json in"),
    ],
    ids=["another action", "two programs", "nothing executable", "not executable", "script", "two agents", "no DDL"],
)
def test_programs_and_ddl_that_disagree_are_refused(folder: Path, files: dict[str, int], message: str) -> None:
    """One line names the file and what to do."""
    for name, mode in files.items():
        write_program(folder / name, "#!/bin/sh\necho '{\"activate\": true}' > $2\n", mode=mode)
    (folder / "disk.json").write_text(ddl("disk"))
    assert any(message in line for line in load(folder).problems), load(folder).problems


def test_programs_need_not_be_readable_as_python(folder: Path) -> None:
    """A binary program is loaded like any other; a folder of settings or notes beside it is not a program."""
    shutil.copy(shutil.which("true") or "/bin/true", folder / "binary")
    (folder / "binary.json").write_text(ddl("binary"))
    (folder / "notes").mkdir()
    (folder / "notes" / "read.me").write_text("x")
    (problem,) = load(folder).problems
    assert "binary: not activated: the answer to the activation request must be" in problem
    assert os.access(folder / "binary", os.X_OK)
    assert stat.S_ISREG((folder / "binary").stat().st_mode)


def test_a_program_keeps_its_last_valid_version(folder: Path) -> None:
    """A new version that does not activate leaves the loaded one in force, as for Python."""
    write_program(folder / "odd", inactive("echo '{\"activate\": true}' > $2"))
    (folder / "odd.json").write_text(ddl("odd"))
    before = plugin_set.load([folder], [folder], folder / "settings")
    write_program(folder / "odd", inactive("exit 1"))
    after = plugin_set.load([folder], [folder], folder / "settings", before)
    assert after.agents["odd"] is before.agents["odd"]
    assert "exit code 1" in after.agents.outdated["odd"]


def test_the_programs_of_the_first_folder_are_used(folder: Path) -> None:
    """MCollective has a fixed order of two places (actionrunner_spec.rb:229-239); here the configured order decides."""
    folders = [folder, folder.parent / "other"]
    for one in folders:
        write_program(one / "runner" / "go", "#!/bin/sh\n")
    (folder / "runner.json").write_text(ddl("runner"))
    loaded = agents.load(folders, [folder], folder / "settings")
    assert loaded["runner"].programs["go"].path == folder / "runner" / "go"
    assert loaded.problems == (
        f"{folders[1]}/runner: the name 'runner' is already used by {folder}/runner (rename one of them)",
    )
