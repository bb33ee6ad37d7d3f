"""A caller fetches the DDLs that it lacks from nodes, checks and keeps them, and a fetched DDL hides no failure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from collective.catalog import Catalog
from collective.clients import ddl_source
from collective.errors import NoResponse, UsageError
from collective.exit_codes import UNAVAILABLE, exit_code
from collective.fleet import ddl_cache, fetched_ddls
from collective.fleet.ddl_cache import FetchedDDLs, digest
from collective.fleet.fetched_ddls import fetch, is_accepted, most_common
from collective.fleet.fleet import Fleet
from collective.node.plugins.agents import LoadedAgents
from collective.registry import NodeRecord
from collective.testing import Network, memory_fleet


@pytest.fixture
def network(tmp_path: Path, plugins: Path) -> Iterator[Network]:
    """Two nodes with the agent `odd`, whose caller has the standard DDLs only."""
    with memory_fleet(tmp_path, {"web1": {}, "web2": {}}, code=[plugins], ddls=[plugins]) as network:
        yield network


def caller(network: Network, **config: Any) -> Fleet:
    return Fleet(replace(network.fleet.config, ddls=[], **config), network.transport, network.registry)


def cache(network: Network) -> FetchedDDLs:
    return FetchedDDLs(network.fleet.config.state, "testing")


def test_a_missing_ddl_is_fetched_once(network: Network) -> None:
    """The first call gets the DDL from a node; later ones use the kept file, without asking any node."""
    with caller(network) as fleet:
        path = fetch(fleet, cache(network), "odd")
        assert path is not None
        assert json.loads(path.read_text())["metadata"]["name"] == "odd"
        (entry,) = cache(network).entries().values()
        assert (entry["version"], path.parent.name) == ("1", entry["digest"])
        assert entry["node"] in ("web1", "web2")
        received = sum(node.statistics.requests["received"] for node in network.nodes.values())
        assert fetch(fleet, cache(network), "odd") == path
        assert sum(node.statistics.requests["received"] for node in network.nodes.values()) == received
        fleet.catalog.add_fetched("odd", path)
        assert len(fleet.call("odd", "sleep", {"seconds": 0}).wait().ok) == 2


def test_another_ddl_of_most_nodes_is_fetched_again(network: Network) -> None:
    """A kept DDL with another digest than that of most nodes is replaced."""
    with caller(network) as fleet:
        document = {"metadata": {"name": "odd", "description": "Old", "version": "0"}, "actions": {"sleep": {
            "description": "x", "input": {"type": "object"}, "output": {"type": "object"}}}}  # fmt: skip
        old = cache(network).store("odd", json.dumps(document), "0", "web1")
        path = fetch(fleet, cache(network), "odd")
        assert path is not None
        assert path != old
        assert cache(network).entries()["odd"]["version"] == "1"


def test_a_demanded_version_has_its_own_ddl(network: Network) -> None:
    """The DDL of `NAME@VERSION` is that of nodes with the version, if there are some; each is fetched once."""
    document = json.loads(network.nodes["web1"].agents["odd"].ddl.text)
    newer = json.dumps({**document, "metadata": {**document["metadata"], "version": "2.0"}})
    record = next(one for one in network.registry.read().records if one.identity == "web1")
    changed = replace(record, agents={**record.agents, "odd": "2.0"}, ddls={**record.ddls, "odd": digest(newer)})
    network.registry.put(changed)
    data = {"agent": "odd", "version": "2.0", "digest": digest(newer), "ddl": newer}
    node = network.nodes["web1"]
    later = replace(node.agents["rpcutil"], functions={"get_ddl": lambda agent: {**data, "agent": agent}})
    node.use(replace(node.plugins, agents=LoadedAgents({**node.agents, "rpcutil": later})))
    with caller(network) as fleet:
        for agent, version in (("odd@>=2", "2.0"), ("odd@<2", "1"), ("odd@>=2", "2.0"), ("odd@>=3", "1")):
            path = fetch(fleet, cache(network), agent)
            assert path is not None
            assert json.loads(path.read_text())["metadata"]["version"] == version, agent
        received = sum(node.statistics.requests["received"] for node in network.nodes.values())
    assert received == 2


def test_a_kept_ddl_that_was_changed_is_fetched_again(network: Network) -> None:
    """A file in the cache is used only if it has its digest."""
    with caller(network) as fleet:
        path = fetch(fleet, cache(network), "odd")
        assert path is not None
        text = path.read_text()
        path.write_text(text.replace('"version": "1"', '"version": "6"') + " ")
        assert fetch(fleet, cache(network), "odd") == path
        assert path.read_text() == text


def test_one_node_cannot_outvote_another() -> None:
    """Of two DDLs that are equally common the kept one is used. If neither is kept, nothing is fetched."""
    honest, other = NodeRecord("web1", "1", ddls={"odd": "a"}), NodeRecord("evil", "1", ddls={"odd": "f"})
    for kept in ("a", "f"):
        assert most_common([honest, other], "odd", kept)[0] == kept
    assert most_common([honest, honest, other], "odd", "f")[0] == "a"
    with pytest.raises(UsageError, match="the nodes have 2 different ones"):
        most_common([honest, other], "odd", "")


def test_only_ddls_of_accepted_nodes_are_fetched(network: Network) -> None:
    """`ddl_nodes` has names and patterns; an agent that no node has is unknown."""
    with caller(network, ddl_nodes=["db*"]) as fleet, pytest.raises(UsageError) as caught:
        fetch(fleet, cache(network), "odd")
    assert str(caught.value) == "the DDL of 'odd' cannot be fetched: 2 nodes with it, none in ddl_nodes"
    with caller(network) as fleet:
        assert fetch(fleet, cache(network), "unknown") is None
    assert is_accepted("web1.my.net", ["db1", "*.my.net"])
    assert not is_accepted("web1.my.net.evil", ["*.my.net"])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"ddl": "{}", "digest": "0"}, "does not match its digest"),
        ({"ddl": "{", "digest": ddl_cache.digest("{")}, "not valid JSON"),
        ({"ddl": '{"a": NaN}', "digest": ddl_cache.digest('{"a": NaN}')}, "NaN is not JSON"),
        ({"ddl": '["\\ud800"]', "digest": ddl_cache.digest('["\\ud800"]')}, "unpaired surrogate"),
        ({"ddl": "{}", "digest": ddl_cache.digest("{}")}, "'metadata' is a required property"),
    ],
)
def test_a_ddl_that_is_not_valid_is_not_kept(network: Network, data: dict[str, Any], message: str) -> None:
    """What a node sends is checked before it is kept, and the error names the node."""
    node = network.nodes["web1"]
    loaded = node.agents["rpcutil"]

    def get_ddl(agent: str) -> dict[str, Any]:
        return {"agent": agent, "version": "1", **data}

    lying = replace(loaded, functions={**loaded.functions, "get_ddl": get_ddl})
    node.use(replace(node.plugins, agents=LoadedAgents({**node.agents, "rpcutil": lying})))
    with caller(network, ddl_nodes=["web1"]) as fleet, pytest.raises(UsageError) as caught:
        fetch(fleet, cache(network), "odd")
    assert message in str(caught.value)
    assert "web1: " in str(caught.value)
    assert cache(network).entries() == {}


def test_a_node_cannot_send_another_ddl_than_the_registry_lists(network: Network) -> None:
    """A node that lists the DDL of most nodes and sends another one is refused; another node is asked."""
    node = network.nodes["web1"]
    other = {**json.loads(node.agents["odd"].ddl.text), "metadata": {"name": "odd", "description": "x", "version": "9"}}
    text = json.dumps(other)
    data = {"version": "9", "digest": ddl_cache.digest(text), "ddl": text}
    lying = replace(node.agents["rpcutil"], functions={"get_ddl": lambda agent: {**data, "agent": agent}})
    node.use(replace(node.plugins, agents=LoadedAgents({**node.agents, "rpcutil": lying})))
    with caller(network, ddl_nodes=["web1"]) as fleet, pytest.raises(UsageError) as caught:
        fetch(fleet, cache(network), "odd")
    assert "web1: the DDL is not the one that the registry lists for this node" in str(caught.value)
    assert cache(network).entries() == {}


def test_a_fetched_ddl_cannot_hide_failures(tmp_path: Path) -> None:
    """`display: ok` of a fetched DDL counts as `always`; that of a local DDL is the caller's decision."""
    path = tmp_path / "quiet.json"
    action = {"description": "x", "display": "ok", "input": {"type": "object"}, "output": {"type": "object"}}
    metadata = {"name": "quiet", "description": "x", "version": "1"}
    path.write_text(json.dumps({"metadata": metadata, "actions": {"go": action}}))
    catalog = Catalog()
    catalog.add_fetched("quiet", path)
    assert catalog.action("quiet", "go").display == "always"
    assert Catalog([tmp_path]).action("quiet", "go").display == "ok"


def test_nodes_that_do_not_answer_are_not_a_usage_error(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that only dead nodes have is not unknown: the exit code is 69."""
    monkeypatch.setattr(fetched_ddls, "_SECONDS", 0.2)
    for node in network.nodes.values():
        node.stop(1)
    with caller(network) as fleet, pytest.raises(NoResponse) as caught:
        fetch(fleet, cache(network), "odd")
    assert str(caught.value).startswith("the DDL of 'odd' cannot be fetched: web")
    assert exit_code(caught.value) == UNAVAILABLE


def test_the_error_about_an_unknown_agent_names_the_setting(network: Network) -> None:
    """The error names the setting `ddl_source: local`, because the agent may be one of the nodes."""
    config = replace(network.fleet.config, ddls=[], ddl_source="local")
    catalog = Catalog()
    ddl_source.complete(catalog, config, "odd")
    with pytest.raises(UsageError, match=r"unknown agent 'odd' .*'ddl_source' of client.yaml is 'local'"):
        catalog.ddl("odd")
