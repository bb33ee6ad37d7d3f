"""Plugins are loaded anew while a node serves: a request sees one set from its beginning to its end."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.daemons import wait_until
from support.node_server import DDL, NUMBER, ask, described, replies, request, send, settled

from collective import catalog
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

NOBODY = ServiceManager(None)
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
    """Reload as SIGHUP does, in this thread."""
    node = network.nodes["web1"]
    folders = ([agents.bundled(), plugins], [catalog.bundled(), plugins], tmp_path / "settings")
    registration = Registration(network.registry, partial(record, node), 300)
    return Reloading(partial(sets.load, *folders), node, PolicyFile(tmp_path / "none"), registration, NOBODY).reload


def write(folder: Path, code: str = NEW, ddl: Any = NEW_DDL) -> None:
    (folder / "odd.py").write_text(code)
    (folder / "odd.json").write_text(json.dumps(ddl))


def slept(network: Network) -> float:
    """Return what `odd sleep` says: 0 is the first version, -1 the new one."""
    return float(ask(network, request("odd", "sleep", data={"seconds": 0})).data["slept"])


def test_a_new_version_serves_after_a_reload_and_not_before(
    network: Network, plugins: Path, reload: Callable[[], None]
) -> None:
    """What is run is what was checked: a file that has changed since counts when it is loaded."""
    write(plugins)
    assert slept(network) == 0
    reload()
    assert slept(network) == -1
    assert ask(network, request("odd", "wake")).statuscode == 0
    assert ask(network, request("odd", "lie")).statuscode == 2
    assert record(network.nodes["web1"]).agents["odd"] == "2"


@pytest.mark.parametrize(
    ("code", "ddl"),
    [("def sleep(", NEW_DDL), (NEW, DDL), (NEW, {}), ("raise SystemExit", NEW_DDL)],
    ids=["half a file", "another DDL", "no DDL at all", "an exit"],
)
def test_a_broken_new_version_keeps_the_one_before_and_says_so(
    network: Network, plugins: Path, reload: Callable[[], None], caplog: pytest.LogCaptureFixture, code: str, ddl: Any
) -> None:
    """The agent serves on, with code and DDL of one version; others are loaded."""
    write(plugins, code, ddl)
    with caplog.at_level(logging.INFO, "collective"):
        reload()
    assert slept(network) == 0
    (refused,) = [vars(line) for line in caplog.records if line.message == "agent.refused"]
    assert (refused["agent"], refused["in_force"]) == ("odd", "the version before")
    (done,) = [vars(line) for line in caplog.records if line.message == "daemon.reloaded"]
    assert (done["agents"]["odd"], done["problems"]) == ("1", 1)
    write(plugins)
    reload()
    assert slept(network) == -1


@pytest.mark.parametrize("gone", [["odd.py"], ["odd.json"], ["odd.py", "odd.json"]])
def test_an_agent_that_is_taken_away_is_gone(
    network: Network, plugins: Path, reload: Callable[[], None], gone: list[str]
) -> None:
    """A file that is not there is not a broken one."""
    for name in gone:
        (plugins / name).unlink()
    reload()
    assert ask(network, request("odd", "lie")).statuscode == 2


def test_settings_are_read_again_and_broken_ones_are_not_in_force(
    network: Network, plugins: Path, reload: Callable[[], None], tmp_path: Path
) -> None:
    """They are part of the agent."""
    (tmp_path / "settings").mkdir()
    settings = tmp_path / "settings" / "odd.yaml"
    settings.write_text("weight: 3")
    reload()
    settings.write_text("weight: [")
    reload()
    assert network.nodes["web1"].agents["odd"].settings == {"weight": 3}


def test_what_runs_and_what_waits_goes_on_with_what_it_began_with(
    network: Network, plugins: Path, reload: Callable[[], None]
) -> None:
    """Two run and two wait while the agent changes: four answers of the first version, then one of the new one."""
    write(plugins)
    jobs = [request("odd", "sleep", data={"seconds": 0.3}) for _ in range(4)]
    send(network, *jobs)
    assert settled(network, "passed", 4) == 4
    reload()
    assert [reply.data["slept"] for reply in replies(network, 4)] == [0.3] * 4
    assert slept(network) == -1


def test_a_request_whose_data_function_is_asked_meanwhile_sees_one_set(
    network: Network, plugins: Path, reload: Callable[[], None]
) -> None:
    """A filter that asks holds it up; it is judged by the agents that it met when it came."""
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
    asked = parse(select=f"pause('{flag}').done=true").to_data()
    send(network, request("odd", "lie", filter=asked))
    wait_until(flag.exists, 10)
    write(plugins)  # without `lie`
    reload()
    flag.unlink()
    assert "odd lie: does not match its DDL" in replies(network)[0].statusmsg


def test_the_registry_learns_of_a_reload_at_once(network: Network, plugins: Path, tmp_path: Path) -> None:
    """Not at the end of a heartbeat's period."""
    node, registry = network.nodes["web1"], MemoryRegistry()
    registration = Registration(registry, partial(record, node), 300)
    registration.start()
    load = partial(sets.load, [plugins], [plugins], tmp_path / "settings")
    reloading = Reloading(load, node, PolicyFile(tmp_path / "none"), registration, NOBODY)
    reloading.start()
    write(plugins)
    reloading.wake()
    try:
        wait_until(lambda: any(found.agents.get("odd") == "2" for found in registry.nodes()), 10)
    finally:
        registration.stop(5)
