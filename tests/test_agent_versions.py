"""A call can demand a version of an agent; a node with another one refuses and says what it has."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.node_server import call_node, request

from collective.agent_versions import satisfies, split
from collective.errors import UsageError
from collective.testing import Network


@pytest.mark.parametrize(
    ("version", "demand", "expected"),
    [
        ("1.2", ">=1.2", True),
        ("1.2.0", "1.2", True),
        ("1.10", ">1.9", True),
        ("1.2.3-beta", ">=1.2.3", True),
        ("v2", ">=1", True),
        ("1.2", ">=1.2,<2", True),
        ("2", ">=1.2,<2", False),
        ("1.2", "!=1.2", False),
        ("1.1.9", ">= 1.2", False),
        ("unknown", ">=0", False),
        ("1.2", "", False),
        ("1.2", "~1", False),
    ],
)
def test_versions_are_compared_number_by_number(version: str, demand: str, expected: bool) -> None:
    """1.10 is newer than 1.9; a version that cannot be read is never the demanded one."""
    assert satisfies(version, demand) is expected


@pytest.mark.parametrize("agent", ["package@", "package@new", "package@>=1.2;", "package@1.2.x", "package@>=1,,2"])
def test_a_demand_that_cannot_be_read_is_refused(agent: str) -> None:
    """The error names the agent and shows the form; nothing is sent."""
    with pytest.raises(UsageError, match=r"invalid version '.*' of the agent 'package': use '@>=1.2'"):
        split(agent)


def test_a_node_with_another_version_refuses_and_says_what_it_has(network: Network) -> None:
    """The action does not run, and the reply has a reason that programs can read."""
    good = next(iter(network.fleet.call("odd@>=1,<2", "sleep", {"seconds": 0})))
    assert (good.statuscode, good.data) == (0, {"slept": 0})
    refused = next(iter(network.fleet.call("odd@>=1.5", "sleep", {"seconds": 0})))
    assert (refused.statuscode, refused.reason) == (2, "other_version")
    assert refused.statusmsg == "odd: version '>=1.5' demanded, this node has 1"


def test_the_inventory_has_versions_and_digests(network: Network, plugins: Path) -> None:
    """The digest identifies the content of a DDL, whatever its spaces are."""
    agents = {one["agent"]: one for one in call_node(network, request("rpcutil", "agent_inventory")).data["agents"]}
    assert agents["odd"]["version"] == "1"
    document = json.loads((plugins / "odd.json").read_text())
    (plugins / "odd.json").write_text(json.dumps(document, indent=4))
    from collective import ddl

    assert ddl.read(plugins / "odd.json").digest == agents["odd"]["digest"]
    assert len(agents["odd"]["digest"]) == 64
