"""Loading of agents: code and DDL that agree are loaded; any other agent is rejected with one error line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from collective import catalog
from collective.bundled import DDLS
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
    """A folder with a valid agent, `good`, which every test can load."""
    (tmp_path / "good.py").write_text(CODE)
    (tmp_path / "good.json").write_text(description("good"))
    return tmp_path


def load(folder: Path) -> LoadedAgents:
    return agents.load([folder], [folder], folder / "settings")


def test_code_and_ddl_that_agree_are_loaded(folder: Path) -> None:
    """Code and DDL with the same actions and inputs are loaded as an agent, with its settings."""
    (folder / "settings").mkdir()
    (folder / "settings" / "good.yaml").write_text("weight: 3")
    loaded = load(folder)
    assert list(loaded) == ["good"]
    assert loaded.problems == ()
    assert loaded["good"].settings == {"weight": 3}
    agent, action = loaded.find("good", "swing")
    assert (agent.name, action.name) == ("good", "swing")


def test_the_standard_agents_are_loaded(tmp_path: Path) -> None:
    """Every standard agent agrees with its DDL."""
    loaded = agents.load([agents.bundled()], [DDLS], tmp_path)
    assert loaded.problems == ()
    assert set(loaded) == set(catalog.Catalog().paths)


def test_a_function_gets_its_keyword_only_arguments(folder: Path) -> None:
    """Only the available arguments that the function has as keyword-only parameters are supplied."""
    agent = load(folder)["good"]
    assert agent.supplied("swing", {"settings": {"a": 1}, "caller": "alice"}) == {"settings": {"a": 1}}


def test_settings_may_be_empty(folder: Path) -> None:
    """An empty settings file has no settings."""
    (folder / "settings").mkdir()
    (folder / "settings" / "good.yaml").write_text("")
    assert load(folder)["good"].settings == {}


IMPORT = "from collective.agent import action\n"
# Content of hammer.py and hammer.json (None: no such file), the file named in the error, and a part of the error.
INVALID: dict[str, tuple[str | None, str | None, str, str]] = {
    "no DDL": (CODE, None, "hammer.py", "no DDL found (create hammer.json in"),
    "no code": (None, description(), "hammer.json", "no code found (create hammer.py in"),
    "bad JSON": (CODE, "{", "hammer.json", "cannot be read as JSON"),
    "no DDL at all": (CODE, "{}", "hammer.json", "'metadata' is a required property"),
    "bad schema": (CODE, description(inputs={"type": "object", "properties": {"at": {"type": "text"}}}), "hammer.json",
                   "unknown type 'text'"),
    "another name": (CODE, description("saw"), "hammer.json", "metadata.name is 'saw'"),
    "another action": (CODE, description(action="sing"), "hammer.py", "is missing (write a function 'sing'"),
    "too many parameters": (CODE.replace("at,", "at, color,"), description(), "hammer.py",
                            "the inputs differ: ['at', 'color', 'force'] in the code, ['at', 'force'] in the DDL"),
    "too few parameters": (CODE.replace("at, ", ""), description(), "hammer.py",
                           "hammer.swing: the inputs differ: ['force'] in the code, ['at', 'force'] in the DDL"),
    "no default": (CODE.replace("force=1", "force"), description(), "hammer.py",
                   "'force' is optional in the DDL but has no default in the code"),
    "unknown supplied": (CODE.replace("settings", "weather"), description(), "hammer.py",
                         "unknown keyword-only parameter 'weather' (the node supplies caller, deadline, dry_run"),
    "node": (CODE.replace("settings", "node"), description(), "hammer.py",
             "unknown keyword-only parameter 'node'"),
    "any parameters": (IMPORT + "@action\ndef swing(**all): pass", description(), "hammer.py",
                       "parameter '**all' cannot be passed by name"),
    "positional only": (IMPORT + "@action\ndef swing(at, /, force=1): pass", description(), "hammer.py",
                        "parameter 'at' cannot be passed by name"),
    "async": (CODE.replace("def swing", "async def swing"), description(), "hammer.py",
              "hammer.swing: must be a plain function that returns its data ('async def' and 'yield' are not"),
    "generator": (IMPORT + "@action\ndef swing(at, force=1): yield {}", description(), "hammer.py",
                  "hammer.swing: must be a plain function that returns its data"),
    "raises": ("raise ValueError('first line\\nsecond line')", description(), "hammer.py",
               "cannot be imported: ValueError: first line second line"),
    "exits": ("import sys; sys.exit(3)", description(), "hammer.py", "cannot be imported: SystemExit: 3"),
    "syntax error": ("def swing(:", description(), "hammer.py", "cannot be imported: SyntaxError: invalid syntax"),
    "missing import": ("import no_such_module", description(), "hammer.py",
                       "ModuleNotFoundError: No module named 'no_such_module'"),
    "nothing marked": ("def swing(at): pass", description(), "hammer.py", "is not marked as an action"),
    "null bytes": ("\0", description(), "hammer.py", "cannot be imported: "),
}  # fmt: skip


@pytest.mark.parametrize("name", INVALID)
def test_an_invalid_agent_is_rejected(folder: Path, name: str) -> None:
    """One line names the file and the error, callers get the same line, and other agents are loaded."""
    code, described, file, message = INVALID[name]
    if code is not None:
        (folder / "hammer.py").write_text(code)
    if described is not None:
        (folder / "hammer.json").write_text(described)
    loaded = load(folder)
    assert list(loaded) == ["good"]
    (line,) = loaded.problems
    assert line.startswith(str(folder / file))
    assert message in line
    assert "\n" not in line
    assert loaded.refused == {"hammer": line}
    with pytest.raises(UnknownAction, match="agent 'hammer' failed to load on this node"):
        loaded.find("hammer", "swing")


def test_a_reserved_agent_name_is_rejected(folder: Path) -> None:
    """An agent cannot have the name of a crpc command."""
    (folder / "find.py").write_text(CODE)
    (folder / "find.json").write_text(description("find"))
    loaded = load(folder)
    assert list(loaded) == ["good"]
    assert loaded.refused["find"].endswith("the name 'find' is reserved for a crpc command (rename the agent)")


@pytest.mark.parametrize("text", ["a: [", "- a", "5", "a: 1\na: 2"])
def test_an_agent_with_invalid_settings_is_rejected(folder: Path, text: str) -> None:
    """An agent whose settings cannot be read does not run without them."""
    (folder / "settings").mkdir()
    (folder / "settings" / "good.yaml").write_text(text)
    loaded = load(folder)
    assert list(loaded) == []
    (line,) = loaded.problems
    assert line.startswith(str(folder / "settings" / "good.yaml"))


def test_of_two_agents_with_the_same_name_the_first_is_used(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The second file is reported, and the agent is not rejected."""
    second = tmp_path_factory.mktemp("second")
    (second / "good.py").write_text("raise SystemExit")
    loaded = agents.load([folder, second], [folder, second], folder / "settings")
    assert loaded["good"].path == folder / "good.py"
    assert loaded.problems == (
        f"{second / 'good.py'}: the name 'good' is already used by {folder / 'good.py'} (rename one of them)",
    )
    assert loaded.refused == {}


