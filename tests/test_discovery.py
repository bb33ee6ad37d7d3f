"""Discovery from the registry: which nodes are expected, and why other nodes are silent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from collective import filters
from collective.config import ClientConfig
from collective.errors import NoNodes, UsageError
from collective.fleet import discovery, silence
from collective.fleet.discovery import Candidates
from collective.fleet.fleet import Fleet
from collective.fleet.node_sets import CombinedNodes, ListedNodes, MatchingNodes
from collective.fleet.targets import Targets
from collective.registry import Contents, NodeRecord
from collective.registry.memory import MemoryRegistry
from collective.transport.memory import MemoryTransport

NOW = 1_000_000.0
WEB = Targets.select(["role=web"])


class Known(MemoryRegistry):
    """A registry with the given records, at the time NOW."""

    def __init__(self, *records: NodeRecord) -> None:
        super().__init__(clock=lambda: NOW)
        self._records = {record.identity: record for record in records}


def node(identity: str, **changes: object) -> NodeRecord:
    plain = NodeRecord(identity, "1.0", {"role": "web"}, agents={"package": "1"}, period=60.0, last_seen=NOW - 10)
    return replace(plain, **changes)  # type: ignore[arg-type]


def found(*records: NodeRecord, targets: Targets = WEB, invalid: Mapping[str, str] | None = None) -> Candidates:
    """Return the candidates for the agent `package` in a registry with these records; `revoked1` is revoked."""
    contents = Contents(list(records), invalid or {})
    return discovery.candidates(contents, NOW, targets, "package", lambda record: record.identity == "revoked1")


def test_nodes_that_are_alive_and_match_and_have_the_agent_are_expected() -> None:
    """A node that could match and cannot be asked is named with the reason; a stopped one is not expected."""
    everything = found(
        node("web2"),
        node("web1"),
        node("db1", facts={"role": "db"}),
        node("left", left=NOW - 5),
        node("stale", last_seen=NOW - 181),
        node("staledb", last_seen=NOW - 181, facts={"role": "db"}),
        node("bare", agents={}),
        node("broken", agents={}, refused={"package": "package.py: no DDL"}),
        node("revoked1"),
        invalid={"odd1": "agents: must be an object"},
    )
    assert sorted(everything.matching) == ["web1", "web2"]
    assert everything.undecided == []
    assert everything.not_asked == {
        "stale": "last seen 3 minutes ago",
        "broken": "its agent 'package' failed to load: package.py: no DDL",
        "revoked1": "its key is revoked",
        "odd1": "invalid record in the registry: agents: must be an object",
    }


def test_only_named_nodes_are_accounted_for() -> None:
    """A list of names, or identities in the filter, limit which nodes can be missing."""
    stale = [node(name, last_seen=NOW - 181) for name in ("web1", "web2")]
    named = found(*stale, targets=Targets.select(nodes=["web1"]), invalid={"odd1": "x", "web2": "x"})
    assert list(named.not_asked) == ["web1"]
    pattern = found(*stale, targets=Targets.select(identities=["/1$/"]), invalid={"odd1": "x", "odd2": "x"})
    assert list(pattern.not_asked) == ["web1", "odd1"]


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ((), "no node is alive in the registry"),
        ((node("db1", facts={"role": "db"}),), "no node matches the filter (1 node alive)"),
        ((node("web1", agents={}),), "none of the matching nodes has the agent 'package' (1 node)"),
        ((node("revoked1"),), "no node that matches the filter can be asked"),
    ],
)
def test_an_empty_result_is_explained(records: tuple[NodeRecord, ...], message: str) -> None:
    """There is a reason why no node is expected."""
    assert found(*records).why_none == message


@pytest.mark.parametrize("name", ["WEB1", "web1.", "Web1", "wbe1"])
def test_a_name_that_no_node_has_gets_a_suggestion(name: str) -> None:
    """The closest registered name is suggested, also for capitals and for the final dot of a full name."""
    absent = found(node("web1"), targets=Targets.select(identities=[name])).absent
    assert absent == {name: "not in the registry (did you mean 'web1'?)"}


def test_named_nodes_that_are_absent_are_reported() -> None:
    """Named nodes that do not exist or have stopped are in `absent`; those that do not match are not."""
    records = (node("web1"), node("db1", facts={"role": "db"}), node("web9", left=NOW - 5))
    targets = Targets.select(["role=web"], identities=["web1", "db1", "web9", "/^x/"])
    several = found(*records, targets=targets, invalid={"odd1": "x"})
    assert (several.matching, several.absent) == (["web1"], {"web9": "stopped cleanly 5 s ago"})
    listed = Targets.select(["role=web"], identities=["web1", "mail"], nodes=["web1", "mail", "other"])
    assert found(*records, targets=listed).absent == {"mail": "not in the registry"}


def test_stale_nodes_of_a_group_stay_in_the_account(tmp_path: Path) -> None:
    """A group with a filter keeps the nodes that cannot be asked, also when names are looked up or filters added."""
    registry = Known(node("web1"), node("web2", last_seen=NOW - 400), node("db1", facts={"role": "db"}))
    fleet = Fleet(ClientConfig("testing", state=tmp_path), MemoryTransport(), registry)
    group = MatchingNodes(WEB.filter)
    for targets in (Targets(sets=group), Targets(filters.parse(with_fact=["role=web"]), sets=group)):
        several = fleet.find(targets, "package", verify=True)
        assert (several.nodes, list(several.not_asked)) == (("web1",), ["web2"])
    named = CombinedNodes(",", group, ListedNodes(("mail",)))
    assert fleet.find(Targets(sets=named), "package", verify=True).absent == {"mail": "not in the registry"}


def test_nodes_that_were_asked_are_counted() -> None:
    """Where only the nodes can tell, as with data functions, an empty result does not blame the agent."""
    targets = Targets.select(expression="fstat('/x').present=true")
    assert found(node("web1"), node("web2"), targets=targets).why_none == "no node matches the filter (2 nodes asked)"


def test_the_error_without_nodes_names_those_that_were_not_asked(tmp_path: Path) -> None:
    """NoNodes has the reason, and the nodes that may be missing."""
    registry = Known(node("web1", last_seen=NOW - 400), node("db1", facts={"role": "db"}))
    fleet = Fleet(ClientConfig("testing", state=tmp_path), MemoryTransport(), registry)
    with pytest.raises(NoNodes) as caught:
        fleet.discover(WEB, "package")
    assert str(caught.value) == (
        "no node matches the filter (1 node alive); 1 node not asked, last seen 7 minutes ago: web1"
    )


def test_two_machines_with_one_identity_are_reported() -> None:
    """The caller gets a warning, and discovery continues."""
    both = found(node("web1", contested=NOW - 60), node("web2", contested=NOW - 1000))
    assert (sorted(both.matching), both.contested) == (["web1", "web2"], ["web1"])


def test_a_slow_regular_expression_is_refused() -> None:
    """The time limit is for all nodes together, not for each of them."""
    records = [node(f"web{number}", facts={"role": "a" * 40}) for number in range(50)]
    with pytest.raises(UsageError, match="simplify them"):
        found(*records, targets=Targets.select(facts=["role=/^(a|aa)+$b/"]))


@pytest.mark.parametrize(
    ("targets", "matching", "undecided"),
    [
        (Targets.select(expression="fstat('/x').size>0"), [], ["cut1", "db1", "web1"]),
        (Targets.select(["role=web"], expression="fstat('/x').size>0"), [], ["cut1", "web1"]),
        (Targets.select(expression="role=web and not fstat('/x').size>0"), [], ["cut1", "web1"]),
        (Targets.select(expression="role=db or fstat('/x').size>0"), [], ["cut1", "db1", "web1"]),
        (Targets.select(["role=web"]), ["web1"], ["cut1"]),
        (Targets.select(["cpus=4"]), ["cut1"], []),
        (Targets.select(["cpus=8"]), [], []),
        (Targets.select(expression="not role=web"), ["db1"], ["cut1"]),
        (Targets.select(expression="cpus=4 or role=web"), ["cut1", "web1"], []),
        (Targets.select(classes=["apache"]), [], []),
        (Targets.select(), ["cut1", "db1", "web1"], []),
        (Targets(method="broadcast"), [], ["cut1", "db1", "web1"]),
    ],
)
def test_nodes_that_the_registry_cannot_decide_are_asked(
    targets: Targets, matching: list[str], undecided: list[str]
) -> None:
    """Nodes evaluate filters with data functions, and with facts that did not fit into the registry."""
    records = (
        node("web1"),
        node("db1", facts={"role": "db"}),
        node("cut1", facts={"cpus": 4}, omitted={"facts": 9000}),
    )
    decided = found(*records, targets=targets)
    assert (sorted(decided.matching), sorted(decided.undecided)) == (matching, undecided)


def test_classes_that_did_not_fit_are_asked_for() -> None:
    """A node whose classes are incomplete decides itself."""
    cut = node("cut1", omitted={"classes": 5})
    assert found(cut, targets=Targets.select(classes=["apache"])).undecided == ["cut1"]
    assert found(cut, targets=Targets.select(["role=web"])).matching == ["cut1"]


def test_the_registry_explains_silent_nodes() -> None:
    """A clean stop, a long absence, an invalid record, an old version and an unknown name are reported."""
    records = [
        node("left", left=NOW - 125),
        node("stale", last_seen=NOW - 4 * 86400),
        node("here"),
        node("old", version="0.1.0"),
        node("next", version="0.10.0rc1"),
    ]
    contents = Contents(records, {"odd": "facts: missing"})
    assert silence.by_registry(contents, NOW, ["left", "stale", "here", "never", "odd", "old", "next"]) == {
        "old": "it runs collective 0.1.0, which does not support the message format 2 of this caller (upgrade the node "
        "to 0.2.0 or later)",
        "left": "stopped cleanly 2 minutes ago",
        "stale": "last seen 4 days ago",
        "never": "not in the registry",
        "odd": "invalid record in the registry: facts: missing",
    }


def test_missing_nodes_are_grouped_by_reason() -> None:
    """Names are folded and cleaned, and many lines are cut."""
    reasons = {"node03.lab": "last seen 84 s ago", "node04.lab": "last seen 84 s ago", "a\x1b": "invalid"}
    assert silence.not_asked_lines(reasons) == [
        "1 node not asked, invalid: a\\x1b",
        "2 nodes not asked, last seen 84 s ago: node[03-04].lab",
    ]
    assert silence.not_evaluated_lines({"node05.lab": "no data function 'cert'"}) == [
        "1 node could not evaluate the filter: node05.lab (no data function 'cert')"
    ]
    assert silence.not_asked_lines({f"n{number}": str(number) for number in range(50)})[-1] == (
        "30 more lines about missing nodes (use --json)"
    )


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
    assert Targets.select(identities=identities, nodes=given or None).only_names == expected
