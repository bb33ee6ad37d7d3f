"""Plugins are reloaded while a node runs; a request uses one set of plugins from start to end."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.node_server import DDL, NUMBER, call_node, described, replies, request, send, settled
from support.waiting import wait_until

from collective.bundled import DDLS
from collective.filters import parse
from collective.node.plugins import agents
from collective.node.plugins import plugin_set as sets
from collective.node.policy_file import PolicyFile
from collective.node.service.registration import Registration
from collective.node.service.reloading import Reloading
from collective.node.service.systemd import ServiceManager
from collective.registry.memory import MemoryRegistry
from collective.testing import Network
from collective.testing.nodes import record

NO_MANAGER = ServiceManager(None)
NEW = """
from collective.agent import action

@action
def sleep(seconds):
    return {"slept": -1.0}

@action
def wake():
    return {}
"""
NEW_DDL = {
    "metadata": {"name": "odd", "description": "Odd things", "version": "2", "timeout": 10},
    "actions": {"sleep": described({"seconds": NUMBER}, {"slept": NUMBER}), "wake": described({}, {})},
}


@pytest.fixture
def reload(network: Network, plugins: Path, tmp_path: Path) -> Callable[[], None]:
    """A function that reloads as SIGHUP does, in the calling thread."""
    node = network.nodes["web1"]
    folders = ([agents.bundled(), plugins], [DDLS, plugins], tmp_path / "settings")
    registration = Registration(network.registry, partial(record, node), 300)
    return Reloading(partial(sets.load, *folders), node, PolicyFile(tmp_path / "none"), registration, NO_MANAGER).reload


def write(folder: Path, code: str = NEW, ddl: Any = NEW_DDL) -> None:
    (folder / "odd.py").write_text(code)
    (folder / "odd.json").write_text(json.dumps(ddl))


def slept(network: Network) -> float:
    """Return the output of `odd sleep`: 0 from the first version, -1 from the new one."""
    return float(call_node(network, request("odd", "sleep", data={"seconds": 0})).data["slept"])


def test_the_uptime_goes_on_at_a_reload(network: Network, reload: Callable[[], None]) -> None:
    """The time of the start is that of the daemon, although a reload imports rpcutil again."""
    started = [call_node(network, request("rpcutil", "daemon_stats")).data["starttime"]]
    reload()
    started.append(call_node(network, request("rpcutil", "daemon_stats")).data["starttime"])
    assert started[0] == started[1]


def test_a_new_version_of_an_agent_is_used_after_a_reload_and_not_before(
    network: Network, plugins: Path, reload: Callable[[], None]
) -> None:
    """A changed file has no effect before the reload, which checks it."""
    write(plugins)
    assert slept(network) == 0
    reload()
    assert slept(network) == -1
    assert call_node(network, request("odd", "wake")).statuscode == 0
    assert call_node(network, request("odd", "lie")).statuscode == 2
    assert record(network.nodes["web1"]).agents["odd"] == "2"


@pytest.mark.parametrize(
    ("code", "ddl"),
    [("def sleep(", NEW_DDL), (NEW, DDL), (NEW, {}), ("raise SystemExit", NEW_DDL)],
    ids=["half a file", "another DDL", "no DDL at all", "an exit"],
)
def test_an_invalid_new_version_leaves_the_loaded_one_in_force(
    network: Network, plugins: Path, reload: Callable[[], None], caplog: pytest.LogCaptureFixture, code: str, ddl: Any
) -> None:
    """The agent keeps code and DDL of its last valid version, and the error is logged."""
    write(plugins, code, ddl)
    with caplog.at_level(logging.INFO, "collective"):
        reload()
    assert slept(network) == 0
    (refused,) = [vars(line) for line in caplog.records if line.message == "agent.refused"]
    assert (refused["agent"], refused["in_force"]) == ("odd", "the last valid version")
    (done,) = [vars(line) for line in caplog.records if line.message == "daemon.reloaded"]
    assert (done["agents"]["odd"], done["problems"]) == ("1", 1)
    write(plugins)
    reload()
    assert slept(network) == -1


@pytest.mark.parametrize("gone", [["odd.py"], ["odd.json"], ["odd.py", "odd.json"]])
def test_an_agent_whose_files_are_deleted_is_removed(
    network: Network, plugins: Path, reload: Callable[[], None], gone: list[str]
) -> None:
    """A missing file does not count as an invalid one."""
    for name in gone:
        (plugins / name).unlink()
    reload()
    assert call_node(network, request("odd", "lie")).statuscode == 2


def test_settings_are_reloaded_unless_they_are_invalid(
    network: Network, plugins: Path, reload: Callable[[], None], tmp_path: Path
) -> None:
    """Settings are part of the agent: with invalid settings its last valid version stays in force."""
    (tmp_path / "settings").mkdir()
    settings = tmp_path / "settings" / "odd.yaml"
    settings.write_text("weight: 3")
    reload()
    settings.write_text("weight: [")
    reload()
    assert network.nodes["web1"].agents["odd"].settings == {"weight": 3}


def test_running_and_queued_requests_use_the_plugins_that_they_started_with(
    network: Network, plugins: Path, reload: Callable[[], None]
) -> None:
    """Four requests accepted before a reload run the old version, the next one the new version."""
    write(plugins)
    jobs = [request("odd", "sleep", data={"seconds": 0.3}) for _ in range(4)]
    send(network, *jobs)
    assert settled(network, "passed", 4) == 4
    reload()
    assert [reply.data["slept"] for reply in replies(network, 4)] == [0.3] * 4
    assert slept(network) == -1


def test_a_request_whose_filter_runs_a_data_function_uses_one_set_of_plugins(
    network: Network, plugins: Path, reload: Callable[[], None]
) -> None:
    """A request that waits for a data function uses the agents that were loaded when it arrived."""
    slow = """