def test_files_that_begin_with_an_underscore_are_ignored(folder: Path) -> None:
    """Files that begin with an underscore are helper modules, not agents."""
    (folder / "_shared.py").write_text("")
    assert load(folder).problems == ()


def test_an_agent_may_define_dataclasses(folder: Path) -> None:
    """Dataclasses look up their module while it is imported."""
    text = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass\nclass Nail:\n    n: int\n"
    )
    (folder / "good.py").write_text(text + CODE)
    assert load(folder).problems == ()


def test_an_unknown_agent_or_action_is_an_error(folder: Path) -> None:
    """The error names the agents of the node, or a similar action."""
    loaded = load(folder)
    with pytest.raises(UnknownAction, match=r"'saw' \(it has good; if .* since .*, reload the node\)"):
        loaded.find("saw", "swing")
    with pytest.raises(UnknownAction, match=r"good: unknown action 'sing' \(did you mean 'swing'"):
        loaded.find("good", "sing")


def test_rejected_agents_are_logged(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The log has each error with the name of the agent."""
    (folder / "hammer.py").write_text(CODE)
    loaded = load(folder)
    (record,) = caplog.records
    assert (record.getMessage(), record.levelname) == ("agent.refused", "ERROR")
    assert vars(record)["agent"] == "hammer"
    assert (vars(record)["error"],) == loaded.problems
