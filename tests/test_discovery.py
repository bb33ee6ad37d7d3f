"""Discovery from the registry: which nodes are expected, and why other nodes are silent."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from collective.errors import NoNodes, UsageError
from collective.filters import Filter, parse
from collective.fleet import discovery
from collective.fleet.targets import Targets
from collective.registry import NodeRecord
from collective.registry.memory import MemoryRegistry

NOW = 1_000_000.0


class Known(MemoryRegistry):
    """A registry with the given records, at the time NOW."""

    def __init__(self, *records: NodeRecord) -> None:
        super().__init__(clock=lambda: NOW)
        self._records = {record.identity: record for record in records}


def node(identity: str, **changes: object) -> NodeRecord:
    plain = NodeRecord(identity, "1.0", {"role": "web"}, agents={"package": "1"}, period=60.0, last_seen=NOW - 10)
    return replace(plain, **changes)  # type: ignore[arg-type]


def test_nodes_that_are_alive_and_match_and_have_the_agent_are_expected() -> None:
    """The expected nodes are sorted by name."""
    registry = Known(
        node("web2"),
        node("web1"),
        node("db1", facts={"role": "db"}),
        node("left", left=NOW - 5),
        node("stale", last_seen=NOW - 181),
        node("bare", agents={}),
    )
    assert discovery.from_registry(registry, parse(with_fact=["role=web"]), "package") == ["web1", "web2"]


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ((), "no node is alive in the registry"),
        ((node("db1", facts={"role": "db"}),), "no node matches the filter (1 node alive)"),
        ((node("web1", agents={}),), "none of the matching nodes has the agent 'package' (1 node)"),
        (
            (node("web1", agents={}, refused={"package": "package.py: no DDL"}),),
            "no node has the agent 'package': it failed to load on web1: package.py: no DDL",
        ),
    ],
)
def test_an_empty_result_is_explained(records: tuple[NodeRecord, ...], message: str) -> None:
    """NoNodes contains the reason why no node is expected."""
    with pytest.raises(NoNodes) as refused:
        discovery.from_registry(Known(*records), parse(with_fact=["role=web"]), "package")
    assert str(refused.value) == message


def test_two_machines_with_one_identity_are_reported(caplog: pytest.LogCaptureFixture) -> None:
    """The caller gets a warning, and discovery continues."""
    registry = Known(node("web1", contested=NOW - 60), node("web2", contested=NOW - 1000))
    with caplog.at_level(logging.WARNING):
        assert discovery.from_registry(registry, Filter(), "package") == ["web1", "web2"]
    assert [vars(record)["error"] for record in caplog.records] == ["two machines use the identity 'web1'"]


def test_a_slow_regular_expression_is_refused() -> None:
    """The time limit is for all nodes together, not for each of them."""
    registry = Known(*(node(f"web{number}", facts={"role": "a" * 40}) for number in range(50)))
    with pytest.raises(UsageError, match="simplify them"):
        discovery.from_registry(registry, parse(with_fact=["role=/^(a|aa)+$b/"]), "package")


def test_the_registry_explains_silent_nodes() -> None:
    """A clean stop, a long absence and an unknown name are reported; nodes that are alive are omitted."""
    records = [node("left", left=NOW - 125), node("stale", last_seen=NOW - 4 * 86400), node("here")]
    registry = Known(*records, node("old", version="0.1.0"), node("next", version="0.10.0rc1"))
    assert discovery.why_silent(registry, ["left", "stale", "here", "never", "old", "next"]) == {
        "old": "it runs collective 0.1.0, which does not support the message format 2 of this caller (upgrade the node "
        "to 0.2.0 or later)",
        "left": "stopped cleanly 2 minutes ago",
        "stale": "last seen 4 days ago",
        "never": "not in the registry",
    }


@pytest.mark.parametrize(
    ("identities", "given", "expected"),
    [
        (["web1", "web2"], (), ["web1", "web2"]),
        (["web1", "web2"], ("web2", "web3"), ["web2"]),
        (["/web/"], (), None),
        ([], ("web1",), ["web1"]),
        ([], (), None),
    ],
)
def test_targets_that_are_names_need_no_discovery(
    identities: list[str], given: tuple[str, ...], expected: list[str] | None
) -> None:
    """Literal identities and a list of names are combined, and patterns need discovery."""
    assert discovery.named(Targets.select(identities=identities, nodes=given or None)) == expected
