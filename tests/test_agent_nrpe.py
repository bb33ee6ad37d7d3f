"""The nrpe agent with simple plugin scripts. Tests with real plugins are in e2e/test_nrpe.py."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from support.agent_cases import DDLS, answer, assert_same, load

from collective import ddl
from collective.agent import Aborted
from collective.agents import _nrpe, _nrpe_config, nrpe

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change the user")

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
    got = answer(nrpe, ddl.read(DDLS / "nrpe.json").action(case["action"]), {**case, "settings": settings})
    assert_same("reply", case["expected"], got)


@pytest.mark.parametrize("case", load("nrpe", keyed="group"), ids=lambda case: case["id"])
def test_results_match_mcollective(case: dict[str, Any], tmp_path: Path) -> None:
    """Status, message, output and argument substitution are those of MCollective's nrpe agent."""
    given, expected = case["input"], case["expected"]
    if "cmdline" in expected:
        line = _nrpe_config.read(Path(configured(tmp_path, given["config"])["config"])).line(given["command"])
        assert _nrpe.fill(line, given["args"].split("!")) == expected["cmdline"]
    elif "plugin_exit" in given:
        settings = configured(tmp_path, [f"command[foo]=echo output; exit {given['plugin_exit']}"])
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
    """Includes and nrpe.d are read, cycles end, missing files are reported, the last definition of a check is used."""
    (tmp_path / "nrpe.d" / "deep").mkdir(parents=True)
    (tmp_path / "nrpe.d" / ".hidden").mkdir()
    (tmp_path / "more").mkdir()
    (tmp_path / "local.cfg").write_text("command[a]=local\ninclude=nrpe.cfg\n")
    (tmp_path / "more" / "b.cfg").write_text("command[b]=more\n")
    (tmp_path / "more" / "b.txt").write_text("command[never]=read\n")
    (tmp_path / "nrpe.d" / ".hidden" / "h.cfg").write_text("command[never]=read\n")
    (tmp_path / "nrpe.d" / "deep" / "c.cfg").write_text(" command[c] = deep = down \n#command[d]=no\n")
    (tmp_path / "nrpe.d" / "deep" / "up").symlink_to(tmp_path / "nrpe.d")
    lines = ["command[a]=first", "include=local.cfg", "include=missing.cfg", "include_dir=more", "server_port=5666"]
    found = _nrpe_config.read(Path(configured(tmp_path, lines)["config"]))
    assert found.checks == {"a": "local", "b": "more", "c": "deep = down"}
    assert found.problems == [f"{tmp_path}/missing.cfg: does not exist, but is included"]


def test_folders_that_include_each_other_end(tmp_path: Path) -> None:
    """A file that is reached under many names is read once: its folder, and the folder above, include it again."""
    (tmp_path / "etc" / "nrpe").mkdir(parents=True)
    lines = ["include_dir=.", "include_dir=..", "include_dir=../nrpe", f"include_dir={'x' * 300}", "command[a]=b"]
    found = _nrpe_config.read(Path(configured(tmp_path / "etc" / "nrpe", lines)["config"]))
    assert (found.checks, len(found.files)) == ({"a": "b"}, 1)
    assert [line.partition(": ")[2] for line in found.problems] == ["cannot be read: File name too long"]


def test_a_folder_with_too_many_folders_is_refused(tmp_path: Path) -> None:
    """`include_dir=/` would read the whole disk before each check."""
    for number in range(1001):
        (tmp_path / "many" / str(number)).mkdir(parents=True)
    with pytest.raises(Aborted, match=r"more than 200 folders are included \(no check is run\)$"):
        _nrpe_config.read(Path(configured(tmp_path, ["include_dir=many"])["config"]))


