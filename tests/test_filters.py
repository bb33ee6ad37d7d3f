"""Filters match nodes: MCollective's own cases, values and paths of facts, data functions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support.machine import Machine, hits, of_fact

from collective.errors import UsageError
from collective.filters import (
    ClassTest,
    DataTest,
    FactTest,
    Filter,
    leaves,
    matches,
    parse,
    select_text,
    uses_data,
)

CASES = Path(__file__).parent / "cases" / "filters"
FILES = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in CASES.glob("*.json")}


def cases(group: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in FILES[group]["cases"]])


@cases("fact_parse")
def test_facts_are_parsed_as_in_mcollective(case: Any) -> None:
    """Each spelling of a fact has the expected name, operator and value."""
    expected = case["expected"]
    if "error" in expected:
        with pytest.raises(UsageError, match="column"):
            parse(with_fact=[case["input"]["string"]])
        return
    assert parse(with_fact=[case["input"]["string"]]).to_data()["facts"] == [expected]


@cases("fact_filter")
def test_facts_are_compared_as_in_mcollective(case: Any) -> None:
    """The value of a fact matches an operator and a value as expected."""
    given_ = case["input"]
    assert of_fact(given_["fact_value"], given_["operator"], given_["value"]) is case["expected"]


@cases("identity_filter")
def test_one_matching_identity_is_enough(case: Any) -> None:
    """One of several identities must match the node, by name or expression."""
    filter_ = parse(with_identity=case["input"]["filters"])
    assert hits(filter_, Machine(identity=case["input"]["identity"])) is case["expected"]


@cases("class_filter")
def test_all_classes_are_required(case: Any) -> None:
    """The node must have all classes, by name or expression."""
    filter_ = parse(with_class=case["input"]["filters"])
    assert hits(filter_, Machine(classes=case["input"]["classes"] or ())) is case["expected"]


@cases("agent_filter")
def test_all_agents_are_required(case: Any) -> None:
    """The node must have all agents, by name or expression."""
    filter_ = parse(with_agent=case["input"]["filters"])
    assert hits(filter_, Machine(agents=case["input"]["agents"])) is case["expected"]


@cases("combined_filter")
def test_different_kinds_are_all_required(case: Any) -> None:
    """Facts, classes, agents and identities must all match."""
    wanted = case["input"]["filter"]
    filter_ = Filter.from_data(
        {
            "facts": wanted.get("fact", []),
            "classes": wanted.get("cf_class", []),
            "agents": wanted.get("agent", []),
            "identities": wanted.get("identity", []),
            "select": None,
        }
    )
    assert hits(filter_, Machine(**case["input"]["node"])) is case["expected"]


@cases("combined_filter_option")
def test_the_combined_option_is_split_at_whitespace(case: Any) -> None:
    """Words with an operator after a name are facts, all others classes."""
    data = parse(with_=[case["input"]["argument"]]).to_data()
    assert {"fact": data["facts"], "cf_class": data["classes"]} == case["expected"]


@cases("compound_filter")
def test_select_expressions(case: Any) -> None:
    """A select expression matches the example node, or is refused by the caller."""
    if case["expected"] == {"error": "parse"}:
        with pytest.raises(UsageError, match="column"):
            parse(select=case["input"]["filter"])
        return
    node = Machine(**FILES["compound_filter"]["node_a"])
    assert hits(parse(select=case["input"]["filter"]), node) is case["expected"]


@pytest.mark.parametrize(
    ("value", "operator", "wanted", "expected"),
    [
        (4, "==", "4", True),
        (4.0, "==", "4", True),
        (4, "!=", "4.0", False),
        (16.5, ">", "9", True),
        (True, "==", "true", True),
        (True, "!=", "1", True),
        (False, "=~", "^fal", True),
        ("1.10", "==", "1.1", False),
        ("9007199254740993", ">", "9007199254740992", True),
        ("b", "!=", "/b/", False),
        ("b", "!=", "/c/", True),
        ("/var/", "==", "/var/", True),
        ("FOO", "=~", "(?i)foo", True),
        ([1, None, ["x"]], "!=", "1", False),
        ([], "!=", "1", False),
        ({}, "!=", "1", False),
        (float("nan"), ">", "1", False),
        pytest.param(10**5000, ">", "1", True, id="long-number"),
        pytest.param(10**5000, "=~", "^10", True, id="long-number-text"),
    ],
)
def test_values_of_json_and_yaml_types(value: Any, operator: str, wanted: str, expected: bool) -> None:
    """Numbers compare as numbers, booleans by their JSON form, lists by element; unusual values raise no error."""
    assert of_fact(value, operator, wanted) is expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("os.family=Debian", True),
        ("os.name.0=deb", True),
        ("os.name.1.x=7", True),
        ("os.name.2=deb", False),
        ("os.name.x=deb", False),
        ("os.family.x=Debian", False),
        ("os=family", True),
        ("a.b=top", True),
        ("a.b=nested", False),
        ("none!=1", False),
        ("nosuch.path!=1", False),
        ("net.if.ens1f0.4001.ip=10.0.0.1", True),
        ('net.if."ens1f0.4001".ip=10.0.0.1', True),
        ('net.if."ens1f0".ip=10.0.0.2', True),
        ("net.if.ens1f0.ip=10.0.0.2", True),
        ("net.if.ens1f0.4001.ips.1=b", True),
        ("net.if.ens1f0.mtu=9000", True),
        ('net."if.ens1f0".ip=10.0.0.2', False),
        ('"a.b"=top', True),
        ('a."b"=nested', True),
        ('label."app = web".x=1', True),
        ('label."it""s".x=1', True),
        ('label."nosuch".x=1', False),
        ('os.name."0"=deb', False),
        ("long.er.x=1", True),
        ("null.dots!=1", False),
    ],
)
def test_paths_reach_nested_facts(expression: str, expected: bool) -> None:
    """Dots step into mappings and lists, top-level names with dots take precedence, null and missing match nothing."""
    facts = {
        "os": {"family": "Debian", "name": ["deb", {"x": 7}]},
        "a": {"b": "nested"},
        "a.b": "top",
        "none": None,
        "net": {
            "if": {
                "ens1f0": {"ip": "10.0.0.2", "mtu": 9000},
                "ens1f0.4001": {"ip": "10.0.0.1", "ips": ["a", "b"]},
            }
        },
        "label": {"app = web": {"x": 1}, 'it"s': {"x": 1}},
        "long.er": {"y": 1},
        "long": {"er": {"x": 1}},
        "null.dots": None,
        "null": {"dots": 5},
    }
    assert hits(parse(with_fact=[expression]), Machine(facts=facts)) is expected
    assert hits(parse(select=expression), Machine(facts=facts)) is expected
    (test,) = parse(with_fact=[expression]).facts
    assert parse(select=select_text(test)).select == test


def test_data_functions_are_called_once_and_last() -> None:
    """Each query is evaluated once, in order, and not at all if a cheaper test has failed."""
    queries = []

    def answer(function: str, query: str) -> Mapping[str, Any]:
        queries.append((function, query))
        return {"size": 5}

    wanted = parse(select="apache or f('x').size=5 and (f('x').size>4 or g().size=1)", with_class=["web"])
    assert uses_data(wanted) == [("f", "x"), ("g", "")]
    assert not matches(wanted, Machine(), answer)
    assert queries == []
    assert matches(wanted, Machine(classes=["web"]), answer)
    assert queries == [("f", "x"), ("g", "")]


@pytest.mark.parametrize("expression", ["a or g().x=1", "not g().x=1", "a or f().nosuch=1", "not f().nosuch=1"])
def test_an_unknown_function_or_field_makes_the_filter_false(expression: str) -> None:
    """A node without the function or field never matches, whatever the other branches are."""
    node = Machine(classes=["a"], data={"f": {"": {"x": 1}}})
    assert hits(parse(select="a or f().x=2"), node)
    assert not hits(parse(select=expression), node)


def test_leaves_are_all_tests_of_a_tree() -> None:
    """The tests of a select tree are returned from left to right."""
    tests = list(leaves(parse(select="a and not (b=1 or f().x=2)")))
    assert tests == [ClassTest("a"), FactTest("b", "==", "1"), DataTest("f", "", "x", "==", "2")]
