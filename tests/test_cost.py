"""The estimated cost of a collective; the expected figures were calculated by hand from the price lists."""

from __future__ import annotations

import json
import re

import pytest

from collective.aws import DEFAULT_TIMEOUTS
from collective.clients.crpc import main
from collective.setup import cost
from collective.transport import BATCH, LONGEST_POLL

Captured = pytest.CaptureFixture[str]


def dollars(items: list[cost.BillItem]) -> list[float]:
    return [round(item.dollars, 4) for item in items]


def test_an_idle_node_costs_five_cents() -> None:
    """31 days are 133,920 polls of 20 s at $0.40 per million, and 8,928 writes of 300 s at $0.625."""
    idle = cost.bill(cost.Usage(nodes=1, calls_per_day=0, nodes_per_call=1))
    assert [item.count for item in idle] == [133_920, 8_928, 0, 0, 0]
    assert dollars(idle) == [0.0536, 0.0056, 0, 0, 0]


def test_a_call_to_few_nodes_is_sent_directly() -> None:
    """4.2 x 10 + 2 requests and 250 read units of the registry, 3,100 times."""
    _, _, messages, publishes, discovery = cost.bill(cost.Usage(nodes=1000, calls_per_day=100, nodes_per_call=10))
    assert (messages.count, publishes.count, discovery.count) == (44 * 3100, 0, 250 * 3100)
    assert dollars([messages, discovery]) == [0.0546, 0.0969]


def test_a_call_to_many_nodes_is_published() -> None:
    """2 x 1000 + 1.2 x 100 + 1 requests and a publish, for a call to 100 of 1,000 nodes."""
    _, _, messages, publishes, _ = cost.bill(cost.Usage(nodes=1000, calls_per_day=1, nodes_per_call=100))
    assert (messages.count, publishes.count) == (2121 * 31, 31)


@pytest.mark.parametrize(("nodes", "units"), [(1, 1), (5, 2), (1024, 256), (1025, 513), (10_000, 2756)])
def test_the_first_page_of_a_large_registry_is_read_twice(nodes: int, units: int) -> None:
    """Above 1 MB, the first page, 256 units, is read again."""
    *_, discovery = cost.bill(cost.Usage(nodes, calls_per_day=1, nodes_per_call=1))
    assert discovery.count == units * 31


def test_the_cost_of_ec2_collective_is_that_of_its_readme() -> None:
    """$12 a month for 50 servers and 100 commands a day, at $1 per million in 2012."""
    then = cost.Prices("eu-west-1", "2012", sqs=1.0, sns=0, writes=0, reads=0)
    items = cost.ec2_collective_bill(cost.Usage(nodes=50, calls_per_day=100, nodes_per_call=50), then)
    assert dollars(items) == [6.696, 4.464, 1.55]
    assert round(cost.total(items)) == 13  # minus ten cents for the free tier of 100,000 requests


def test_the_formula_matches_the_code() -> None:
    """The numbers in the docstring of `cost.py` are those of the code, and a read timeout exceeds the longest poll."""
    assert f"polls its queue each {LONGEST_POLL:.0f} s" in str(cost.__doc__)
    assert BATCH == 10
    assert DEFAULT_TIMEOUTS.read > LONGEST_POLL


def test_both_bills_are_shown_with_every_count_and_price(capsys: Captured) -> None:
    """Each line is count times price, with the sums above."""
    assert main(["cost", "--nodes", "500", "--calls-per-day", "100"]) == 0
    out = capsys.readouterr().out
    assert re.findall(r"^(ec2_collective|collective) +all in all +([0-9.]+)$", out, re.MULTILINE) == [
        ("collective", "31.61"),
        ("ec2_collective", "50.84"),
    ]
    assert re.search(r"SQS: requests and replies +4,963,100 +0.400 +1.99$", out, re.MULTILINE)
    assert "500 nodes, 100 calls a day to 500 of them, 31 days; prices of us-east-1, 2026-06\n" in out
    assert "\nA node that is never asked: $0.0536 for polls, $0.0056 for the registry.\n" in out


def test_json_output_has_the_same_figures(capsys: Captured) -> None:
    """The document has the prices, so that those of other regions can be used instead."""
    words = ["cost", "--nodes", "1000", "--calls-per-day", "2.5", "--nodes-per-call", "10", "--json"]
    assert main(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["nodes"], found["calls_per_day"], found["nodes_per_call"], found["days"]) == (1000, 2.5, 10, 31)
    assert found["prices"]["sqs"] == 0.4
    for name in ("collective", "ec2_collective"):
        items = found[name]["items"]
        assert found[name]["dollars"] == pytest.approx(sum(item["dollars"] for item in items), abs=0.001)
        assert all(item["dollars"] == round(item["count"] * item["per_million"] / 1e6, 4) for item in items)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--nodes", "0", "--calls-per-day", "1"], "--nodes: '0' is no number of nodes"),
        (["--nodes", "5", "--calls-per-day", "nan"], "--calls-per-day: 'nan' is no number of calls"),
        (["--nodes", "5", "--calls-per-day", "1", "--nodes-per-call", "6"], "--nodes-per-call 6: there are 5 nodes"),
        (["--nodes", "5"], "the following arguments are required: --calls-per-day"),
    ],
)
def test_invalid_numbers_are_refused(words: list[str], message: str, capsys: Captured) -> None:
    """The error is one line."""
    assert main(["cost", *words]) == 64
    err = capsys.readouterr().err
    assert err.startswith(f"crpc: {message}")
    assert err.count("\n") == 1
