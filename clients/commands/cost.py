"""`crpc cost`: what a collective costs at AWS in a month, and what ec2_collective would; nobody is asked."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from collective.clients import options
from collective.clients.render.formatting import write_json
from collective.errors import UsageError
from collective.setup import cost


def run(arguments: Sequence[str]) -> int:
    """Print both bills, line by line, with counts and prices: for people, or as JSON."""
    given = _parser().parse_args(arguments)
    per_call = given.nodes if given.nodes_per_call is None else given.nodes_per_call
    if per_call > given.nodes:
        raise UsageError(f"--nodes-per-call {per_call}: there are {given.nodes} nodes")
    usage = cost.Usage(given.nodes, given.calls_per_day, per_call)
    if given.json:
        write_json(_document(usage))
    else:
        sys.stdout.write(_page(usage))
    return 0


def _parser() -> options.Parser:
    parser = options.Parser(
        "crpc cost", description="Reckon what AWS takes for a collective in a month, in US dollars."
    )
    parser.add_argument("--nodes", type=_count, required=True, metavar="N", help="how many nodes there are")
    parser.add_argument("--calls-per-day", type=_calls, required=True, metavar="M", help="how many calls are made")
    parser.add_argument("--nodes-per-call", type=_count, metavar="K", help="how many nodes answer a call; default: all")
    options.add_json(parser)
    return parser


def _page(usage: cost.Usage) -> str:
    from tabulate import tabulate

    prices = cost.US_EAST_1
    rows = [*_rows("collective", cost.bill(usage)), *_rows("ec2_collective", cost.ec2_collective_bill(usage))]
    heading = ["", "in a month", "count", "$ per million", "$"]
    polls, writes, *_ = cost.bill(cost.Usage(1, 0, 1))
    return (
        f"{usage.nodes:,} nodes, {usage.calls_per_day:,g} calls a day to {usage.nodes_per_call:,} of them, "
        f"{cost.DAYS} days; prices of {prices.region}, {prices.as_of}\n\n"
        + tabulate(rows, heading, tablefmt="simple", disable_numparse=True, colalign=["left"] * 2 + ["right"] * 3)
        + f"\n\nA node that is never asked: ${polls.dollars:.4f} for polls, ${writes.dollars:.4f} for the registry.\n"
        "Free tiers and private networks' gateways are left out. ec2_collective is by its own calculator, at the same"
        " prices.\n"
    )


def _rows(name: str, items: list[cost.BillItem]) -> list[list[str]]:
    body = [["", item.what, f"{item.count:,.0f}", f"{item.price:.3f}", f"{item.dollars:,.2f}"] for item in items]
    return [[name, "all in all", "", "", f"{cost.total(items):,.2f}"], *body]


def _document(usage: cost.Usage) -> dict[str, Any]:
    ours, theirs = cost.bill(usage), cost.ec2_collective_bill(usage)
    return {
        **asdict(usage),
        "days": cost.DAYS,
        "prices": asdict(cost.US_EAST_1),
        "collective": {"dollars": round(cost.total(ours), 4), "items": [_item(item) for item in ours]},
        "ec2_collective": {"dollars": round(cost.total(theirs), 4), "items": [_item(item) for item in theirs]},
    }


def _item(item: cost.BillItem) -> dict[str, Any]:
    return {"what": item.what, "count": round(item.count), "per_million": item.price, "dollars": round(item.dollars, 4)}


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= 10**9):
        raise argparse.ArgumentTypeError(f"'{text}' is no number of nodes")
    return int(text)


def _calls(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1e9:
        raise argparse.ArgumentTypeError(f"'{text}' is no number of calls")
    return value