def test_missing_nrpe_configuration_is_reported(tmp_path: Path) -> None:
    """Without NRPE's configuration the reply names the file and the setting."""
    reply = runcommand({"config": str(tmp_path / "nrpe.cfg")}, command="x")
    assert reply["statuscode"] == 1
    assert_same(
        "statusmsg", "/nrpe.cfg: does not exist \\(install NRPE, or set 'config' in settings/", reply["statusmsg"]
    )


def test_runallcommands_returns_every_result(tmp_path: Path) -> None:
    """Every check has a result, and a check that hangs does not affect the others."""
    lines = ["command[fine]=echo 'OK|a=1'", "command[bad]=exit 2", "command[hangs]=exec sleep 60"]
    settings = configured(tmp_path, lines)
    got = nrpe.runallcommands(settings=settings, deadline=time.monotonic() + 4.0)["commands"]
    assert got["fine"] == {"exitcode": 0, "output": "OK", "perfdata": "a=1"}
    assert (got["bad"]["exitcode"], got["hangs"]["exitcode"]) == (2, 3)
    assert_same("output", "/^the check was killed after/", got["hangs"]["output"])


@as_root
def test_checks_run_as_the_user_and_group_of_nrpe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """nrpe_user and nrpe_group are honoured, by name or number; nothing of the node's environment is passed on."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("PLUGIN_DIR", "/plugins")
    check = "command[x]=echo $(id -un) $(id -gn) $HOME $AWS_SECRET_ACCESS_KEY $PLUGIN_DIR"
    for lines, expected in [
        (["nrpe_user=daemon"], "daemon daemon /usr/sbin"),
        (["nrpe_user=daemon", "nrpe_group=mail", "keep_env_vars=LANG,PLUGIN_"], "daemon mail /usr/sbin /plugins"),
        (["nrpe_user=1", "nrpe_group=8"], "daemon mail /usr/sbin"),
        (["nrpe_group=mail"], "root mail /root"),
        ([], "root root /root"),
    ]:
        reply = runcommand(configured(tmp_path, [*lines, check]), command="x")
        assert reply["data"]["output"] == expected
    forced = runcommand(configured(tmp_path, ["nrpe_user=daemon", check], user="games"), command="x")
    assert forced["data"]["output"].startswith("games ")


@as_root
def test_a_configuration_that_another_user_can_change_is_refused(tmp_path: Path) -> None:
    """The user that checks run as may own the files of NRPE, but cannot choose another user by changing them."""
    settings = configured(tmp_path, ["nrpe_user=daemon", "include=own.cfg"])
    (tmp_path / "own.cfg").write_text("command[x]=id -un\n")
    os.chown(tmp_path / "own.cfg", 1, 1)
    assert runcommand(settings, command="x")["data"]["output"] == "daemon"
    (tmp_path / "own.cfg").write_text("command[x]=id -un\nnrpe_user=root\n")
    refused = runcommand(settings, command="x")
    assert refused["statuscode"] == 1
    assert_same(
        "statusmsg", "/own.cfg: not trusted, because its checks run as 'root': .*user 1 /", refused["statusmsg"]
    )


def test_a_node_that_cannot_run_checks_as_their_user_refuses_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that is not root names the two ways out."""
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    reply = runcommand(configured(tmp_path, ["nrpe_user=daemon", "command[x]=id"]), command="x")
    assert reply["statusmsg"] == (
        "checks run as 'daemon' (nrpe_user), but this node runs as 'nobody' "
        "(run the node as root, or set 'user: nobody' in settings/nrpe.yaml)"
    )


def test_the_first_unknown_options_get_suggestions(tmp_path: Path) -> None:
    """Ten unknown options get a suggestion; a file with thousands of them does not cost a search for each."""
    settings = configured(tmp_path, [f"comand_timeout{number}=5" for number in range(12)])
    reported = list(nrpe.configuration(settings))
    assert ["did you mean 'command_timeout'?" in line for line in reported] == [True] * 10 + [False] * 2


