"""The cases of the agents that run inside the daemon and change it: control and plugins."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.agent_cases import assert_same, load, perform
from support.node_server import REPLIES, call_node, request
from support.pushed_plugins import CODE, StoringNode, plugin
from support.waiting import wait_until

from collective import bundles
from collective.agents import plugins as plugins_agent
from collective.fleet.background import Background
from collective.messages import Reply
from collective.node.plugins.store import PluginStore
from collective.testing import Network, memory_fleet

CONTROL, PLUGINS = load("control"), load("plugins")
ALICE = "alice@example.com"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """One node for all cases: each case has callers of its own."""
    with memory_fleet(tmp_path_factory.mktemp("node"), {"web1": {}}) as network:
        network.transport.open_replies(REPLIES)
        yield network


@pytest.fixture
def network(node: Network) -> Iterator[Network]:
    """That node, which is not frozen afterwards."""
    yield node
    assert ask(node, {"action": "thaw", "data": {}})[1].statuscode == 0


def ask(network: Network, step: dict[str, Any], dry_run: bool = False) -> tuple[str, Reply]:
    """Send the request of a step; return its id and the reply."""
    changes: dict[str, Any] = {name: step[name] for name in ("caller", "id") if name in step}
    critical = ["dry_run"] if dry_run else []
    if "job" in step:
        changes["job"] = Background(**step["job"]).to_data()
        critical.append("job")
    message = request(
        *(step.get("agent", "control"), step["action"]),
        data=step["data"],
        dry_run=dry_run,
        critical=tuple(critical),
        **changes,
    )
    return message.id, call_node(network, message)


def compare(step: dict[str, Any], reply: Reply) -> None:
    """Compare a reply with what the step expects; `least` is a number of jobs."""
    for key, wanted in step.get("expected", {}).items():
        assert_same(key, wanted, getattr(reply, key))
    if "least" in step:
        assert len(reply.data["jobs"]) >= step["least"]


@pytest.mark.parametrize("case", CONTROL, ids=[case["id"] for case in CONTROL])
def test_cases_of_control(case: dict[str, Any], network: Network) -> None:
    """Each case in tests/cases/control has the expected reply, and the node is as expected afterwards.

    `before` are requests that are sent first; @JOB@ is the id of the last one. With `running` it has begun.
    """
    case = json.loads(json.dumps({"caller": ALICE, **case}).replace("@example.com", f"@{case['id']}.example"))
    job = ""
    caller = case["caller"]
    for step in case.get("before", []):
        job, accepted = ask(network, {"caller": caller, **step})
        assert accepted.statuscode == 0
    if case.get("running"):
        look = {"caller": caller, "action": "result", "data": {"id": job}}
        wait_until(lambda: ask(network, look)[1].data["state"] == "running", 30)
    case = json.loads(json.dumps(case).replace("@JOB@", job))
    asked = {name: case[name] for name in ("caller", "action", "data")}
    compare(case, ask(network, asked, case.get("dry_run", False))[1])
    for step in case.get("then", []):
        compare(step, ask(network, {"caller": caller, **step})[1])


@dataclass
class StoreOfPlugins:
    """What the agent `plugins` uses of the daemon."""

    plugins: PluginStore


@pytest.mark.parametrize("case", PLUGINS, ids=[case["id"] for case in PLUGINS])
def test_cases_of_plugins(case: dict[str, Any], tmp_path: Path) -> None:
    """Each case in tests/cases/plugins has the expected reply, and the expected version serves afterwards.

    `installed` are the versions of the agent `extra` that were pushed before, `push` the one that is pushed now.
    """
    node = StoringNode(tmp_path / "state")
    for version in case.get("installed", []):
        node.push(plugin(tmp_path / "plugin", version))
    if "push" in case:
        folder = plugin(tmp_path / "pushed", case["push"], name=case.get("name", "extra"), code=case.get("code", CODE))
        text = bundles.pack(folder).text()
        case["data"] = {"bundle": text, "digest": bundles.digest(text), **case.get("data", {})}
    perform(plugins_agent, {**case, "node": StoreOfPlugins(node.store)})
    serving = node.version() if "extra" in node.serving.agents else None
    assert serving == case["serving"]
