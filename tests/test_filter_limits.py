"""No filter takes more time than a node allows."""

from __future__ import annotations

import logging
import subprocess
import sys
import time

import pytest
from support.machine import Machine, hits

from collective.errors import MessageError, UsageError
from collective.filters import (
    Budget,
    Filter,
    matches,
    parse,
)

EVIL = "/(a|aa)+$/"


def test_a_backtracking_expression_does_not_block_a_node(caplog: pytest.LogCaptureFixture) -> None:
    """Expressions share a time limit; when it is used up the filter is false, and one warning is logged."""
    node = Machine(facts={"a": ["a" * 40 + "!"] * 50}, classes=["there"])
    budget = Budget(0.05)
    start = time.thread_time()
    with caplog.at_level(logging.WARNING):
        assert not matches(parse(select=f"there and not a={EVIL}"), node, node.call, budget)
    assert time.thread_time() - start < 1
    assert budget.spent
    assert [record.message for record in caplog.records] == ["filter.timeout"]
    assert caplog.records[0].__dict__["seconds"] == 0.05


def test_long_paths_do_not_block_a_node() -> None:
    """Paths with many quotes and dots are checked and followed in milliseconds."""
    start = time.thread_time()
    for path in ('"a".' * 249 + "a b", '"' * 999, "a." * 499 + "a", '"a"."' * 160 + "="):
        try:
            hits(
                Filter.from_data({"facts": [{"fact": path, "operator": "==", "value": "1"}]}), Machine(facts={"a": {}})
            )
        except MessageError:
            continue
    assert time.thread_time() - start < 0.5


def test_a_spent_budget_returns_at_once() -> None:
    """Filters with expressions match nothing once the shared budget is spent."""
    filter_, budget = parse(with_fact=["a=/a$/"]), Budget(0.01)
    node = Machine(facts={"a": "a"})
    assert matches(filter_, node, node.call, budget)
    worse = Machine(facts={"a": "a" * 40 + "!"})
    assert not matches(parse(with_fact=[f"a={EVIL}"]), worse, worse.call, budget)
    assert not matches(filter_, node, node.call, budget)
    assert not matches(filter_, node, node.call, Budget(-0.001))  # the last search may have overdrawn it


def test_the_time_limit_applies_by_default() -> None:
    """Backtracking expressions against long values are stopped after the default limit."""
    start = time.thread_time()
    assert not hits(parse(with_fact=["a=/(a+)+$/"]), Machine(facts={"a": "a" * 30 + "!"}))
    assert not hits(parse(with_fact=[f"a={EVIL}"]), Machine(facts={"a": "a" * 40 + "!"}))
    assert time.thread_time() - start < 1


@pytest.mark.parametrize(
    "expression",
    [
        "a{1000000000}",
        "((a{1000}){1000}){1000}",
        "(?:" * 30 + "a" + "){2}" * 30,
        "(){1000000000}",
        "(?R)",
        "(?:foo){e<=1}",
        "(?x)a # b",
        "a(?#b)c",
        "(" * 200 + ")" * 200,
        "a" * 501,
        "[",
        "*",
        "\\p{L}",
    ],
)
def test_expensive_expressions_are_refused(expression: str) -> None:
    """What a time limit does not bound, and what Python's `re` does not accept, is refused by caller and node."""
    with pytest.raises(UsageError):
        parse(with_class=[f"/{expression}/"])
    with pytest.raises(MessageError):
        Filter.from_data({"classes": [f"/{expression}/"]})


@pytest.mark.parametrize(
    "expression",
    [
        r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
        r"^(\d{1,3}\.){3}\d{1,3}$",
        r"^(?!db)[a-z]{,5}",
        r"a\{b",
        r"[{}()]x",
        r"(?P<x>a)(?P=x)",
        r"[[]a",
    ],
)
def test_common_expressions_are_accepted(expression: str) -> None:
    """Repetitions of ordinary size, look-ahead, back-references and character classes are accepted."""
    assert parse(with_class=[f"/{expression}/"]).classes == (f"/{expression}/",)


def test_ten_thousand_nodes_are_filtered_within_a_second() -> None:
    """Filtering 10,000 nodes with 50 facts each takes less than a second."""
    facts = [{f"fact{n}": f"value{n}" for n in range(48)} | {"n": n, "os": {"f": "Debian"}} for n in range(10_000)]
    fleet = [Machine(identity=f"n{n}", facts=known, classes=["web"]) for n, known in enumerate(facts)]
    filter_ = parse(["os.f=Debian", "n>=5000", "fact7=/7$/"], ["web"], select="fact1=value1 and not db")
    budget = Budget(10)
    start = time.thread_time()
    found = [node for node in fleet if matches(filter_, node, node.call, budget)]
    assert time.thread_time() - start < 1
    assert len(found) == 5000


def test_filters_without_expressions_do_not_import_regex() -> None:
    """Importing filters and using literal ones does not import the package regex."""
    program = (
        "import sys; from collective.filters import parse; parse(['a=b'], ['c'], select='d or e<1'); "
        "sys.exit('regex' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
