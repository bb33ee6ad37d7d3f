"""What every standard agent has: a case for each action and provider, and inputs that no hostile value gets through."""

from __future__ import annotations

import inspect
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from support.agent_cases import CASES, DDLS
from support.hostile_values import hostile_values

from collective.agents import eip, fact, file, nettest, nrpe, package, process, puppet, service, shell
from collective.catalog import Catalog
from collective.ddl import Action
from collective.errors import RPCError
from collective.node.plugins import agents as loading
from collective.node.plugins.agents import INSIDE
from collective.testing import fake_commands

AGENTS = (eip, fact, file, nettest, nrpe, package, process, puppet, service, shell)
MODULES = {one.__name__.rpartition(".")[2]: one for one in AGENTS}
CATALOG = Catalog()
STANDARD = [path.stem for path in sorted(DDLS.glob("*.json"))]
ACTIONS = [action for name in STANDARD for action in CATALOG.ddl(name).actions.values()]
COMMANDS: dict[str, Any] = {name: {} for name in ("apt-get", "apt-cache", "dpkg-query", "systemctl", "ping", "puppet")}
# These inputs are programs: test_hostile_programs.py shows that exactly these are executed.
PROGRAMS = {("shell", "command"), ("shell", "script"), ("shell", "stdin"), ("shell", "interpreter"), ("shell", "url")}


def cases(agent: str) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in (CASES / agent).glob("*.json")]


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: f"{action.agent} {action.name}")
def test_every_action_has_a_case(action: Action) -> None:
    """Each action of each standard agent has a case, and each dry run has one, too."""
    found = [case for case in cases(action.agent) if case.get("action") == action.name]
    assert found
    if action.dry_run:
        assert any(case.get("dry_run") for case in found)


def test_every_agent_is_among_them() -> None:
    """The standard agents of the distribution are exactly those with a DDL, and all load."""
    loaded = loading.load([loading.bundled()], [DDLS], Path("/nonexistent"))
    assert sorted(loaded) == STANDARD
    assert loaded.problems == ()
    assert sorted([*MODULES, *INSIDE]) == STANDARD


@pytest.mark.parametrize("provider", package.PROVIDERS)
def test_every_package_provider_has_cases(provider: str) -> None:
    """Each package manager has a case with its own commands."""
    command = package.PROVIDERS[provider][0]
    used = [case for case in cases("package") if case.get("settings", {}).get("provider") == provider]
    assert used or any(command in key for case in cases("package") for key in case.get("commands", {}))


@pytest.mark.parametrize("provider", service.MANAGERS)
def test_every_service_manager_has_cases(provider: str) -> None:
    """Each service manager has a case of its own."""
    assert any(case.get("settings", {}).get("provider") == provider for case in cases("service"))


def texts(action: Action) -> Iterator[str]:
    """Yield the names of the inputs that take a free string."""
    for name, schema in action.inputs.items():
        kinds = schema.get("type", ())
        if "enum" not in schema and ("string" in kinds or kinds == "string"):
            yield name


STRINGS = [
    (action, name)
    for action in ACTIONS
    for name in texts(action)
    if action.agent in MODULES and (action.agent, name) not in PROGRAMS
]


def filled(action: Action, name: str, value: str) -> dict[str, Any]:
    """Return inputs with a hostile value for one, and examples for the others that are required."""
    needed = {one: action.inputs[one].get("examples", ["a"])[0] for one in action.usual}
    return {**needed, name: value}


@pytest.fixture
def world(tmp_path: Path) -> dict[str, Any]:
    """A machine whose commands only note their arguments, and settings that allow one folder."""
    outside, allowed = tmp_path / "outside", tmp_path / "allowed"
    outside.mkdir()
    allowed.mkdir()
    (outside / "secret").write_text("secret")
    (allowed / "link").symlink_to(outside / "secret")
    settings = {
        "file": {"read": [str(allowed)], "write": [str(allowed)], "max_size": 10**7, "staging": str(tmp_path / "in")},
        "fact": {"folder": str(tmp_path / "facts.d")},
        "service": {"provider": "systemd"},
        "package": {"provider": "apt"},
        "nrpe": {"config": str(tmp_path / "nrpe.cfg")},
        "puppet": {},
        "process": {},
        "eip": {},
        "nettest": {},
        "shell": {"jobs": str(tmp_path / "jobs")},
    }
    (tmp_path / "nrpe.cfg").write_text("command[a]=echo a\n")
    return {"settings": settings, "mark": tmp_path / "mark", "link": allowed / "link", "outside": outside}


@pytest.mark.parametrize(
    ("action", "name"), STRINGS, ids=[f"{action.agent} {action.name} {name}" for action, name in STRINGS]
)
def test_hostile_values(action: Action, name: str, world: dict[str, Any]) -> None:
    """A hostile value is refused by the DDL, or reaches commands only as a whole argument and never as an option."""
    for value in hostile_values(world["mark"], world["link"]):
        try:
            data = action.check_input(filled(action, name, value))
        except RPCError:
            continue
        with fake_commands(COMMANDS) as calls:
            perform(action, data, world["settings"][action.agent])
            assert_harmless(value, calls())
        assert not world["mark"].exists()
        assert (world["outside"] / "secret").read_text() == "secret"
        assert [path.name for path in world["outside"].iterdir()] == ["secret"]


def assert_harmless(value: str, calls: list[list[str]]) -> None:
    """Assert that a value is a whole argument wherever it was given to a command, and no option before `--`."""
    for call in calls:
        options = call[: call.index("--")] if "--" in call else call
        assert not any(value == word and value.startswith("-") for word in options), call
        assert not any(value in word and word not in (value, f"{call[0]}={value}") for word in options), call


def test_the_check_for_harmless_calls_finds_options() -> None:
    """The check fails for a value that is an option of a command, or a part of another argument."""
    assert_harmless("--now", [["apt-get", "install", "--", "--now"]])
    for call in (["apt-get", "install", "--now"], ["sh", "-c", "echo --now"]):
        with pytest.raises(AssertionError):
            assert_harmless("--now", [call])


def perform(action: Action, data: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Call an action as a worker does; failures are fine, other exceptions are not."""
    function = getattr(MODULES[action.agent], action.name)
    known = inspect.signature(function).parameters
    deadline = time.monotonic() + 5
    available = {"settings": settings, "deadline": deadline, "facts": {}, "caller": "x", "dry_run": False}
    try:
        function(**data, **{name: value for name, value in available.items() if name in known})
    except RPCError:
        return
