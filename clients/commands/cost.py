"""`crpc cost`: estimate what a collective, and ec2_collective for comparison, costs per month at AWS.

It only calculates: no request is sent to AWS.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from collective.clients import options, output
from collective.clients.commands import COMMANDS
from collective.clients.output import Output
from collective.clients.parser import Parser
from collective.errors import UsageError
from collective.prices import US_EAST_1
from collective.setup import cost
from collective.text import noun_form

_SYSTEMS = ("collective", "ec2_collective")
_COLUMNS = ("system", "what", "count", "per_million", "dollars")


def make_parser() -> Parser:
    """Return the parser of `crpc cost`."""
    parser = Parser(
        "crpc cost",
        description=f"{COMMANDS['cost']}, in US dollars.\n\n"
        "The estimate is calculated from the numbers of nodes and calls; no request is sent to AWS. For "
        "comparison it also has the cost of ec2_collective.",
        examples=[
            "crpc cost --nodes 50 --calls-per-day 100",
            "crpc cost --nodes 500 --calls-per-day 20 -o csv",
            "crpc cost --nodes 50 --calls-per-day 100 --heartbeat 5s --watchers 1 --stream",
            "crpc cost --nodes 50 --calls-per-day 100 --clusters 2",
        ],
    )
    parser.add_argument("--nodes", type=_node_count, required=True, metavar="N", help="number of nodes")
    parser.add_argument("--calls-per-day", type=_call_count, required=True, metavar="M", help="number of calls a day")
    parser.add_argument(
        "--nodes-per-call", type=_node_count, metavar="K", help="number of nodes that answer a call (default: all)"
    )
    parser.add_argument(
        "--heartbeat", type=options.seconds, default=300.0, metavar="DURATION", help="time between heartbeats (300s)"
    )
    parser.add_argument(
        "--watchers", type=_node_count, default=0, metavar="N", help="number of watchers of the registry (default: 0)"
    )
    parser.add_argument("--stream", action="store_true", help="watchers follow the stream of the table")
    parser.add_argument("--ec2-events", action="store_true", help="watchers take events of EC2")
    parser.add_argument(
        "--clusters", type=_node_count, default=0, metavar="N", help="number of clusters of 'crpc cluster' (default: 0)"
    )
    parser.add_argument("--cluster-size", type=_place_count, metavar="N", help="places of each cluster (default: 3)")
    parser.add_argument(
        "--shared-runs-per-day",
        type=_call_count,
        default=0.0,
        metavar="R",
        help="number of rollouts a day that are recorded in DynamoDB, 10 minutes each (default: 0)",
    )
    return parser


def run(arguments: Sequence[str]) -> int:
    """Print both estimates with counts and prices; return the exit code."""
    args = make_parser().parse_args(arguments)
    per_call = args.nodes if args.nodes_per_call is None else args.nodes_per_call
    for option, given in (("--stream", args.stream), ("--ec2-events", args.ec2_events)):
        if given and not args.watchers:
            raise UsageError(f"{option}: has no effect without watchers (add --watchers)")
    if per_call > args.nodes:
        raise UsageError(f"--nodes-per-call {per_call}: more than --nodes {args.nodes}")
    if args.cluster_size is not None and not args.clusters:
        raise UsageError("--cluster-size: has no effect without clusters (add --clusters)")
    usage = cost.Usage(
        args.nodes,
        args.calls_per_day,
        per_call,
        args.shared_runs_per_day,
        args.heartbeat,
        args.watchers,
        args.stream,
        args.ec2_events,
        args.clusters,
        args.cluster_size or 3,
    )
    document = _document(usage)
    rows = [[name, *item.values()] for name in _SYSTEMS for item in document[name]["items"]]
    output.show(args, Output("cost", document, _COLUMNS, rows, lambda: _page(usage)))
    return 0


def _page(usage: cost.Usage) -> str:
    from collective.clients.render.layout import table

    prices = US_EAST_1
    rows = [*_rows("collective", cost.bill(usage)), *_rows("ec2_collective", cost.ec2_collective_bill(usage))]
    heading = ["", "per month", "count", "$ per million", "$"]
    polls, writes, checks, *_ = cost.bill(cost.Usage(1, 0, 1, heartbeat=usage.heartbeat))
    return (
        f"{_count(usage.nodes, 'node')}, {_count(usage.calls_per_day, 'call')} a day to {usage.nodes_per_call:,} of "
        f"them, {cost.DAYS} days; prices of {prices.region}, {prices.as_of}\n\n"
        + "".join(f"{line}\n" for line in table(heading, rows, None, right=(2, 3, 4)))
        + f"\nAn idle node: ${polls.dollars:.4f} for polls, ${writes.dollars:.4f} for the registry, "
        + f"${checks.dollars:.4f} for its subscription.\n"
        "Not included: free tiers, NAT gateways and VPC endpoints.\n"
        "The ec2_collective estimate follows its own price calculator.\n"
    )


def _count(number: float, noun: str) -> str:
    return f"{number:,.12g} {noun_form(number, noun)}"


def _rows(name: str, items: list[cost.BillItem]) -> list[list[str]]:
    body = [["", item.what, f"{item.count:,.0f}", f"{item.price:.3f}", f"{item.dollars:,.2f}"] for item in items]
    return [[name, "total", "", "", f"{cost.total(items):,.2f}"], *body]


def _document(usage: cost.Usage) -> dict[str, Any]:
    return {
        **asdict(usage),
        "days": cost.DAYS,
        "prices": asdict(US_EAST_1),
        "collective": _estimate(cost.bill(usage)),
        "ec2_collective": _estimate(cost.ec2_collective_bill(usage)),
    }


def _estimate(items: list[cost.BillItem]) -> dict[str, Any]:
    return {"dollars": round(cost.total(items), 4), "items": [_item(item) for item in items]}


def _item(item: cost.BillItem) -> dict[str, Any]:
    return {"what": item.what, "count": round(item.count), "per_million": item.price, "dollars": round(item.dollars, 4)}


def _node_count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= 10**9):
        raise argparse.ArgumentTypeError(f"invalid number of nodes '{text}': use an integer from 1 to 1000000000")
    return int(text)


def _place_count(text: str) -> int:
    from collective.cluster.state import MAX_SIZE

    if not (text.isascii() and text.isdigit() and 0 < int(text) <= MAX_SIZE):
        raise argparse.ArgumentTypeError(f"invalid number of places '{text}': use an integer from 1 to {MAX_SIZE}")
    return int(text)


def _call_count(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1e9:
        raise argparse.ArgumentTypeError(f"invalid number of calls '{text}': use a number from 0 to 1000000000")
    return value
