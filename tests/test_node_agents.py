"""A node's agents: code and DDL that agree serve; every other pair is left out, with one line that says why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from collective import catalog
from collective.errors import UnknownAction
from collective.node.plugins import agents
from collective.node.plugins.agents import LoadedAgents

CODE = """
from collective.agent import action

@action
def swing(at, force=1, *, settings):
    return {}
"""
TEXT = {"type": "string"}
INPUT = {"type": "object", "required": ["at"], "properties": {"at": TEXT, "force": {"type": "integer"}}}


def description(name: str = "hammer", inputs: dict[str, Any] | None = None, action: str = "swing") -> str:
    body = {"description": "Swing it", "input": inputs or INPUT, "output": {"type": "object"}}
    metadata = {"name": name, "description": "Hits", "version": "1.0"}
    return json.dumps({"metadata": metadata, "actions": {action: body}})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one good pair, `good`, so that a test sees that the rest serves."""
    (tmp_path / "good.py").write_text(CODE)
    (tmp_path / "good.json").write_text(description("good"))
    return tmp_path


def load(folder: Path) -> LoadedAgents:
    return agents.load([folder], [folder], folder / "settings")


def test_a_pair_that_agrees_serves(folder: Path) -> None:
    """Code and DDL with the same actions and inputs become an agent, with its settings."""
    (folder / "settings").mkdir()
    (folder / "settings" / "good.yaml").write_text("weight: 3")
    loaded = load(folder)
    assert list(loaded) == ["good"]
    assert loaded.problems == ()
    assert loaded["good"].settings == {"weight": 3}
    agent, action = loaded.find("good", "swing")
    assert (agent.name, action.name) == ("good", "swing")


def test_the_standard_agents_serve(tmp_path: Path) -> None:
    """Every agent that comes with collective agrees with its DDL."""
    loaded = agents.load([agents.bundled()], [catalog.bundled()], tmp_path)
    assert loaded.problems == ()
    assert set(loaded) == set(catalog.Catalog().paths)


def test_a_function_is_given_what_it_names(folder: Path) -> None:
    """Of the keyword-only arguments only those that the function names are supplied."""
    agent = load(folder)["good"]
    assert agent.supplied("swing", {"settings": {"a": 1}, "caller": "alice"}) == {"settings": {"a": 1}}


def test_settings_may_be_empty(folder: Path) -> None:
    """An empty settings file is no settings."""
    (folder / "settings").mkdir()
    (folder / "settings" / "good.yaml").write_text("")
    assert load(folder)["good"].settings == {}