import time
from pathlib import Path
from collective.agent import data

@data
def pause(query):
    Path(query).touch()
    while Path(query).exists():
        time.sleep(0.01)
    return {"done": True}
"""
    output = {"type": "object", "properties": {"done": {"type": "boolean"}}}
    metadata = {"name": "pause", "description": "Waits", "version": "1", "timeout": 10}
    body = {"metadata": metadata, "query": {"title": "File", "type": "string"}, "output": output}
    (plugins / "data").mkdir()
    (plugins / "data" / "pause.py").write_text(slow)
    (plugins / "data" / "pause.json").write_text(json.dumps(body))
    reload()
    flag = plugins / "flag"
    condition = parse(select=f"pause('{flag}').done=true").to_data()
    send(network, request("odd", "lie", filter=condition))
    wait_until(flag.exists, 30)
    write(plugins)  # without `lie`
    reload()
    flag.unlink()
    assert "odd lie: does not match its DDL" in replies(network)[0].statusmsg


def test_the_registry_is_updated_right_after_a_reload(network: Network, plugins: Path, tmp_path: Path) -> None:
    """The update does not wait for the next heartbeat."""
    node, registry = network.nodes["web1"], MemoryRegistry()
    registration = Registration(registry, partial(record, node), 300)
    registration.start()
    load = partial(sets.load, [plugins], [plugins], tmp_path / "settings")
    reloading = Reloading(load, node, PolicyFile(tmp_path / "none"), registration, NO_MANAGER)
    reloading.start()
    write(plugins)
    reloading.wake()
    try:
        wait_until(lambda: any(found.agents.get("odd") == "2" for found in registry.nodes()), 30)
    finally:
        registration.stop(5)


def test_a_reload_has_read_the_facts_when_it_counts_problems(
    network: Network, reload: Callable[[], None], tmp_path: Path
) -> None:
    """The number of problems is that of now: 1 after facts were broken, and 0 after they were as before again."""
    node, file = network.nodes["web1"], next(tmp_path.rglob("web1.json"))
    valid = file.read_text()
    node.facts.start(3600, 10, lambda: None)
    counts = []
    for content in (valid, "{", valid):
        file.write_text(content)
        reload()
        counts.append(len(node.state.problems))
    node.facts.stop()
    assert counts == [0, 1, 0]
