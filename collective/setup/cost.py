"""Estimate the monthly cost of a collective on AWS: the number of billed requests, times their price.

    idle     every node polls its queue each 20 s, and each 300 s writes to the registry and checks its subscription
    a call   direct:    the caller sends k requests; each of k nodes receives, deletes and replies; the caller
                        receives and deletes replies in batches of ten: 4.2 k + 2 requests
             published: all n nodes receive and delete, k reply: 2 n + 1.2 k + 1 requests, and one publish
             discovery: one consistent read of the whole table
    a cluster          each of its nodes renews its place each 5 s: one write of the cluster's item, 2 KB for 3 places
    a shared rollout   writes its events (0.3 KB for each node) and renews its lease (2 KB) each 5 s, and looks for
                       orders each 2 s; calculated for 10 waves in 10 minutes

The numbers of requests are measured (docs/performance.md). The billing rules:

- SQS pricing: every request counts, empty receives too; a message of up to 64 KB is one request, and so is a batch.
- SNS pricing: a publish of up to 64 KB is one request, Subscribe as well; deliveries to SQS are free.
- DynamoDB developer guide, "On-demand capacity mode": one write unit per KB of an item, one read unit per 4 KB of a
  consistent read. A Scan reads the table in pages of 1 MB; a larger table is read again, in segments.
- DynamoDB streams: each GetRecords is one read unit of streams, for up to 1 MB of one shard.
- Data transfer between these services and EC2 in one region is free.

Not included: free tiers (a million requests to SQS and to SNS a month), storage (some cents per GB), taxes, messages
larger than 64 KB, restarts of nodes, nodes that do not reply, and private networks (NAT gateways, interface
endpoints).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from collective.cluster_lease import RENEW as PLACE_RENEW
from collective.config import NodeConfig
from collective.prices import US_EAST_1, USUALLY_DIRECT, Prices
from collective.run_lease import RENEW
from collective.transport import BATCH, LONGEST_POLL
from collective.watch_settings import default_pause

DAYS = 31  # the longest month, so that no bill is higher
_MONTH = DAYS * 86400  # seconds
ITEM_KB = 1  # KB of one node in the registry; 0.5 in the lab, about 1 with 50 facts
_STREAM_READS = 2  # GetRecords of one read of a stream: one with records, and one without, which ends it
_PAGE_KB = 1024  # of one Scan
_READ_UNIT_KB = 4
_PARTITION_WRITES = 1000  # write units a second of one partition of a table
_RUN_SECONDS, _RUN_WAVES, _RUN_LOOK = 600, 10, 2  # of a shared rollout: its length, its waves, its looks for orders
_LEASE_KB = 2  # the item with the lease
_CLUSTER_BYTES, _PLACE_BYTES = 320, 360  # of a cluster's item, and of each place in it, with names of 23 characters
_EVENT_KB = 0.3  # the events of one node, compressed; a small reply


@dataclass(frozen=True)
class Usage:
    """The size of a collective and its calls; `nodes_per_call` nodes reply to a call.

    `shared_runs_per_day` of the calls are rollouts that are recorded in DynamoDB.
    `heartbeat` is in seconds. `watchers` are the processes that watch the registry by default, with `stream` by the
    stream of its table; with `ec2_events`, they also take events of EC2. `clusters` have `cluster_size` places each.
    """

    nodes: int
    calls_per_day: float
    nodes_per_call: int
    shared_runs_per_day: float = 0.0
    heartbeat: float = NodeConfig.heartbeat
    watchers: int = 0
    stream: bool = False
    ec2_events: bool = False
    clusters: int = 0
    cluster_size: int = 3


@dataclass(frozen=True)
class BillItem:
    """One line of a bill: the number of units in a month, and their price in US dollars per million."""

    what: str
    count: float
    price: float

    @property
    def dollars(self) -> float:
        """The cost in US dollars for a month."""
        return self.count * self.price / 1e6


def bill(usage: Usage, prices: Prices = US_EAST_1) -> list[BillItem]:
    """Return the monthly bill of a collective with the default configuration, except the heartbeat."""
    calls = usage.calls_per_day * DAYS
    messages, publishes = _call(usage)
    heartbeat = usage.heartbeat
    return [
        BillItem(f"SQS: each node polls every {LONGEST_POLL:.0f} s", usage.nodes * _MONTH / LONGEST_POLL, prices.sqs),
        BillItem(
            f"DynamoDB: each node writes every {heartbeat:g} s",
            usage.nodes * _MONTH / heartbeat * ITEM_KB,
            prices.writes,
        ),
        BillItem(f"SNS: each node checks every {heartbeat:g} s", usage.nodes * _MONTH / heartbeat, prices.sns),
        BillItem("SQS: requests and replies", calls * messages, prices.sqs),
        BillItem("SNS: publishes", calls * publishes, prices.sns),
        BillItem("DynamoDB: each call reads the registry", calls * _discovery(usage.nodes), prices.reads),
        *_watching(usage, prices),
        *_clusters(usage, prices),
        *_shared_runs(usage, prices),
    ]


def _watching(usage: Usage, prices: Prices) -> list[BillItem]:
    """Return the lines of the processes that watch the registry; none without them."""
    if not usage.watchers:
        return []
    pause = default_pause(usage.heartbeat)
    steps = usage.watchers * _MONTH / pause
    if usage.stream:
        reads = steps * _STREAM_READS * _shards(usage)
        items = [BillItem(f"DynamoDB: each watcher reads the stream every {pause:.3g} s", reads, prices.streams)]
    else:
        units = steps * _discovery(usage.nodes)
        items = [BillItem(f"DynamoDB: each watcher scans every {pause:.3g} s", units, prices.reads)]
    if usage.ec2_events:
        what = f"SQS: each watcher polls for events every {LONGEST_POLL:.0f} s"
        items.append(BillItem(what, usage.watchers * _MONTH / LONGEST_POLL, prices.sqs))
    return items


def _clusters(usage: Usage, prices: Prices) -> list[BillItem]:
    """Return the line of the nodes in clusters; none without clusters."""
    if not usage.clusters:
        return []
    renewals = usage.clusters * usage.cluster_size * _MONTH / PLACE_RENEW
    units = math.ceil((_CLUSTER_BYTES + _PLACE_BYTES * usage.cluster_size) / 1024)
    what = f"DynamoDB: each node in a cluster writes every {PLACE_RENEW:.0f} s"
    return [BillItem(what, renewals * units, prices.writes)]


def _shards(usage: Usage) -> int:
    """Return the shards that are open at a time: one for each partition, which takes 1,000 write units a second."""
    return max(1, math.ceil(usage.nodes * ITEM_KB / usage.heartbeat / _PARTITION_WRITES))


def _shared_runs(usage: Usage, prices: Prices) -> list[BillItem]:
    """Return the lines of rollouts that are recorded in DynamoDB; none without such rollouts."""
    if not usage.shared_runs_per_day:
        return []
    runs = usage.shared_runs_per_day * DAYS
    renewals = _RUN_SECONDS / RENEW * _LEASE_KB
    events = math.ceil(usage.nodes_per_call * _EVENT_KB) + 2 * _RUN_WAVES
    return [
        BillItem("DynamoDB: shared rollouts write", runs * (renewals + events), prices.writes),
        BillItem("DynamoDB: shared rollouts read", runs * _RUN_SECONDS / _RUN_LOOK, prices.reads),
    ]


def ec2_collective_bill(usage: Usage, prices: Prices = US_EAST_1) -> list[BillItem]:
    """Return the monthly bill of ec2_collective for the same usage, by the formula of its `tools/sqs-price-calculator`.

    Its agents poll one queue every 20 s and write their facts to another every 30 s. During a command (10 s by
    default) all of them poll once a second, including agents that are not its targets. At $1 per million (2012) this
    gives the $12 for 50 servers and 100 commands a day in its README. It is a lower bound: the formula omits the
    lookup of the queue's URL before each request, the replies, and the caller's own requests.
    """
    seconds = usage.nodes * _MONTH
    return [
        BillItem("SQS: each node polls every 20 s", seconds / 20, prices.sqs),
        BillItem("SQS: each node sends its facts every 30 s", seconds / 30, prices.sqs),
        BillItem(
            "SQS: all nodes poll every second for 10 s per call",
            usage.calls_per_day * DAYS * usage.nodes * 10,
            prices.sqs,
        ),
    ]


@dataclass(frozen=True)
class CallCost:
    """The requests to SQS and the publishes to SNS of one call, and their price in US dollars."""

    requests: int
    publishes: int
    dollars: float


def call_cost(waves: Sequence[int], nodes: int, direct_limit: int, prices: Prices = US_EAST_1) -> CallCost:
    """Return the cost of one call, without discovery and retries.

    `waves` are the numbers of nodes in each wave, `nodes` is the size of the collective: each of its nodes receives
    and deletes a request that is published.
    """
    published = [size for size in waves if size > direct_limit]
    direct = sum(waves) - sum(published)
    replies = sum(waves) * (1 + 2 / BATCH)
    requests = math.ceil(3 * direct + 2 * nodes * len(published) + replies + 2)
    return CallCost(requests, len(published), (requests * prices.sqs + len(published) * prices.sns) / 1e6)


def total(items: list[BillItem]) -> float:
    """Return the sum of a bill in US dollars."""
    return sum(item.dollars for item in items)


def _call(usage: Usage) -> tuple[float, int]:
    """Return the SQS requests and the publishes of one call."""
    replies = usage.nodes_per_call * (1 + 2 / BATCH)
    if usage.nodes_per_call <= USUALLY_DIRECT:
        return 3 * usage.nodes_per_call + replies + 2, 0
    return 2 * usage.nodes + replies + 1, 1


def _discovery(nodes: int) -> int:
    """Return the read units for the whole registry."""
    size = nodes * ITEM_KB
    again = _PAGE_KB if size > _PAGE_KB else 0
    return math.ceil((size + again) / _READ_UNIT_KB)
