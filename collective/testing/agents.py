"""Call the actions of one agent in a test, with the checks that a node makes: no daemon, no transport.

load = agent("load", Path("."))
reply = load.call("status", limit=100)
assert (reply.statuscode, reply.statusmsg) == (0, "OK")
assert reply.data["one"] >= 0

load.check(Path("tests/cases/load/high.json"))       a call and its result as a file
"""

from __future__ import annotations

import json
import re
import tempfile
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from collective.ddl import Action
from collective.errors import ConfigError, RPCError
from collective.node.actions.job import ActionJob, ActionResult, ProgramCall
from collective.node.actions.worker import sent_result
from collective.node.plugins import agents as plugins
from collective.node.plugins.agents import LoadedAgent
from collective.testing.commands import fake_commands

_MEMBERS = frozenset(
    {"about", "action", "data", "settings", "facts", "dry_run", "commands", "only", "expected", "calls"}
)


def agent(name: str, folder: Path = Path()) -> AgentUnderTest:
    """Load the agent `name` of a folder with `agents` and `ddl` in it, or with code and DDLs side by side.

    Raises ConfigError if the agent cannot be loaded, with the line that a node would log.
    """
    code, ddl = folder / "agents", folder / "ddl"
    folders = [code if code.is_dir() else folder], [ddl if ddl.is_dir() else folder]
    loaded = plugins.load(*folders, folder / "settings")
    if name not in loaded:
        raise ConfigError(loaded.refused.get(name, f"{folder}: there is no agent '{name}' in it"))
    return AgentUnderTest(loaded[name])


class AgentUnderTest:
    """An agent whose actions are called in this process, so that `fake_commands` replaces what they run."""

    def __init__(self, loaded: LoadedAgent) -> None:
        self._loaded = loaded

    def call(self, action: str, /, **inputs: Any) -> ActionResult:
        """Return the result of an action: `statuscode`, `statusmsg`, `reason`, `data`.

        Inputs and outputs are checked against the DDL.
        """
        return self.request(action, inputs)

    def request(
        self,
        action: str,
        inputs: Mapping[str, Any],
        *,
        settings: Mapping[str, Any] | None = None,
        facts: Mapping[str, Any] | None = None,
        caller: str = "tester@localhost",
        dry_run: bool = False,
    ) -> ActionResult:
        """Return the result of an action called with other settings and facts than usual, by another caller, or dry."""
        try:
            described = self._loaded.ddl.action(action)
            data = described.check_input(inputs)
            if dry_run:
                described.require_dry_run()
            loaded = self._loaded
            if settings is not None:
                loaded = replace(loaded, settings=loaded.ddl.check_settings(settings))
            available = {"caller": caller, "facts": facts or {}, "dry_run": dry_run}
            result = _run(_job(loaded, described, data, available))
            if result.statuscode:
                return result
            return result._replace(data=described.check_output(result.data, complete=not dry_run))
        except RPCError as error:
            return ActionResult(error.statuscode, str(error), error.reason, dict(error.data))

    def check(self, path: Path) -> None:
        """Run the case in a file and compare the result with the expected one.

        {"about": one sentence, "action": name, "data": inputs, "settings": {…}, "facts": {…},
         "dry_run": true for a dry run, "commands": argument of fake_commands, "only": true to allow no other commands,
         "expected": {"statuscode": 0, "statusmsg": string or /regex/, "data": {…}}, "calls": [[argument, …], …]}

        Only the members and outputs that `expected` names are compared. Raises AssertionError for a difference.
        """
        case = json.loads(path.read_text(encoding="utf-8"))
        if unknown := sorted(case.keys() - _MEMBERS):
            raise AssertionError(f"{path}: unknown member '{unknown[0]}' (members: {', '.join(sorted(_MEMBERS))})")
        fakes = case.get("commands")
        with fake_commands(fakes, only=case.get("only", False)) if fakes is not None else nullcontext() as calls:
            options = {name: case[name] for name in ("settings", "facts", "dry_run") if name in case}
            result = self.request(case["action"], case.get("data", {}), **options)
        _compare(str(path), case["expected"], result._asdict())
        if "calls" in case:
            _compare(f"{path}: calls", case["calls"], calls() if calls else [])


def _job(loaded: LoadedAgent, action: Action, data: Mapping[str, Any], supplied: Mapping[str, Any]) -> ActionJob:
    """Return the job of a call; `supplied` are the caller, the facts and `dry_run`."""
    caller, facts = supplied["caller"], supplied["facts"]
    available = {**supplied, "settings": loaded.settings, "deadline": time.monotonic() + action.timeout}
    secrets = action.secret_texts(data)
    if program := loaded.programs.get(action.name):
        members: dict[str, Any] = {
            "agent": loaded.name,
            "callerid": caller,
            "requestid": "0" * 32,
            "senderid": "localhost",
        }
        members |= {"collective": "testing", "ttl": 60, "msgtime": int(time.time())}
        call = ProgramCall(program.convention, program.file, members, loaded.settings, facts)
        return ActionJob(str(program.path), action.name, data, {}, secrets, program=call)
    return ActionJob(str(loaded.path), action.name, data, loaded.supplied(action.name, available), secrets, loaded.code)


def _run(job: ActionJob) -> ActionResult:
    with tempfile.TemporaryDirectory(prefix="collective-") as folder:
        return sent_result(job._replace(folder=f"{folder}/call"))


def _compare(where: str, wanted: Any, got: Any) -> None:
    """Compare the members named in `wanted`; a string `/…/` is a regular expression."""
    if isinstance(wanted, Mapping) and isinstance(got, Mapping):
        for key, value in wanted.items():
            if key not in got:
                raise AssertionError(f"{where}: '{key}' is missing in {got}")
            _compare(f"{where}: {key}", value, got[key])
    elif isinstance(wanted, str) and len(wanted) > 1 and wanted.startswith("/") and wanted.endswith("/"):
        if not re.search(wanted[1:-1], str(got)):
            raise AssertionError(f"{where}: {wanted} does not match {got!r}")
    elif wanted != got:
        raise AssertionError(f"{where}: expected {wanted!r}, got {got!r}")
