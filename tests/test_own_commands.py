"""The user's own commands: aliases of client.yaml, and files in the folder `commands`."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.crpc_call import Captured, called, json_document

CONFIGURATION, USAGE = 78, 64
FILE = """
summary: Show a package on the web servers
description: |
  The list is in the wiki.
agent: package
action: status
inputs: {package: bash}
filter: role=web
nodes: "web[1-3]"
display: all
options: --batch 1
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a client.yaml with aliases and a command file."""
    (tmp_path / "commands").mkdir()
    (tmp_path / "commands" / "bash-web.yaml").write_text(FILE)
    aliases = "{up: rpcutil ping --colour, names: find --count -o xml, sch: schema command, twice: up -v}"
    (tmp_path / "client.yaml").write_text(
        f"{{collective: production, state: state, commands: [commands], aliases: {aliases}}}"
    )
    monkeypatch.setenv("COLLECTIVE_CONFIG", str(tmp_path))
    return tmp_path


def test_an_alias_stands_for_its_words(folder: Path, capsys: Captured) -> None:
    """The words of the alias come first, then those of the command line; mistakes in both are found."""
    assert called(["sch"], capsys)[1] == called(["schema", "command"], capsys)[1]
    code, _, err = called(["up", "-v"], capsys)
    assert (code, "unknown option '--colour'" in err) == (USAGE, True)
    code, _, err = called(["names"], capsys)
    assert (code, "invalid choice: 'xml'" in err) == (USAGE, True)


def test_a_command_file_that_others_can_change_is_not_used(folder: Path, capsys: Captured) -> None:
    """The options in it can run commands on this machine, so the folder and the file must be the user's or root's."""
    for path in (folder / "commands", folder / "commands" / "bash-web.yaml"):
        before = path.stat().st_mode
        path.chmod(before | 0o002)
        code, _, err = called(["bash-web"], capsys)
        assert (code, f"bash-web.yaml: not used: {path}: writable by all users" in err) == (CONFIGURATION, True)
        path.chmod(before)


@pytest.mark.parametrize("name", ["client.yaml", "."])
def test_a_configuration_that_others_can_change_is_not_used(folder: Path, capsys: Captured, name: str) -> None:
    """Aliases and groups in it run programs as the caller, so the file and its folder must be the user's or root's."""
    path = folder / name
    before = path.stat().st_mode
    path.chmod(before | 0o002)
    for words in (["up"], ["find", "--count"], ["config", "show"]):
        code, _, err = called(words, capsys)
        expected = f"{folder / 'client.yaml'}: not used: {path}: writable by all users (use 'chmod o-w {path}')"
        assert (code, expected in err) == (CONFIGURATION, True), (words, err)
    path.chmod(before)
    assert called(["config", "show"], capsys)[0] == 0


def test_own_commands_are_in_the_help(folder: Path, capsys: Captured) -> None:
    """The list of commands has own ones, one per line, and each has a help page."""
    entries = {entry["name"]: entry for entry in json_document(["help"], capsys)["entries"]}
    assert entries["up"]["summary"] == "crpc rpcutil ping --colour"
    assert (entries["bash-web"]["kind"], entries["bash-web"]["summary"]) == (
        "own command",
        "Show a package on the web servers",
    )
    for words in (["bash-web", "--help"], ["help", "bash-web"]):
        code, page, _ = called(words, capsys)
        assert code == 0
        assert "usage: crpc bash-web [KEY=VALUE ...] [options]" in page
        assert "The list is in the wiki." in page
        assert "crpc package status package=bash" in " ".join(page.split())
        assert "inputs, as KEY=VALUE ('crpc describe package status' lists them)" in " ".join(page.split())


def test_a_fixed_input_stays(folder: Path, capsys: Captured) -> None:
    """The command line cannot change a fixed input, nor widen the nodes of the file."""
    code, _, err = called(["bash-web", "package=zsh"], capsys)
    assert (code, "'package' is fixed by the command" in err) == (USAGE, True)
    code, _, err = called(["bash-web", "-I", "a,b"], capsys)
    assert (code, "use one name, range or group with crpc bash-web, which has nodes" in err) == (USAGE, True)


def test_a_mistyped_own_command_is_suggested(folder: Path, capsys: Captured) -> None:
    """A word that is close to an own command names it."""
    code, _, err = called(["bash-wep"], capsys)
    assert (code, "did you mean 'bash-web'?" in err) == (USAGE, True)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("summary: a\nagent: package", "'action' is a required property"),
        ("summary: a\nagent: b\naction: c\nfilters: d", "unknown key 'filters'"),
        ("summary: a\nagent: b\naction: c\nask: [d]\ninputs: {d: 1}", "ask: 'd' is a fixed input"),
        ("summary: [", "commands/odd.yaml"),
    ],
)
def test_a_wrong_file_is_refused(folder: Path, capsys: Captured, text: str, problem: str) -> None:
    """An error names the file and the key; the list of commands tells that the file cannot be used."""
    (folder / "commands" / "odd.yaml").write_text(text)
    code, _, err = called(["odd"], capsys)
    assert (code, problem in err, "commands/odd.yaml" in err) == (CONFIGURATION, True, True), err
    assert called(["help"], capsys)[0] == 0


@pytest.mark.parametrize(
    ("aliases", "word", "problem"),
    [
        ("{ping: find}", None, "'ping' is a command of crpc"),
        ("{package: find}", None, "'package' is an agent"),
        ("{up: ping, twice: up -v}", "twice", "begins with the alias 'up'"),
        ("{up: '-v'}", "up", "must begin with a command or an agent"),
        ("{up: 'a \"b'}", "up", "No closing quotation"),
        ("{Up: ping}", "Up", "invalid name 'Up'"),
    ],
)
def test_a_wrong_alias_is_refused(folder: Path, capsys: Captured, aliases: str, word: str | None, problem: str) -> None:
    """An alias never hides a command or an agent; the list of commands tells which ones cannot be used."""
    (folder / "client.yaml").write_text(f"{{collective: production, aliases: {aliases}}}")
    if word:
        code, _, err = called([word], capsys)
        assert (code, problem in err) == (CONFIGURATION, True), err
    summaries = [entry["summary"] for entry in json_document(["help"], capsys)["entries"]]
    assert [text for text in summaries if problem in text]


def test_own_commands_are_beside_client_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    """Without the key `commands`, the folder is the one beside the file that --config or COLLECTIVE_CONFIG names."""
    (tmp_path / "commands").mkdir()
    (tmp_path / "commands" / "bash-web.yaml").write_text(FILE)
    (tmp_path / "client.yaml").write_text("{collective: production, state: state}")
    monkeypatch.setenv("COLLECTIVE_CONFIG", str(tmp_path / "client.yaml"))
    code, out, _ = called(["bash-web", "--help"], capsys)
    assert (code, out.startswith("usage: crpc bash-web")) == (0, True)
