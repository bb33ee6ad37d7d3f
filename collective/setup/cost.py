"""Reckon what a collective costs at AWS in a month: how often each thing that is paid for happens, times its price.

    idle     every node polls its queue each 20 s, and writes to the registry each 300 s
    a call   direct:    the caller sends k, each of k nodes receives, deletes and answers, the caller receives and
                        deletes answers by the ten: 4.2 k + 2 requests
             published: all n nodes receive and delete, k answer: 2 n + 1.2 k + 1 requests, and one publish
             discovery: one consistent read of the whole table

The counts are measured (docs/performance.md). Where the rules come from:

- SQS pricing: every request counts, an empty receive too; a message of up to 64 KB is one request, and a batch too.
- SNS pricing: a publish of up to 64 KB is one; deliveries to SQS are free.
- DynamoDB developer guide, "On-demand capacity mode": a write unit per KB of an item, a read unit per 4 KB of a
  consistent read. A Scan reads the table by pages of 1 MB; a table of more than one is begun again, in segments.
- AWS takes nothing for data between its services and EC2 in one region.

Left out: free tiers (a million requests to SQS and to SNS a month), storage (some cents per GB), taxes, messages beyond
64 KB, nodes that restart or do not answer, and what private networks cost: NAT gateways and interface endpoints.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from collective.config import ClientConfig, NodeConfig

DAYS = 31  # of the longest month: no bill is higher because of the calendar
_MONTH = DAYS * 86400  # seconds
POLL = 20  # seconds; SQS developer guide: the longest wait of one receive
_BATCH = 10  # answers that the caller receives, and deletes, with one request
ITEM_KB = 1  # KB of one node in the registry; in the lab 0.5, with 50 facts of its own about 1
_PAGE_KB = 1024  # of one Scan
_READ_UNIT_KB = 4


@dataclass(frozen=True)
class Prices:
    """US dollars per million: requests to SQS, publishes to SNS, DynamoDB's write and read units on demand."""

    region: str
    as_of: str
    sqs: float
    sns: float
    writes: float
    reads: float


# https://aws.amazon.com/sqs/pricing (standard queues, first 100 billion), /sns/pricing (standard topics) and
# /dynamodb/pricing/on-demand (standard table class; halved in November 2024).
US_EAST_1 = Prices("us-east-1", "2026-06", sqs=0.40, sns=0.50, writes=0.625, reads=0.125)


@dataclass(frozen=True)
class Usage:
    """How large a collective is and how much it is asked: `nodes_per_call` of its nodes answer a call."""

    nodes: int
    calls_per_day: float
    nodes_per_call: int


@dataclass(frozen=True)
class Item:
    """One line of a bill: how often something happens in a month, and its price in US dollars per million."""

    what: str
    count: float
    price: float

    @property
    def dollars(self) -> float:
        """Return what it costs in a month."""
        return self.count * self.price / 1e6


def bill(usage: Usage, prices: Prices = US_EAST_1) -> list[Item]:
    """Return what a collective with the defaults of `node.yaml` and `client.yaml` is billed for a month."""
    calls = usage.calls_per_day * DAYS
    messages, publishes = _call(usage)
    heartbeat = NodeConfig.heartbeat
    return [
        Item(f"SQS: each node polls every {POLL} s", usage.nodes * _MONTH / POLL, prices.sqs),
        Item(
            f"DynamoDB: each node writes every {heartbeat:.0f} s",
            usage.nodes * _MONTH / heartbeat * ITEM_KB,
            prices.writes,
        ),
        Item("SQS: requests and answers", calls * messages, prices.sqs),
        Item("SNS: publishes", calls * publishes, prices.sns),
        Item("DynamoDB: each call reads who exists", calls * _discovery(usage.nodes), prices.reads),
    ]


def forerunners_bill(usage: Usage, prices: Prices = US_EAST_1) -> list[Item]:
    """Return what ec2_collective would be billed for the same, as its own `tools/sqs-price-calculator` reckons.

    Its agents poll one queue every 20 s and write their facts to another every 30 s; while a command is under way,
    10 s by its default, all of them poll once a second, whomever it is for. At $1 per million (2012) that gives the $12
    for 50 servers and 100 commands a day that its README names. It is the least: the look-up of the queue's URL before
    each request, the answers, and the caller's own requests are not in its formula.
    """
    everybody = usage.nodes * _MONTH
    return [
        Item("SQS: each node polls every 20 s", everybody / 20, prices.sqs),
        Item("SQS: each node sends its facts every 30 s", everybody / 30, prices.sqs),
        Item("SQS: all poll each second for 10 s a call", usage.calls_per_day * DAYS * usage.nodes * 10, prices.sqs),
    ]


def total(items: list[Item]) -> float:
    """Return the sum of a bill in US dollars."""
    return sum(item.dollars for item in items)


def _call(usage: Usage) -> tuple[float, int]:
    """Return the requests to SQS and the publishes of one call."""
    answers = usage.nodes_per_call * (1 + 2 / _BATCH)
    if usage.nodes_per_call <= ClientConfig.direct_limit:
        return 3 * usage.nodes_per_call + answers + 2, 0
    return 2 * usage.nodes + answers + 1, 1


def _discovery(nodes: int) -> int:
    """Return the read units of one look at the whole registry."""
    size = nodes * ITEM_KB
    again = _PAGE_KB if size > _PAGE_KB else 0
    return math.ceil((size + again) / _READ_UNIT_KB)
