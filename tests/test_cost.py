"""Tests of the cost estimate; the expected figures were calculated by hand from the price lists of the services."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest
from support.crpc_call import json_document

from collective.aws.session import DEFAULT_TIMEOUTS
from collective.clients.crpc import main
from collective.cluster.state import ClusterBeginning, ClusterMachine, ClusterPlace, ClusterState, encode
from collective.prices import Prices
from collective.setup import cost
from collective.transport import BATCH, LONGEST_POLL

Captured = pytest.CaptureFixture[str]


def dollars(items: list[cost.BillItem]) -> list[float]:
    return [round(item.dollars, 4) for item in items]


def test_an_idle_node_costs_six_cents() -> None:
    """In 31 days an idle node makes 133,920 polls of 20 s at $0.40 and 8,928 writes at $0.625.

    It checks its subscription as often as it writes, at $0.50 a million.
    """
    idle = cost.bill(cost.Usage(nodes=1, calls_per_day=0, nodes_per_call=1))
    assert [item.count for item in idle] == [133_920, 8_928, 8_928, 0, 0, 0]
    assert dollars(idle) == [0.0536, 0.0056, 0.0045, 0, 0, 0]


def test_a_call_to_few_nodes_is_sent_directly() -> None:
    """3,100 calls to 10 of 1,000 nodes take 4.2 x 10 + 2 requests and 250 read units each."""
    _, _, _, messages, publishes, discovery = cost.bill(cost.Usage(nodes=1000, calls_per_day=100, nodes_per_call=10))
    assert (messages.count, publishes.count, discovery.count) == (44 * 3100, 0, 250 * 3100)
    assert dollars([messages, discovery]) == [0.0546, 0.0969]


def test_a_call_to_many_nodes_is_published_to_all() -> None:
    """A call that 100 of 1,000 nodes answer takes 2 x 1000 + 1.2 x 100 + 1 requests and one publish."""
    _, _, _, messages, publishes, _ = cost.bill(cost.Usage(nodes=1000, calls_per_day=1, nodes_per_call=100))
    assert (messages.count, publishes.count) == (2121 * 31, 31)


@pytest.mark.parametrize(("nodes", "units"), [(1, 1), (5, 2), (1024, 256), (1025, 513), (10_000, 2756)])
def test_a_registry_of_more_than_one_page_reads_the_first_page_twice(nodes: int, units: int) -> None:
    """A table of more than 1 MB is read again in segments, so its first page (256 read units) is paid twice."""
    *_, discovery = cost.bill(cost.Usage(nodes, calls_per_day=1, nodes_per_call=1))
    assert discovery.count == units * 31


def test_ec2_collective_costs_what_its_readme_claims() -> None:
    """50 servers and 100 commands a day cost about $12 a month at the price of 2012, $1 per million requests."""
    then = Prices("eu-west-1", "2012", sqs=1.0, sns=0, writes=0, reads=0, streams=0)
    items = cost.ec2_collective_bill(cost.Usage(nodes=50, calls_per_day=100, nodes_per_call=50), then)
    assert dollars(items) == [6.696, 4.464, 1.55]
    assert round(cost.total(items)) == 13  # its free tier of 100,000 requests was worth $0.10


def test_the_formula_uses_the_values_of_the_code() -> None:
    """The numbers in the docstring of `cost.py` are those of the code, and a read timeout exceeds the longest poll."""
    assert f"polls its queue each {LONGEST_POLL:.0f} s" in str(cost.__doc__)
    assert f"batches of {['nine', 'ten', 'eleven'][BATCH - 9]}" in str(cost.__doc__)
    assert DEFAULT_TIMEOUTS.read > LONGEST_POLL


def test_both_estimates_are_shown_with_every_count_and_price(capsys: Captured) -> None:
    """Each line has count, price and product; the total is above them."""
    assert main(["cost", "--nodes", "500", "--calls-per-day", "100"]) == 0
    out = capsys.readouterr().out
    assert re.findall(r"^(ec2_collective|collective) +total +([0-9.]+)$", out, re.MULTILINE) == [
        ("collective", "33.84"),
        ("ec2_collective", "50.84"),
    ]
    assert re.search(r"SQS: requests and replies +4,963,100 +0.400 +1.99$", out, re.MULTILINE)
    assert "500 nodes, 100 calls a day to 500 of them, 31 days; prices of us-east-1, 2026-06\n" in out
    assert "\nAn idle node: $0.0536 for polls, $0.0056 for the registry, $0.0045 for its subscription.\n" in out


def test_the_json_document_has_the_same_figures(capsys: Captured) -> None:
    """The document also has the prices, so that a program can calculate with those of another region."""
    found = json_document(["cost", "--nodes", "1000", "--calls-per-day", "2.5", "--nodes-per-call", "10"], capsys)
    assert (found["nodes"], found["calls_per_day"], found["nodes_per_call"], found["days"]) == (1000, 2.5, 10, 31)
    assert found["prices"]["sqs"] == 0.4
    for name in ("collective", "ec2_collective"):
        items = found[name]["items"]
        assert found[name]["dollars"] == pytest.approx(sum(item["dollars"] for item in items), abs=0.001)
        assert all(item["dollars"] == round(item["count"] * item["per_million"] / 1e6, 4) for item in items)


@pytest.mark.parametrize(
    ("heartbeat", "scans", "gets"),
    [(300.0, 535_680 * 25, 535_680 * 2), (5.0, 1_607_040 * 25, 1_607_040 * 2), (1.0, 2_678_400 * 25, 2_678_400 * 2)],
)
def test_a_watcher_scans_or_reads_the_stream(heartbeat: float, scans: int, gets: int) -> None:
    """100 nodes are 25 read units of each Scan; a stream costs the same for any number of nodes in one shard."""
    usage = cost.Usage(100, 0, 1, heartbeat=heartbeat, watchers=1)
    assert round(cost.bill(usage)[-1].count) == scans
    streamed = cost.bill(replace(usage, stream=True, ec2_events=True))
    assert [round(item.count) for item in streamed[-2:]] == [gets, 133_920]
    assert [item.price for item in streamed[-2:]] == [0.20, 0.40]


@pytest.mark.parametrize(("size", "units"), [(1, 1), (3, 2), (5, 3), (20, 8)])
def test_each_node_in_a_cluster_renews_its_place(size: int, units: int) -> None:
    """A renewal is a write of the cluster's item, whose size grows with the places."""
    usage = cost.Usage(100, 0, 1, clusters=2, cluster_size=size)
    item = next(one for one in cost.bill(usage) if "cluster" in one.what)
    assert (round(item.count), item.price) == (2 * size * 535_680 * units, 0.625)
    assert not [one for one in cost.bill(replace(usage, clusters=0)) if "cluster" in one.what]


