"""The nrpe agent with simple plugin scripts. Tests with real plugins are in e2e/test_nrpe.py."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from support.agent_cases import DDLS, answer, assert_same, load

from collective import ddl
from collective.agents import _nrpe, nrpe

RUNCOMMAND = ddl.read(DDLS / "nrpe.json").action("runcommand")


def configured(folder: Path, lines: list[str], **settings: Any) -> dict[str, Any]:
    """Write an nrpe.cfg and return agent settings that refer to it."""
    path = folder / "nrpe.cfg"
    path.write_text("\n".join(lines) + "\n")
    return {"config": str(path), **settings}


def runcommand(settings: dict[str, Any], **data: str) -> dict[str, Any]:
    return answer(nrpe, RUNCOMMAND, {"action": "runcommand", "data": data, "settings": settings})


@pytest.mark.parametrize("case", load("nrpe"), ids=lambda case: case["id"])
def test_case(case: dict[str, Any], tmp_path: Path) -> None:
    """Each case in tests/cases/nrpe returns the expected reply."""
    settings = configured(tmp_path, case["config"], **case.get("settings", {}))
    got = runcommand(settings, **case["data"])
    assert_same("reply", case["expected"], got)


@pytest.mark.parametrize("case", load("nrpe", keyed="group"), ids=lambda case: case["id"])
def test_results_match_mcollective(case: dict[str, Any], tmp_path: Path) -> None:
    """Status, message, output and argument substitution are those of MCollective's nrpe agent."""
    given, expected = case["input"], case["expected"]
    if "cmdline" in expected:
        line = _nrpe.read(Path(configured(tmp_path, given["config"])["config"]))[given["command"]]
        assert _nrpe.fill(line, given["args"].split("!")) == expected["cmdline"]
    elif "plugin_exit" in given:
        settings = configured(tmp_path, [f"command[foo]=exit {given['plugin_exit']}"])
        assert_same("reply", expected, runcommand(settings, **given["data"]))
    else:
        reply = runcommand(configured(tmp_path, given["config"]), command=given["command"])
        assert (reply["statuscode"], reply["statusmsg"]) == (1, "UNKNOWN")
        assert_same("data", expected, reply["data"])


@pytest.mark.parametrize("value", ["; touch {}", "$(touch {})", "`touch {}`", "' ; touch {} ; '", "\n touch {}"])
@pytest.mark.parametrize(
    "line",
    [
        "echo $ARG1$",
        "echo '$ARG1$'",
        'echo "$ARG1$"',
        "echo 'x '$ARG1$' y'",
        'echo "$(echo "x $ARG1$")"',
        "echo \\'$ARG1$",
    ],
)
def test_arguments_are_never_run_as_commands(value: str, line: str, tmp_path: Path) -> None:
    """No argument is interpreted by the shell, however the command line of the check is quoted."""
    settings = configured(tmp_path, [f"command[say]={line}"], allow_arguments=True)
    runcommand(settings, command="say", args=value.format(tmp_path / "touched"))
    assert not (tmp_path / "touched").exists()


def test_all_configuration_files_are_read(tmp_path: Path) -> None:
    """Includes and nrpe.d are read, cycles and missing files are ignored, the last definition of a check is used."""
    (tmp_path / "nrpe.d" / "deep").mkdir(parents=True)
    (tmp_path / "more").mkdir()
    (tmp_path / "local.cfg").write_text("command[a]=local\ninclude=nrpe.cfg\n")
    (tmp_path / "more" / "b.cfg").write_text("command[b]=more\n")
    (tmp_path / "more" / "b.txt").write_text("command[never]=read\n")
    (tmp_path / "nrpe.d" / "deep" / "c.cfg").write_text(" command[c] = deep = down \n#command[d]=no\n")
    lines = ["command[a]=first", "include=local.cfg", "include=missing.cfg", "include_dir=more", "server_port=5666"]
    settings = configured(tmp_path, lines)
    assert _nrpe.read(Path(settings["config"])) == {"a": "local", "b": "more", "c": "deep = down"}


def test_missing_nrpe_configuration_is_reported(tmp_path: Path) -> None:
    """Without NRPE's configuration the reply names the file and the setting."""
    reply = runcommand({"config": str(tmp_path / "nrpe.cfg")}, command="x")
    assert reply["statuscode"] == 1
    assert_same("statusmsg", "/nrpe.cfg: does not exist \\(install NRPE, or set config/", reply["statusmsg"])


def test_runallcommands_returns_every_result(tmp_path: Path) -> None:
    """Every check has a result, and a check that hangs does not affect the others."""
    lines = ["command[fine]=echo 'OK|a=1'", "command[bad]=exit 2", "command[hangs]=exec sleep 60"]
    settings = configured(tmp_path, lines)
    got = nrpe.runallcommands(settings=settings, deadline=time.monotonic() + 1.0)["commands"]
    assert got["fine"] == {"exitcode": 0, "output": "OK", "perfdata": "a=1"}
    assert (got["bad"]["exitcode"], got["hangs"]["exitcode"]) == (2, 3)
    assert_same("output", "/^the check was killed after/", got["hangs"]["output"])
