"""Plugins that hang or end their process when they are imported: they are refused, and the daemon lives on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from collective.node.plugins import import_trial, plugin_set
from collective.node.plugins.plugin_set import Plugins

GOOD = "from collective.agent import action\n\n@action\ndef swing():\n    return {'pid': 1}\n"
HANGS = f"{GOOD}\nwhile True:\n    pass\n"
CONNECTS = f"{GOOD}\nimport socket\nleft, right = socket.socketpair()\nleft.recv(1)\n"
ENDS = [
    ("import os\nos._exit(0)", "cannot be imported in a process of its own: the action's process exited with code 0"),
    ("import os\nos.kill(os.getpid(), 9)", "cannot be imported in a process of its own: the action was killed"),
    ("import sys\nsys.exit(3)", "cannot be imported: SystemExit: 3"),
    ("raise ValueError('no\\nlicence')", "cannot be imported: ValueError: no licence"),
]


def write(folder: Path, name: str, code: str) -> None:
    """Write an agent with one action and the given code."""
    action = {"description": "Swing it", "input": {"type": "object"}, "output": {"type": "object"}}
    metadata = {"name": name, "description": "Hits", "version": "1.0"}
    (folder / f"{name}.json").write_text(json.dumps({"metadata": metadata, "actions": {"swing": action}}))
    (folder / f"{name}.py").write_text(code)


def load(folder: Path, before: Plugins | None = None) -> Plugins:
    return plugin_set.load([folder], [folder], folder / "settings", before)


@pytest.fixture
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limit an import to one second."""
    monkeypatch.setattr(import_trial, "IMPORT_LIMIT", 1.0)


@pytest.mark.parametrize(("code", "problem"), ENDS)
def test_an_agent_that_ends_its_process_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], code: str, problem: str
) -> None:
    """The other agents are loaded, this one is refused with one line, and a reload keeps its last valid version."""
    write(tmp_path, "odd", code)
    write(tmp_path, "plain", GOOD)
    loaded = load(tmp_path)
    assert list(loaded.agents) == ["plain"]
    assert loaded.agents.refused["odd"].startswith(f"{tmp_path / 'odd.py'}: {problem}")
    write(tmp_path, "odd", GOOD)
    before = load(tmp_path)
    write(tmp_path, "odd", code)
    after = load(tmp_path, before)
    assert after.agents["odd"] is before.agents["odd"]
    assert list(after.agents.outdated) == ["odd"]
    assert capfd.readouterr().err == ""


@pytest.mark.usefixtures("_short")
@pytest.mark.parametrize("code", [HANGS, CONNECTS])
def test_an_agent_that_never_ends_its_import_is_refused(tmp_path: Path, code: str) -> None:
    """An import that computes or waits for ever is ended; tests/e2e/test_import_hang.py has the whole daemon."""
    write(tmp_path, "odd", code)
    problem = "import took longer than 1 s (wait and connect in functions, not at module level)"
    assert load(tmp_path).agents.refused == {"odd": f"{tmp_path / 'odd.py'}: {problem}"}


@pytest.mark.usefixtures("_short")
def test_a_data_function_that_never_ends_its_import_is_refused(tmp_path: Path) -> None:
    """Data functions are limited as agents are."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "odd.py").write_text(HANGS)
    body = {
        "metadata": {"name": "odd", "description": "x", "version": "1.0"},
        "query": {"title": "Any", "type": "string"},
        "output": {"type": "object", "properties": {"done": {"type": "boolean"}}},
    }
    (tmp_path / "data" / "odd.json").write_text(json.dumps(body))
    assert "import took longer than 1 s" in load(tmp_path).data.refused["odd"]
