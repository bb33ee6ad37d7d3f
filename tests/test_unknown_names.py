"""A name in a filter that no node has is reported with a suggestion, instead of only 'no node matches'."""

from __future__ import annotations

from typing import Any

import pytest

from collective.filters import parse
from collective.fleet.unknown_names import unknown_names
from collective.registry import NodeRecord

RECORDS = [
    NodeRecord("web1", "1", facts={"role": "web", "os": {"name": "debian"}, "idle": False}, classes=("apache",)),
    NodeRecord("db1", "1", facts={"role": "db"}, agents={"package": "1"}),
]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"with_fact": ["role=mail"]}, ""),
        ({"with_fact": ["idle=true"]}, ""),
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
    """Facts, classes and agents in all target options; regular expressions and values are not names."""
    assert unknown_names(parse(**options), RECORDS) == expected


def test_a_record_that_lacks_facts_may_have_the_name() -> None:
    """Nothing is claimed when the registry could not store everything."""
    records = [*RECORDS, NodeRecord("big1", "1", omitted={"facts": 1})]
    assert unknown_names(parse(with_fact=["rol=web"]), records) == ""