def test_a_check_is_run_with_the_bytes_of_its_line(tmp_path: Path) -> None:
    """Comments and commands of a file in Latin-1 are used; a name that no caller can send is reported."""
    settings = configured(tmp_path, ["# gr\xf6\xdfe"])
    config = Path(settings["config"])
    out = tmp_path / "out"
    lines = f"# gr\xf6\xdfe\ncommand[x]=echo OK | tee {out}-\xe4\ncommand[\xfc]=true\n"
    config.write_bytes(lines.encode("latin-1"))
    assert runcommand(settings, command="x")["data"]["output"] == "OK"
    assert os.listdir(os.fsencode(tmp_path)).count(b"out-\xe4") == 1  # noqa: PTH208 - names as bytes
    assert list(nrpe.configuration(settings)) == [
        f"{config}:3: the name of the check is not UTF-8 (the line has no effect)"
    ]


def test_numbers_are_read_as_by_nrpe(tmp_path: Path) -> None:
    """NRPE uses atoi(3): a comment after a number is reported, and does not keep all checks from running."""
    settings = configured(tmp_path, ["command_timeout=30 # seconds", "dont_blame_nrpe=1;", "command[x]=echo $ARG1$"])
    config = settings["config"]
    assert runcommand(settings, command="x", args="a")["data"]["output"] == "a"
    assert list(nrpe.configuration(settings)) == [
        f"{config}:1: command_timeout: '30 # seconds' is read as 30, as NRPE does (delete the rest)",
        f"{config}:2: dont_blame_nrpe: '1;' is read as 1, as NRPE does (delete the rest)",
    ]


def test_lines_without_effect_are_reported(tmp_path: Path) -> None:
    """Each line that is not understood is named with its number; NRPE's own settings are known."""
    lines = [
        *("log_facility=daemon", "ssl_version=TLSv1.2+", "allow_bash_command_substitution=1", "debug=0"),
        *("comand_timeout=5", "whatever=1", "command[x]", "command[y]=", "command[z]=echo\x0brm"),
        "include_dir=missing.d",
    ]
    settings = configured(tmp_path, lines)
    config = settings["config"]
    assert list(nrpe.configuration(settings)) == [
        f"{config}:5: unknown option 'comand_timeout' (did you mean 'command_timeout'?)",
        f"{config}:6: unknown option 'whatever' (the line has no effect)",
        f"{config}:7: 'command[x]' has no value (the line has no effect)",
        f"{config}:8: 'command[y]' has no value (the line has no effect)",
        f"{config}:9: control character U+000B at column 16 (delete it)",
        f"{tmp_path}/missing.d: cannot be read: No such file or directory",
    ]
    assert list(nrpe.configuration(configured(tmp_path, ["command_timeout=x"]))) == [
        f"{config}:1: command_timeout: invalid value 'x' (no check is run)"
    ]


def test_a_line_without_shell_syntax_needs_no_shell() -> None:
    """The plugin is started directly; variables, operators, patterns, built-in and missing commands need the shell."""
    assert _nrpe.command("/bin/echo -w '5 $ARG1$' \"x\"", ["a;b"]) == ["/bin/echo", "-w", "5 a;b", "x"]
    for line in ("echo $HOME", "echo a | cat", "ls *", "exit 2", "A=1 echo", "/no/such", 'echo "$HOME"', "echo 'a"):
        assert _nrpe.command(line, []) == ["/bin/sh", "-c", line]


def test_a_plugin_without_an_interpreter_is_run_by_sh(tmp_path: Path) -> None:
    """NRPE starts plugins with popen(3), so that /bin/sh runs a file without `#!` (nrpe.c, my_system)."""
    plugin = tmp_path / "check_plain"
    plugin.write_text('echo "WARNING: $1"\nexit 1\n')
    plugin.chmod(0o755)
    reply = runcommand(configured(tmp_path, [f"command[plain]={plugin} high"]), command="plain")
    assert (reply["data"]["exitcode"], reply["data"]["output"]) == (1, "WARNING: high")
