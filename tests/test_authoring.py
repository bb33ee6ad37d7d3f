"""The tools for authors: a new agent works at once, typical mistakes have clear messages, and cases are files."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.crpc_call import Captured, called
from support.json_documents import check_document

from collective import catalog, installed
from collective.authoring.review import ADVICE, review
from collective.bundled import DDLS
from collective.errors import ConfigError
from collective.node import assembly
from collective.testing import agent

NUMBER, TEXT = {"type": "number", "title": "N"}, {"type": "string", "title": "T"}


def write(folder: Path, code: str, ddl: Any = None, *, name: str = "odd", **action: Any) -> Path:
    """Write an agent with the action `go` that has the output `n`; `action` are more members of the action's DDL."""
    body = {"description": "Go", "timeout": 5, "input": {"type": "object"},
            "output": {"type": "object", "properties": {"n": NUMBER}}, **action}  # fmt: skip
    document = {"metadata": {"name": name, "description": "Odd", "version": "1"}, "actions": {"go": body}}
    for part in ("agents", "ddl"):
        (folder / part).mkdir(exist_ok=True)
    (folder / "agents" / f"{name}.py").write_text(f"from collective.agent import action\n{code}")
    (folder / "ddl" / f"{name}.json").write_text(ddl if isinstance(ddl, str) else json.dumps(ddl or document))
    return folder


