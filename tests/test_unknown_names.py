"""A name in a filter that no node has is reported with a suggestion, instead of only 'no node matches'."""

from __future__ import annotations

from typing import Any

import pytest

from collective import Pace
from collective.filters import parse
from collective.fleet.call_checks import pace_facts
from collective.fleet.unknown_names import mistyped_fact, unknown_names
from collective.registry import NodeRecord
from collective.registry.memory import MemoryRegistry

RECORDS = [
    NodeRecord("web1", "1", facts={"role": "web", "os": {"name": "debian"}, "idle": False}, classes=("apache",)),
    NodeRecord("db1", "1", facts={"role": "db"}, agents={"package": "1"}),
]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"with_fact": ["role=mail"]}, ""),
        ({"with_fact": ["idle=true"]}, ""),
        ({"with_fact": ["role=wbe"]}, "no node has role=wbe: did you mean 'web'?"),
        ({"select": "os.name=debain and role=web"}, "no node has os.name=debain: did you mean 'debian'?"),
        ({"with_fact": ["role!=wbe"]}, ""),
        ({"with_fact": ["role=/wbe/"]}, ""),
        ({"with_fact": ["rol=web"]}, "no node has the fact 'rol': did you mean 'role'?"),
        ({"with_fact": ["rol!=web"]}, "no node has the fact 'rol': did you mean 'role'?"),
        ({"with_fact": ["os.nam=debian"]}, "no node has the fact 'os.nam': did you mean 'os.name'?"),
        ({"with_fact": ["xyz=1"]}, "no node has the fact 'xyz'"),
        ({"with_class": ["apach"]}, "no node has the class 'apach': did you mean 'apache'?"),
        ({"with_class": ["/apach$/"]}, ""),
        ({"with_agent": ["pakage"]}, "no node has the agent 'pakage': did you mean 'package'?"),
        ({"select": "role=web and (not rol=db or apache)"}, "no node has the fact 'rol': did you mean 'role'?"),
        ({"select": "role=web and apachee"}, "no node has the class 'apachee': did you mean 'apache'?"),
        ({"with_": ["apach role=web"]}, "no node has the class 'apach': did you mean 'apache'?"),
    ],
)
def test_the_first_unknown_name_is_reported(options: dict[str, Any], expected: str) -> None:
    """Facts, classes and agents in all target options; regular expressions are not names."""
    assert unknown_names(parse(**options), RECORDS) == expected


def test_a_record_that_lacks_facts_may_have_the_name() -> None:
    """Nothing is claimed when the registry could not store everything."""
    records = [*RECORDS, NodeRecord("big1", "1", omitted={"facts": 1})]
    assert unknown_names(parse(with_fact=["rol=web"]), records) == ""


@pytest.mark.parametrize(("fact", "expected"), [("rol", "role"), ("os.nam", "os.name"), ("role", ""), ("az", "")])
def test_a_mistyped_fact_of_a_rollout_is_refused(fact: str, expected: str) -> None:
    """Without a fact that was probably meant, nodes without it are one group, and this is only reported."""
    text = f"no node has the fact '{fact}' (did you mean '{expected}'?)" if expected else ""
    assert mistyped_fact(fact, RECORDS) == text


@pytest.mark.parametrize(
    ("order", "expected"),
    [("role=db,wb", ["no node has role=wb (did you mean 'web'?)"]), ("role=db,web", []), ("role=db,mail", [])],
)
def test_a_mistyped_value_that_orders_a_rollout_is_reported(
    order: str, expected: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """A value that no node has may be right, so it is not refused; without a similar one there is no warning."""
    registry = MemoryRegistry()
    for record in RECORDS:
        registry.put(record)
    assert pace_facts(registry, ["web1"], Pace(order_by=order))["web1"]["role"] == "web"
    assert [record.__dict__["error"] for record in caplog.records] == expected
