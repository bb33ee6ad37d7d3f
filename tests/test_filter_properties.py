"""Properties of all filters: printing, encoding and evaluation."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.machine import Machine

from collective.clients.parser import Parser
from collective.errors import MessageError
from collective.filters import (
    Budget,
    Filter,
    explain,
    matches,
    parse,
    select_text,
    to_options,
)

TEXTS = st.one_of(
    st.text("ab '\"/\\()=<>!~.-\n1", max_size=8),
    st.sampled_from(["and", "or", "not", "/a b/", "/(a|b)/", "/a/)x/", "//", "/", "-1", "é"]),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
OPERATOR = st.sampled_from(["==", "!=", "=~", "<", "<=", ">", ">="])
COMPARED = {"operator": OPERATOR, "value": TEXTS}
FACT = st.fixed_dictionaries({"fact": TEXTS, **COMPARED})
NAME = st.sampled_from(["f", "fstat", "x_1"])
LEAF = st.one_of(
    FACT,
    st.fixed_dictionaries({"class": TEXTS}),
    st.fixed_dictionaries({"function": NAME, "query": TEXTS, "field": NAME, **COMPARED}),
)
TREE = st.recursive(
    LEAF,
    lambda inner: st.one_of(
        st.fixed_dictionaries({"and": st.lists(inner, min_size=2, max_size=3)}),
        st.fixed_dictionaries({"or": st.lists(inner, min_size=2, max_size=3)}),
        st.fixed_dictionaries({"not": inner}),
    ),
    max_leaves=5,
)


def valid(key: str) -> Callable[[Any], bool]:
    """Return a predicate: whether a filter can have a value under `key`."""

    def check(value: Any) -> bool:
        try:
            Filter.from_data({key: value})
        except MessageError:
            return False
        return True

    return check


FILTERS = st.builds(
    lambda **parts: Filter.from_data(parts),
    facts=st.lists(FACT.filter(lambda entry: valid("facts")([entry])), max_size=2),
    classes=st.lists(TEXTS.filter(lambda name: valid("classes")([name])), max_size=2),
    agents=st.lists(TEXTS.filter(lambda name: valid("agents")([name])), max_size=2),
    identities=st.lists(st.sampled_from(["web1", "web2", "web01", "db.x", "/we b/", "x-"]), max_size=3),
    select=st.none() | TREE.filter(valid("select")),
)


def read_again(words: list[str]) -> Filter:
    """Parse printed options as a command line does."""
    line = Parser("crpc find")
    options = {"-F": "with_fact", "-C": "with_class", "-A": "with_agent", "-I": "with_identity"}
    for flag, name in options.items():
        line.add_argument(flag, dest=name, action="append", default=[])
    line.add_argument("-S", dest="select")
    args = vars(line.parse_args(words))
    return parse(**{name: args[name] for name in (*options.values(), "select")})


@settings(max_examples=150, deadline=None)
@given(FILTERS)
@example(Filter.from_data({"facts": [], "classes": ["--"], "agents": ["--"], "identities": [], "select": None}))
def test_a_printed_filter_parses_to_the_same_filter(filter_: Filter) -> None:
    """A filter printed as options and parsed again is the same."""
    assert read_again(to_options(filter_)) == filter_
    assert filter_.select is None or parse(select=select_text(filter_.select)).select == filter_.select
    assert explain(filter_)


@settings(max_examples=100, deadline=None)
@given(FILTERS)
def test_an_encoded_filter_decodes_to_the_same_filter(filter_: Filter) -> None:
    """A filter written as JSON and decoded again is the same."""
    assert Filter.from_data(json.loads(json.dumps(filter_.to_data()))) == filter_


@settings(max_examples=150, deadline=None)
@given(FILTERS, st.dictionaries(TEXTS, JSON, max_size=4), st.none() | st.dictionaries(NAME, JSON))
def test_evaluation_never_raises(filter_: Filter, facts: Any, answer: Any) -> None:
    """Whatever the facts and data of a node are, matching returns a boolean."""
    node = Machine(facts=facts | {test.fact: value for test, value in zip(filter_.facts, facts.values(), strict=False)})
    assert matches(filter_, node, lambda _function, _query: answer, Budget(0.1)) in (True, False)


@settings(max_examples=200, deadline=None)
@given(JSON | st.fixed_dictionaries({}, optional={"facts": JSON, "classes": JSON, "select": JSON | TREE}))
def test_any_data_is_a_filter_or_a_message_error(data: Any) -> None:
    """Any data from the network is decoded or raises MessageError."""
    try:
        read = Filter.from_data(data)
    except MessageError as error:
        assert "\n" not in str(error)  # noqa: PT017 - both ways are fine
        return
    assert isinstance(read, Filter)
