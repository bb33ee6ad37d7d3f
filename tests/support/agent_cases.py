"""Run an agent's cases: `tests/cases/<agent>/<case>.json`, one example each.

    {"about": one sentence, "action": name, "data": inputs, "settings": {…}, "facts": {…},
     "dry_run": true for a dry run, "node": what the daemon supplies to an agent that runs inside it,
     "commands": argument of fake_commands (default: the machine's commands), "only": true to allow no others,
     "expected": {"statuscode": 0 or 1, "statusmsg": string or /regex/, "data": {…}}, "calls": [[argument, …], …]}

Only the outputs named in `data` are compared; a string `/…/` is a regular expression.
"""

from __future__ import annotations

import inspect
import json
import re
import time
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

from collective import ddl
from collective.errors import RPCError
from collective.node.plugins.agents import bundled
from collective.testing import fake_commands

CASES = Path(__file__).parents[1] / "cases"
DDLS = bundled().parent / "ddl"


def load(agent: str, *, keyed: str = "action") -> list[Any]:
    """Return the cases of `agent` that have the top-level key `keyed`, each a dictionary with its `id`."""
    found = [{"id": path.stem, **json.loads(path.read_text())} for path in sorted((CASES / agent).glob("*.json"))]
    assert found, f"no cases for {agent}"
    return [case for case in found if keyed in case]


def perform(module: ModuleType, case: dict[str, Any], *, seconds: float = 20.0) -> None:
    """Run one case and compare the reply with the expected one."""
    name = module.__name__.rpartition(".")[2]
    described = ddl.read(DDLS / f"{name}.json").action(case["action"])
    fakes = case.get("commands")
    with fake_commands(fakes, only=case.get("only", False)) if fakes is not None else nullcontext() as calls:
        got = answer(module, described, case, seconds)
    for key, wanted in case["expected"].items():
        assert_same(key, wanted, got[key])
    if "calls" in case:
        assert calls is not None
        assert calls() == case["calls"]


def files(folder: Path) -> dict[str, str | None]:
    """Return everything below a folder: the content of files, where links lead, None for folders."""
    found = {path: path.readlink() if path.is_symlink() else path for path in sorted(folder.rglob("*"))}
    return {
        str(path): str(target) if target != path else None if path.is_dir() else path.read_text()
        for path, target in found.items()
    }


def answer(module: ModuleType, described: ddl.Action, case: dict[str, Any], seconds: float = 20.0) -> dict[str, Any]:
    """Check the inputs, call the action, check the outputs, as a node does; return the reply."""
    function = getattr(module, case["action"])
    dry_run = case.get("dry_run", False)
    available = {
        "settings": case.get("settings", {}),
        "deadline": time.monotonic() + seconds,
        "dry_run": dry_run,
        "facts": case.get("facts", {}),
        "caller": "alice",
        "node": case.get("node"),
    }
    supplied = {name: available[name] for name in available if name in inspect.signature(function).parameters}
    try:
        data = function(**described.check_input(case.get("data", {})), **supplied)
    except RPCError as error:
        checked = described.check_output(error.data, complete=False)
        return {"statuscode": error.statuscode, "statusmsg": str(error), "data": checked}
    return {"statuscode": 0, "statusmsg": "OK", "data": described.check_output(data, complete=not dry_run)}


def assert_same(where: str, wanted: Any, got: Any) -> None:
    """Compare the members named in `wanted`; a string `/…/` is a regular expression."""
    if isinstance(wanted, dict):
        for key, value in wanted.items():
            assert key in got, f"{where}.{key} is missing: {got}"
            assert_same(f"{where}.{key}", value, got[key])
    elif isinstance(wanted, str) and wanted.startswith("/") and wanted.endswith("/") and len(wanted) > 1:
        assert re.search(wanted[1:-1], got), f"{where}: {wanted} does not match {got!r}"
    else:
        assert got == wanted, where