@pytest.mark.parametrize("size", [1, 3, 5, 9])
def test_the_size_of_a_clusters_item_is_that_of_its_encoding(size: int) -> None:
    """The formula has the units of an item with names of 23 characters."""
    machines = tuple(ClusterMachine(f"etcd{n:02d}.prod.example.com", f"10.20.30.{n}") for n in range(size))
    token = "0" * 32
    places = tuple(ClusterPlace(n, machine, token, token, started=True) for n, machine in enumerate(machines))
    state = ClusterState(token, size, machines[0].identity, places, ClusterBeginning(machines[0], token, machines))
    attributes = {"identity": "#cluster etcd", "version": "99", "content": encode(state)}
    for n in range(size):
        attributes |= {f"holder_{n}": token, f"beat_{n}": "12345", f"seen_{n}": "123456789"}
    stored = sum(len(name) + len(value) for name, value in attributes.items())
    item = next(one for one in cost.bill(cost.Usage(9, 0, 1, clusters=1, cluster_size=size)) if "cluster" in one.what)
    assert round(item.count) == size * 535_680 * math.ceil(stored / 1024)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--nodes", "0", "--calls-per-day", "1"], "--nodes: invalid number of nodes '0'"),
        (["--nodes", "5", "--calls-per-day", "nan"], "--calls-per-day: invalid number of calls 'nan'"),
        (["--nodes", "5", "--calls-per-day", "1", "--nodes-per-call", "6"], "--nodes-per-call 6: more than --nodes 5"),
        (["--nodes", "5", "--calls-per-day", "1", "--stream"], "--stream: has no effect without watchers"),
        (
            ["--nodes", "5", "--calls-per-day", "1", "--cluster-size", "3"],
            "--cluster-size: has no effect without clusters",
        ),
        (
            ["--nodes", "5", "--calls-per-day", "1", "--clusters", "1", "--cluster-size", "100"],
            "--cluster-size: invalid number of places '100'",
        ),
        (["--nodes", "5"], "the following arguments are required: --calls-per-day"),
    ],
)
def test_impossible_numbers_are_refused(words: list[str], message: str, capsys: Captured) -> None:
    """A number out of range is a usage error of one line, exit code 64."""
    assert main(["cost", *words]) == 64
    err = capsys.readouterr().err
    assert err.startswith(f"crpc: {message}")
    assert err.count("\n") == 1
