"""Hostile values for the inputs that are programs: what is executed is exactly what was asked, or nothing."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.agent_cases import DDLS
from support.hostile_values import hostile_values
from support.node_server import REPLIES, call_node, request
from support.recorded_processes import recorded_processes

from collective import bounded_json, ddl
from collective.agents import _jobs, shell
from collective.errors import InvalidInput, MessageError, RPCError
from collective.node.plugins.agents import INSIDE
from collective.testing import Network, memory_fleet

SHELL = ddl.read(DDLS / "shell.json")
LONGEST_ARGUMENT = 131_072  # bytes, execve(2): MAX_ARG_STRLEN


@pytest.fixture
def values(tmp_path: Path) -> list[str]:
    """The values that a request can hold; what they would create is below the folder of the test."""
    return [value for value in hostile_values(tmp_path / "mark", tmp_path / "link") if sendable(value)]


def sendable(value: str) -> bool:
    """Return whether a request can hold a value: no string of a message has bytes that are not UTF-8."""
    try:
        return bool(bounded_json.parse(json.dumps([value]), "message"))
    except MessageError:
        return False


def test_bytes_that_are_not_utf8_never_reach_an_action(tmp_path: Path) -> None:
    """The value with such a byte is the only one that no request can hold."""
    values = hostile_values(tmp_path, tmp_path)
    assert [value for value in values if not sendable(value)] == ["a\udcff"]


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Settings with a folder for jobs; at the end kill what a test left running."""
    yield {"jobs": str(tmp_path / "jobs")}
    for job in _jobs.every(tmp_path / "jobs"):
        job.kill("KILL")


def accepted(action: str, **data: Any) -> dict[str, Any] | None:
    """Return the inputs as the DDL accepts them, None if it refuses them."""
    try:
        return dict(SHELL.action(action).check_input(data))
    except InvalidInput:
        return None


def perform(action: str, data: dict[str, Any], settings: dict[str, Any]) -> tuple[dict[str, Any], list[list[str]]]:
    """Call an action; return its outputs, also of a failure, and the arguments of the processes that it has started."""
    more = {} if action == "start" else {"deadline": time.monotonic() + 20}
    with recorded_processes() as started:
        try:
            outputs = dict(getattr(shell, action)(**data, settings=settings, **more))
        except RPCError as error:
            outputs = {**error.data, "error": str(error)}
    return outputs, started


def can_be_an_argument(value: str) -> bool:
    return len(value.encode()) < LONGEST_ARGUMENT


def test_a_command_is_one_argument_of_the_shell(values: list[str], settings: dict[str, Any]) -> None:
    """The command is what follows `sh -c --`, whole and unchanged; one with NUL is refused."""
    for value in values:
        data = accepted("run", command=value)
        assert (data is None) == ("\0" in value)
        if data is None:
            continue
        _, started = perform("run", data, settings)
        assert started == [["/bin/sh", "-c", "--", value]], value[:40]


def test_a_job_is_one_argument_of_the_shell(values: list[str], settings: dict[str, Any]) -> None:
    """The wrapper of a job gets the command as one argument; the list of jobs has it unchanged."""
    for value in filter(can_be_an_argument, values):
        data = accepted("start", command=value)
        if data is None:
            continue
        outputs, started = perform("start", data, settings)
        assert [line[-1] for line in started] == [value]
        if "error" not in outputs:
            assert shell.list(settings=settings)["jobs"][outputs["handle"]]["command"] == value


def test_a_command_that_looks_like_an_option_is_a_command(settings: dict[str, Any]) -> None:
    """The shell looks for a command of that name, in a job too, and takes no options from it."""
    outputs, _ = perform("run", {"command": "-s", "stdin": "echo from stdin"}, settings)
    assert (outputs["exitcode"], outputs["stdout"]) == (127, "")
    handle = shell.start("--version", settings=settings)["handle"]
    deadline = time.monotonic() + 20
    while (state := shell.status(handle, settings=settings))["status"] not in ("stopped", "failed"):
        assert time.monotonic() < deadline
    assert (state["exitcode"], state["stdout"]) == (127, "")