def test_a_new_agent_passes_its_check_and_its_test_and_runs(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The written files are valid without any change, with every type of inputs and outputs."""
    monkeypatch.chdir(tmp_path)
    kinds = ("text:string", "count:integer", "part:number", "on:boolean", "names:array", "more:object", "plain")
    words = [word for kind in kinds for word in ("--input", kind, "--output", kind)]
    code, out, err = called(["new", "agent", "banner", "--action", "show", *words, "-j"], capsys)
    assert (code, err) == (0, "")
    assert check_document(json.loads(out)) == "new"
    assert json.loads(out)["files"] == ["agents/banner.py", "ddl/banner.json", "tests/test_banner.py"]
    code, out, err = called(["check", ".", "-j"], capsys)
    assert (code, err) == (0, "")
    assert check_document(json.loads(out)) == "check"
    assert json.loads(out)["findings"] == []
    given = ["text=a", "count=2", "part=0.5", "on=true", "names=[]", "more={}", "plain=b"]
    code, out, err = called(["run-local", "banner", "show", *given, "-j"], capsys)
    assert (code, err) == (0, "")
    assert json.loads(out)["replies"][0]["data"]["count"] == 1
    assert "1 passed" in run_pytest(tmp_path)


def test_the_next_steps_of_a_new_agent_succeed(tmp_path: Path, capsys: Captured) -> None:
    """`crpc new agent` prints the commands that check, run and test the agent, with an example of each input."""
    folder = tmp_path / "my agents"
    kinds = ("text:string", "count:integer", "on:boolean", "names:array", "more:object")
    inputs = [word for kind in kinds for word in ("--input", kind)]
    _, out, _ = called(["new", "agent", "banner", "--action", "show", *inputs, "--folder", str(folder)], capsys)
    steps = [shlex.split(line) for line in out.partition("next:\n")[2].splitlines()]
    assert [step[0] for step in steps] == ["crpc", "crpc", "pytest"]
    for _, *words in steps[:2]:
        assert called(words, capsys)[0] == 0
    assert "1 passed" in run_pytest(tmp_path, *steps[2][1:])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["odd-name", "--action", "go"], "invalid agent name 'odd-name': use a-z, 0-9 and '_'"),
        (["odd", "--action", "Go"], "invalid action name 'Go'"),
        (["ping", "--action", "go"], "the name 'ping' is reserved for a crpc command"),
        (["odd", "--action", "go", "--input", "a:text"], "--input 'a:text': unknown type 'text' (types: string"),
        (["odd", "--action", "go", "--input", "a b"], "--input 'a b': must be NAME or NAME:TYPE"),
        (["odd", "--action", "go", "--input", "class"], "--input 'class': must be NAME or NAME:TYPE"),
        (["odd", "--action", "go", "--input", "settings"], "--input settings: the node supplies an argument of this"),
        (["odd", "--action", "go", "--output", "a", "--output", "a:integer"], "'a' is given more than once"),
    ],
)
def test_a_new_agent_with_an_invalid_name_is_refused(
    tmp_path: Path, words: list[str], message: str, capsys: Captured
) -> None:
    """The error names the word, and nothing is written."""
    code, _, err = called(["new", "agent", *words, "--folder", str(tmp_path)], capsys)
    assert code == 64
    assert message in err
    assert list(tmp_path.iterdir()) == []


def test_a_new_agent_replaces_no_file(tmp_path: Path, capsys: Captured) -> None:
    """If one of the files exists, none is written."""
    (tmp_path / "ddl").mkdir()
    (tmp_path / "ddl" / "odd.json").write_text("mine")
    code, _, err = called(["new", "agent", "odd", "--action", "go", "--folder", str(tmp_path)], capsys)
    assert code == 64
    assert "ddl/odd.json: exists (choose another name or folder; nothing was written)" in err
    assert [path.name for path in tmp_path.rglob("*")] == ["ddl", "odd.json"]


DATACLASS = "import dataclasses\n@dataclasses.dataclass\nclass Load:\n    n: int\n"
GO = "@action\ndef go(): "
# What an author writes wrong, and the message: of the loader, or of the reply.
MISTAKES = {
    "DDL and code disagree": ("@action\ndef go(a): return {'n': 1}", "the inputs differ: ['a'] in the code, [] in"),
    "no @action": ("def go(): return {'n': 1}", "is not marked as an action (write '@action' above it)"),
    "another name": ("@action\ndef gone(): return {'n': 1}", "(write a function 'go' marked with '@action')"),
    "async def": ("@action\nasync def go(): return {'n': 1}", "must be a plain function that returns its data ('async"),
    "wrong type": (GO + "return {'n': '1'}", "'1' is not of type 'number' (change what is returned, or the DDL)"),
    "exception": (GO + "return {}['colour']", "Agent crashed: KeyError: 'colour'; traceback in the node's log"),
    "print": (GO + "print('hello'); return {'n': 1}", "Printed to standard output: 'hello\\n' (6 characters; return"),
    "endless loop": ("@action\ndef go():\n while True: pass", "(limits: 'timeout' of the DDL, -t of the call)"),
    "None": (GO + "pass", "output 'n' is missing (return it, or give the output a 'default'"),
    "a list": (GO + "return [1]", "odd go: returned list, but must return a dict with the outputs of its DDL"),
    "a dataclass": (DATACLASS + GO + "return Load(1)", "use sorted() for a set, dataclasses.asdict for a dataclass"),
    "a set": (GO + "return {'n': {1}}", "JSON cannot hold: Object of type set is not JSON serializable (return dicts,"),
    "another output": (GO + "return {'m': 1}", "'n' is missing (the action returned 'm', which the DDL does not have"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_typical_mistake_has_one_message_that_says_how_to_fix_it(
    tmp_path: Path, mistake: str, capsys: Captured
) -> None:
    """`crpc run-local` shows the same message that a caller would get, or that a node would log."""
    code, message = MISTAKES[mistake]
    write(tmp_path, code, timeout=1 if mistake == "endless loop" else 5)
    exit_code, out, err = called(["run-local", "odd", "go", "--folder", str(tmp_path)], capsys)
    assert exit_code in (2, 78)
    assert " ".join((out + err).split()).count(message) == 1


@pytest.mark.parametrize(
    ("ddl", "message"),
    [
        ('{"metadata" {"name": "odd"}}', "odd.json: cannot be read as JSON: Expecting ':' delimiter"),
        ('{"metadata": {}}', "odd.json: $: 'actions' is a required property"),
    ],
)
def test_a_ddl_that_is_not_json_is_named_with_the_place(
    tmp_path: Path, ddl: str, message: str, capsys: Captured
) -> None:
    """`crpc check` prints file, line and column, and exits with 78."""
    write(tmp_path, GO + "return {'n': 1}", ddl)
    code, out, _ = called(["check", str(tmp_path)], capsys)
    assert code == 78
    assert message in out


ADVISED: dict[str, tuple[dict[str, Any], str, str]] = {
    "no title": ({"output": {"type": "object", "properties": {"n": {"type": "number"}}}}, GO + "return {'n': 1}",
                 "output 'n' has no 'title', so results show its name"),
    "secret": ({"output": {"type": "object", "properties": {"api_token": TEXT}}}, GO + "return {'api_token': 'x'}",
               "output 'api_token' looks like a secret and is not 'writeOnly': it is shown and logged"),
    "option": ({"input": {"type": "object", "required": ["a"], "properties": {"a": {**TEXT, "pattern": "^[a-z-]+$"}}}},
               "@action\ndef go(a): return {'n': 1}", "its 'pattern' accepts values that begin with '-'"),
    "newline": ({"input": {"type": "object", "required": ["a"], "properties": {"a": {**TEXT, "pattern": "^[^-]"}}}},
                "@action\ndef go(a): return {'n': 1}", "its 'pattern' accepts newlines"),
    "anything": ({"input": {"type": "object", "required": ["a"], "properties": {"a": TEXT}}},
                 "@action\ndef go(a): return {'n': 1}", "it accepts any text of any length"),
    "prints": ({}, GO + "print(1); return {'n': 1}", "agents/odd.py:3: 'print': an action that prints"),
    "shell": ({}, "import os\n" + GO + "os.system('ls'); return {'n': 1}", "'os.system' runs a shell line"),
    "shell option": ({}, "import subprocess\n" + GO + "return {'n': subprocess.run('ls', shell=True).returncode}",
                     "'subprocess.run' runs a shell line"),
}  # fmt: skip


@pytest.mark.parametrize("name", ADVISED)
def test_what_could_be_better_is_advice(tmp_path: Path, name: str) -> None:
    """Advice names the file and the place; a node loads the agent all the same."""
    ddl, code, message = ADVISED[name]
    (found,) = review(write(tmp_path, code, name="odd", **ddl))[0]
    assert found.level == ADVICE
    assert message in found.line


def test_a_missing_timeout_is_advice(tmp_path: Path) -> None:
    """Without a timeout in the action and in the metadata, the default of 60 s applies."""
    write(tmp_path, GO + "return {'n': 1}")
    path = tmp_path / "ddl" / "odd.json"
    path.write_text(path.read_text().replace('"timeout": 5, ', ""))
    (found,) = review(tmp_path)[0]
    assert found.text == "no 'timeout': the action may take 60 s"


def test_the_standard_agents_have_no_errors() -> None:
    """The agents that ship with this package pass their own check."""
    findings, count = review(DDLS.parent)
    assert [one.line for one in findings if one.level != ADVICE] == []
    assert count >= 10


def test_an_agent_is_called_with_other_settings_and_facts(tmp_path: Path) -> None:
    """`request` replaces what the node would supply; inputs that the DDL refuses are a reply as well."""
    write(tmp_path, "@action\ndef go(*, facts, caller): return {'n': facts['n'] + len(caller)}")
    odd = agent("odd", tmp_path)
    assert odd.request("go", {}, facts={"n": 1}, caller="bob").data == {"n": 4}
    assert (odd.call("go", a=1).statuscode, odd.call("gone").statuscode) == (4, 2)
    with pytest.raises(ConfigError, match="there is no agent 'even' in it"):
        agent("even", tmp_path)


def test_a_case_is_a_file(tmp_path: Path) -> None:
    """A case names inputs, replaced commands and the expected reply; each difference is an error that says where."""
    code = "from collective.agent import run\n" + GO + "return {'n': len(run(['uptime', '-p']).stdout)}"
    odd = agent("odd", write(tmp_path, code))
    case = {"about": "It counts.", "action": "go", "commands": {"uptime": {"stdout": "up"}},
            "expected": {"statusmsg": "/^O/", "data": {"n": 2}}, "calls": [["uptime", "-p"]]}  # fmt: skip
    path = tmp_path / "case.json"
    path.write_text(json.dumps(case))
    odd.check(path)
    for change, message in (
        ({"expected": {"data": {"n": 3}}}, "data: n: expected 3, got 2"),
        ({"expected": {"data": {"m": 3}}}, "data: 'm' is missing in"),
        ({"expected": {"statusmsg": "/x/"}}, "statusmsg: /x/ does not match 'OK'"),
        ({"calls": []}, "calls: expected [], got"),
        ({"expect": {}}, "unknown member 'expect'"),
    ):
        path.write_text(json.dumps({**case, **change}))
        with pytest.raises(AssertionError) as caught:
            odd.check(path)
        assert message in str(caught.value)


def run_pytest(folder: Path, *words: str) -> str:
    """Run the tests of a folder as an author does, and return the output."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *(words or ["tests"])]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=100).stdout


def test_the_plug_in_for_pytest_has_fixtures_for_agents(tmp_path: Path) -> None:
    """Tests get the agent, a fleet in memory, replaced commands, and one call for each case file."""
    write(tmp_path, GO + "return {'n': 1}")
    cases = tmp_path / "tests" / "cases" / "odd"
    cases.mkdir(parents=True)
    for name in ("first", "second"):
        (cases / f"{name}.json").write_text('{"action": "go", "expected": {"data": {"n": 1}}}')
    (tmp_path / "tests" / "test_odd.py").write_text(
        "import pytest\n"
        "def test_call(agent, fake_commands):\n    assert agent('odd').call('go').data == {'n': 1}\n"
        "def test_fleet(memory_fleet):\n"
        "    network = memory_fleet({'web1': {}, 'web2': {}})\n"
        "    assert sorted(reply.sender for reply in network.fleet.call('odd', 'go')) == ['web1', 'web2']\n"
        "@pytest.mark.agent_cases('odd')\ndef test_cases(agent, agent_case):\n    agent('odd').check(agent_case)\n"
    )
    assert "4 passed" in run_pytest(tmp_path)


def test_an_installed_distribution_brings_agents_and_ddls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that an entry point names has the folders `agents` and `ddl`: nodes and callers use both."""
    package = tmp_path / "acme_agents"
    package.mkdir()
    write(package, GO + "return {'n': 1}")
    information = tmp_path / "acme-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[collective.plugins]\nacme = acme_agents\nlost = no_such_package\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    installed.folders.cache_clear()
    try:
        assert catalog.Catalog().action("odd", "go").name == "go"
        from collective.config import NodeConfig

        config = NodeConfig("c", "web1", agents=[], ddls=[], settings=tmp_path / "settings")
        loaded = assembly.load_plugins(config)
    finally:
        installed.folders.cache_clear()
    assert "odd" in loaded.agents
    assert loaded.problems == ()