IMPORT = "from collective.agent import action\n"
# What is in hammer.py and hammer.json, the file that is to blame, and what is said of it. None: there is no such file.
FAULTS: dict[str, tuple[str | None, str | None, str, str]] = {
    "no DDL": (CODE, None, "hammer.py", "there is no DDL: write hammer.json into"),
    "no code": (None, description(), "hammer.json", "there is no code: write hammer.py into"),
    "bad JSON": (CODE, "{", "hammer.json", "cannot be read as JSON"),
    "no DDL at all": (CODE, "{}", "hammer.json", "'metadata' is a required property"),
    "bad schema": (CODE, description(inputs={"type": "object", "properties": {"at": {"type": "text"}}}), "hammer.json",
                   "'text' is not valid"),
    "another name": (CODE, description("saw"), "hammer.json", "metadata.name is 'saw'"),
    "another action": (CODE, description(action="sing"), "hammer.py", "action 'sing' is in"),
    "too many parameters": (CODE.replace("at,", "at, color,"), description(), "hammer.py",
                            "code takes ['at', 'color', 'force'], DDL says ['at', 'force']"),
    "too few parameters": (CODE.replace("at, ", ""), description(), "hammer.py",
                           "hammer.swing: code takes ['force'], DDL says ['at', 'force']"),
    "no default": (CODE.replace("force=1", "force"), description(), "hammer.py",
                   "'force' may be left out, says the DDL; the code has no default for it"),
    "unknown supplied": (CODE.replace("settings", "weather"), description(), "hammer.py",
                         "nobody supplies the keyword-only parameter 'weather': there are caller, deadline, facts"),
    "node": (CODE.replace("settings", "node"), description(), "hammer.py",
             "nobody supplies the keyword-only parameter 'node'"),
    "any parameters": (IMPORT + "@action\ndef swing(**all): pass", description(), "hammer.py",
                       "parameter '**all' cannot be filled by name"),
    "positional only": (IMPORT + "@action\ndef swing(at, /, force=1): pass", description(), "hammer.py",
                        "parameter 'at' cannot be filled by name"),
    "async": (CODE.replace("def swing", "async def swing"), description(), "hammer.py",
              "hammer.swing: an action returns its data: 'async def' and 'yield' have no place in it"),
    "generator": (IMPORT + "@action\ndef swing(at, force=1): yield {}", description(), "hammer.py",
                  "hammer.swing: an action returns its data"),
    "raises": ("raise ValueError('first line\\nsecond line')", description(), "hammer.py",
               "cannot be imported: ValueError: first line second line"),
    "exits": ("import sys; sys.exit(3)", description(), "hammer.py", "cannot be imported: SystemExit: 3"),
    "syntax error": ("def swing(:", description(), "hammer.py", "cannot be imported: SyntaxError: invalid syntax"),
    "missing import": ("import no_such_module", description(), "hammer.py",
                       "ModuleNotFoundError: No module named 'no_such_module'"),
    "nothing marked": ("def swing(at): pass", description(), "hammer.py", "action 'swing' is in"),
    "null bytes": ("\0", description(), "hammer.py", "cannot be imported: "),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_pair_that_disagrees_is_left_out(folder: Path, name: str) -> None:
    """One line names file and fault, callers are told the same, and the rest serves."""
    code, described, blamed, said = FAULTS[name]
    if code is not None:
        (folder / "hammer.py").write_text(code)
    if described is not None:
        (folder / "hammer.json").write_text(described)
    loaded = load(folder)
    assert list(loaded) == ["good"]
    (line,) = loaded.problems
    assert line.startswith(str(folder / blamed))
    assert said in line
    assert "\n" not in line
    assert loaded.refused == {"hammer": line}
    with pytest.raises(UnknownAction, match="this node has left the agent 'hammer' out"):
        loaded.find("hammer", "swing")


def test_a_reserved_name_is_left_out(folder: Path) -> None:
    """No agent may be called as a command of crpc is."""
    (folder / "find.py").write_text(CODE)
    (folder / "find.json").write_text(description("find"))
    loaded = load(folder)
    assert list(loaded) == ["good"]
    assert loaded.refused["find"].endswith("the name 'find' is reserved for a crpc command (rename the agent)")


@pytest.mark.parametrize("text", ["a: [", "- a", "5", "a: 1\na: 2"])
def test_a_wrong_settings_file_leaves_its_agent_out(folder: Path, text: str) -> None:
    """An agent whose settings cannot be read does not run without them."""
    (folder / "settings").mkdir()
    (folder / "settings" / "good.yaml").write_text(text)
    loaded = load(folder)
    assert list(loaded) == []
    (line,) = loaded.problems
    assert line.startswith(str(folder / "settings" / "good.yaml"))


def test_of_two_with_one_name_the_first_serves(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A second file of a name is left out and said so; the agent itself is not refused."""
    second = tmp_path_factory.mktemp("second")
    (second / "good.py").write_text("raise SystemExit")
    loaded = agents.load([folder, second], [folder, second], folder / "settings")
    assert loaded["good"].path == folder / "good.py"
    assert loaded.problems == (f"{second / 'good.py'}: 'good' is taken by {folder / 'good.py'}: give it another name",)
    assert loaded.refused == {}


def test_a_helper_beside_an_agent_is_no_agent(folder: Path) -> None:
    """Files that begin with '_' are the agents' own business."""
    (folder / "_shared.py").write_text("")
    assert load(folder).problems == ()


def test_an_agent_may_define_dataclasses(folder: Path) -> None:
    """A module looks itself up while it is imported."""
    text = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass\nclass Nail:\n    n: int\n"
    )
    (folder / "good.py").write_text(text + CODE)
    assert load(folder).problems == ()


def test_what_is_not_there_is_said(folder: Path) -> None:
    """An unknown agent or action is answered with those there are."""
    loaded = load(folder)
    with pytest.raises(UnknownAction, match="this node has no agent 'saw': it has good"):
        loaded.find("saw", "swing")
    with pytest.raises(UnknownAction, match=r"good: unknown action 'sing' \(did you mean 'swing'"):
        loaded.find("good", "sing")


def test_faults_are_logged(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The daemon's log has each fault, by agent."""
    (folder / "hammer.py").write_text(CODE)
    loaded = load(folder)
    (record,) = caplog.records
    assert (record.getMessage(), record.levelname) == ("agent.refused", "ERROR")
    assert vars(record)["agent"] == "hammer"
    assert (vars(record)["error"],) == loaded.problems