def test_a_script_is_run_as_it_was_sent(values: list[str], settings: dict[str, Any]) -> None:
    """The interpreter gets a file with exactly the script."""
    for value in values:
        data = accepted("script", script=value, interpreter="sha256sum")
        assert data is not None
        outputs, started = perform("script", data, settings)
        if "error" not in outputs:
            assert outputs["stdout"].split()[0] == hashlib.sha256(value.encode()).hexdigest()
        assert [line[0] for line in started] in ([], ["sha256sum"])
        assert bool(started) == ("error" not in outputs), outputs


def test_standard_input_arguments_and_environment_arrive_unchanged(values: list[str], settings: dict[str, Any]) -> None:
    """Nothing of them is read by a shell."""
    for value in values:
        data = accepted("run", command="sha256sum", stdin=value)
        assert data is not None
        outputs, _ = perform("run", data, settings)
        if "error" not in outputs:
            assert outputs["stdout"].split()[0] == hashlib.sha256(value.encode()).hexdigest()
        for action, more in (
            ("run", {"command": 'printf %s "$VALUE"', "environment": {"VALUE": value}}),
            ("script", {"script": 'printf %s "$1"', "args": [value]}),
        ):
            data = accepted(action, **more)
            if data is not None and can_be_an_argument(value):
                assert perform(action, data, settings)[0].get("stdout", value) == value


@pytest.mark.parametrize("name", ["interpreter", "user", "cwd", "url"])
def test_other_inputs_start_nothing(name: str, values: list[str], settings: dict[str, Any], tmp_path: Path) -> None:
    """A value that the DDL accepts is the name of a program, user or folder that does not exist."""
    action = "run" if name == "cwd" else "script"
    inputs: dict[str, Any] = {} if name == "url" else {"command": "true"} if name == "cwd" else {"script": "true"}
    urls = [f"https://127.0.0.1:1/{value}#sha256={'0' * 64}" for value in values]
    for value in [*values, *(urls if name == "url" else ())]:
        data = accepted(action, **inputs, **{name: value})
        if data is None:
            continue
        outputs, started = perform(action, data, settings)
        assert "error" in outputs
        assert [line[0] for line in started] in ([], [value], ["/bin/sh"])
        assert outputs.get("stdout", "") == ""
    assert not (tmp_path / "mark").exists()


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """One node, whose daemon runs the agents rpcutil, control and plugins itself."""
    with memory_fleet(tmp_path_factory.mktemp("node"), {"web1": {"role": "web"}}) as network:
        network.transport.open_replies(REPLIES)
        call_node(network, request("rpcutil", "get_data", data={"source": "fstat", "query": "/"}))  # the fork server
        yield network


STRINGS = [
    (name, action.name, one)
    for name in sorted(INSIDE)
    for action in ddl.read(DDLS / f"{name}.json").actions.values()
    for one, schema in action.inputs.items()
    if schema.get("type") == "string"
]


@pytest.mark.parametrize("name", sorted(path.stem for path in (DDLS / "data").glob("*.json")))
def test_data_functions(name: str, network: Network, values: list[str], tmp_path: Path) -> None:
    """A node answers each hostile query with a result or one clear error, and no part of a query is executed."""
    for value in values:
        reply = call_node(network, request("rpcutil", "get_data", data={"source": name, "query": value}))
        assert reply.reason not in ("crashed", "timeout"), reply.statusmsg
        assert reply.statuscode in (0, 1, 3, 4), reply.statusmsg
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize(("agent", "action", "name"), STRINGS, ids=["-".join(one) for one in STRINGS])
def test_agents_inside_the_daemon(
    agent: str, action: str, name: str, network: Network, values: list[str], tmp_path: Path
) -> None:
    """A node answers each hostile value with success or one clear error; nothing is started, and it serves on."""
    described = ddl.read(DDLS / f"{agent}.json").action(action)
    others = {one: described.inputs[one].get("examples", ["a"])[0] for one in described.required}
    for value in values:
        with recorded_processes() as started:
            reply = call_node(network, request(agent, action, data={**others, name: value}))
        assert reply.reason not in ("crashed", "timeout"), reply.statusmsg
        assert reply.statuscode in (0, 1, 3, 4)
        assert started == []
    call_node(network, request("control", "thaw"))
    assert not (tmp_path / "mark").exists()
