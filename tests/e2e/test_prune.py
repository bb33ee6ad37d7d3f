"""`crpc nodes prune` removes what nodes that are gone have left behind, and nothing of nodes that are alive."""

from __future__ import annotations

import json
import time
from pathlib import Path

import boto3
import pytest
from support import failures
from support.accounts import AccountUnderTest, AgedCloud
from support.crpc_process import on_a_terminal
from support.daemons import IDENTITY, configure, daemon
from support.proxy import Proxy
from support.waiting import wait_until

from collective import names
from collective.aws.session import AWS
from collective.registry import NodeRecord
from collective.registry.dynamodb import DynamoDBRegistry
from collective.registry.memory import MemoryRegistry
from collective.setup import REMOVE
from collective.setup.aws_inventory import Cloud
from collective.setup.pruning import pruning
from collective.transport.sqs import SQSTransport

DAY = 86400.0


@pytest.fixture
def aws(moto_server: str, monkeypatch: pytest.MonkeyPatch) -> AWS:
    """Return AWS for the code of the library."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_server)
    return AWS(boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="eu-central-1"))


@pytest.fixture
def account(moto_server: str, tmp_path: Path, aws: AWS) -> AccountUnderTest:
    """Return a collective with three nodes: one is alive, one stopped and one was last seen ten days ago."""
    account = AccountUnderTest(moto_server, tmp_path)
    registry = DynamoDBRegistry(aws, names.table(account.collective))
    registry.create()
    for identity in ("alive", "left", "lost"):
        join(account, aws, identity)
        registry.put(NodeRecord(identity, "1.0", instance="one"))
    long_ago = time.time() - 10 * DAY
    age(account, "left", left_at=long_ago, last_seen=long_ago)
    age(account, "lost", last_seen=long_ago)
    return account


def join(account: AccountUnderTest, aws: AWS, identity: str) -> None:
    """Create a node's queue."""
    SQSTransport(aws).create_node(names.node_queue(account.collective, identity), names.topic(account.collective), {})


def age(account: AccountUnderTest, identity: str, **times: float) -> None:
    """Write times (Unix seconds) into a node's item."""
    account.dynamodb.update_item(
        TableName=names.table(account.collective),
        Key={"identity": {"S": identity}},
        UpdateExpression=f"SET {', '.join(f'{name} = :{name}' for name in times)}",
        ExpressionAttributeValues={f":{name}": {"N": f"{value:.3f}"} for name, value in times.items()},
    )


def queues_of(account: AccountUnderTest, *identities: str) -> list[str]:
    return sorted(names.node_queue(account.collective, identity) for identity in identities)


def items(account: AccountUnderTest) -> list[str]:
    found = account.dynamodb.scan(TableName=names.table(account.collective))["Items"]
    return sorted(item["identity"]["S"] for item in found)


def test_nodes_that_are_gone_are_removed(account: AccountUnderTest) -> None:
    """Item, queue and subscription are removed; a second run changes nothing; a node seen after `leave` is alive."""
    age(account, "alive", left_at=time.time() - 10 * DAY)
    done = account.crpc("nodes", "prune", "--yes")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[2:] == [
        "  - node left (stopped 10 days ago)",
        "  - node lost (last seen 10 days ago)",
        "",
        "2 changes made",
    ]
    assert account.queues() == account.subscribed() == queues_of(account, "alive")
    assert items(account) == ["alive"]
    assert account.crpc("nodes", "prune").stdout.endswith("\nNothing to do\n")


def test_named_nodes_are_removed(account: AccountUnderTest, aws: AWS) -> None:
    """Only the named nodes, whenever they were last seen; a node that is alive or unknown is an error."""
    DynamoDBRegistry(aws, names.table(account.collective)).put(NodeRecord("lately", "1.0", instance="one"))
    age(account, "lately", left_at=time.time() - 5, last_seen=time.time() - 5)
    for words, message in (
        (("alive",), "alive: not gone, last seen "),
        (("left", "alive"), "(stop its daemon first)"),
        (("lots",), "lots: not in the registry (did you mean 'lost'?)"),
        (("lately", "--older-than", "15m"), "(use a shorter --older-than)"),
        (("left", "--orphans"), "--orphans is not allowed with names"),
        (("a b",), "invalid"),
    ):
        done = account.crpc("nodes", "prune", "--yes", *words)
        assert (done.returncode, done.stdout) == (64, "")
        assert message in done.stderr
    done = account.crpc("nodes", "prune", "lately", "left", "--yes")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("2 changes made\n")
    assert items(account) == ["alive", "lost"]


def test_the_plan_needs_confirmation(account: AccountUnderTest) -> None:
    """A dry run, a script without --yes, and a no on a terminal change nothing."""
    assert account.crpc("nodes", "prune", "--dry-run").returncode == 0
    assert account.crpc("nodes", "prune").returncode == 4
    code, shown = on_a_terminal(account.environment, "n\n", "nodes", "prune")
    assert (code, "2 changes; continue? [y/N]" in shown) == (4, True)
    assert items(account) == ["alive", "left", "lost"]
    document = json.loads(account.crpc("nodes", "prune", "--yes", "--json").stdout)
    assert [(step["name"], step["done"]) for step in document["steps"]] == [("left", True), ("lost", True)]


def test_the_age_is_given_in_hours_or_days(account: AccountUnderTest) -> None:
    """A node that is alive is never old enough."""
    assert account.crpc("nodes", "prune", "--older-than", "11d").stdout.endswith("\nNothing to do\n")
    assert account.crpc("nodes", "prune", "--older-than", "0h", "--yes").returncode == 0
    assert items(account) == ["alive"]
    assert account.crpc("nodes", "prune", "--older-than", "soon").returncode == 64


def test_without_a_registry_pruning_is_refused(moto_server: str, tmp_path: Path) -> None:
    """With `registry: none`, pruning exits with 64 and reads nothing."""
    done = AccountUnderTest(moto_server, tmp_path, registry="none").crpc("nodes", "prune", "--yes")
    assert (done.returncode, "no registry" in done.stderr) == (64, True)


def test_without_a_table_pruning_is_refused(moto_server: str, tmp_path: Path) -> None:
    """The error for a missing table names the command that creates it."""
    done = AccountUnderTest(moto_server, tmp_path, "missing").crpc("nodes", "prune")
    assert (done.returncode, done.stderr) == (
        69,
        "crpc: table 'missing_nodes' does not exist (create the registry with 'crpc setup')\n",
    )


def test_with_an_incomplete_registry_there_are_no_orphans(account: AccountUnderTest, aws: AWS) -> None:
    """When the table is too new, or no node is alive, no queue is removed."""
    join(account, aws, "unheard")
    prune = ("nodes", "prune", "--orphans", "--older-than", "0h", "--yes")
    done = account.crpc(*prune)
    assert (done.returncode, "table was created" in done.stderr, "it is 15 minutes old" in done.stderr) == (
        64,
        True,
        True,
    )
    age(account, "alive", left_at=time.time() + 1)
    done = account.crpc(*prune)
    assert (done.returncode, "no node in the registry is alive" in done.stderr) == (64, True)
    assert account.queues() == queues_of(account, "alive", "left", "lost", "unheard")


def test_a_new_queue_is_not_an_orphan(account: AccountUnderTest, aws: AWS) -> None:
    """A new queue is not removed, because its node may be about to register."""
    join(account, aws, "orphan")
    registry = DynamoDBRegistry(aws, names.table(account.collective))
    for older_than, found in ((3600.0, []), (0.0, queues_of(account, "orphan"))):
        plan = pruning(AgedCloud(aws), registry, account.collective, older_than=older_than, orphans=True)
        assert [step.name for step in plan.steps if step.kind == "queue"] == found


def test_orphans_are_removed_only_with_the_option(account: AccountUnderTest, aws: AWS) -> None:
    """Orphans are queues without a node and subscriptions without a queue, except new ones and unreadable records."""
    registry = DynamoDBRegistry(aws, names.table(account.collective))
    registry.put(NodeRecord("alive", "1.0", instance="one", period=0.1))  # so that a new table is old enough
    age(account, "alive", last_seen=time.time() + DAY)
    join(account, aws, "orphan")
    join(account, aws, "newer")
    account.dynamodb.put_item(TableName=names.table(account.collective), Item={"identity": {"S": "newer"}})
    account.sqs.create_queue(QueueName=f"{account.collective}_node_exporter")
    [gone] = queues_of(account, "alive")
    account.sqs.delete_queue(QueueUrl=account.url(gone))
    join(account, aws, "dangling")
    [dangling] = queues_of(account, "dangling")
    account.sqs.delete_queue(QueueUrl=account.url(dangling))
    assert "orphan" not in account.crpc("nodes", "prune").stdout
    assert account.crpc("nodes", "prune", "--orphans", "--older-than", "1h").returncode == 64
    done = account.crpc("nodes", "prune", "--orphans", "--older-than", "0h", "--yes")
    assert "nodes with 'registry: none'" in done.stderr
    [orphan] = queues_of(account, "orphan")
    assert done.stdout.splitlines()[2:] == [
        "  - node left (stopped 10 days ago)",
        "  - node lost (last seen 10 days ago)",
        f"  - queue {orphan} (its node is not in the registry)",
        f"  - subscription {dangling} (its queue does not exist)",
        "",
        "4 changes made",
    ]
    assert account.queues() == sorted([*queues_of(account, "newer"), f"{account.collective}_node_exporter"])
    assert account.subscribed() == queues_of(account, "alive", "newer")


def test_a_node_that_comes_back_keeps_everything(account: AccountUnderTest, aws: AWS) -> None:
    """When a node starts after the plan was made, its step changes nothing and returns the reason."""
    now = [0.0]
    registry = MemoryRegistry(lambda: now[0])
    registry.put(NodeRecord("lost", "1.0", instance="one"))
    now[0] = 10 * DAY
    [step] = pruning(Cloud(aws), registry, account.collective, older_than=DAY).steps
    assert (step.change, step.kind, step.name) == (REMOVE, "node", "lost")
    registry.put(NodeRecord("lost", "1.0", instance="two"))
    assert step.do() == "it is alive again"
    assert account.queues() == queues_of(account, "alive", "left", "lost")
    assert registry.identities() == {"lost"}


def test_all_pages_are_read(
    account: AccountUnderTest, aws: AWS, moto_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SNS lists 100 subscriptions per page, and SQS 1,000 queues per page if a page size is given."""
    subscriptions = [f"{account.collective}_node_{number}" for number in range(101)]
    topic = f"arn:aws:sns:eu-central-1:123456789012:{names.topic(account.collective)}"
    for name in subscriptions:
        account.sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=f"arn:aws:sqs:eu-central-1:123456789012:{name}")
    with Proxy(moto_server) as proxy:
        requests: list[bytes] = []
        proxy.watch = lambda step, content: requests.append(content) if step == "before ListQueues" else None
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="eu-central-1")
        cloud = Cloud(AWS(session))
        assert cloud.subscriptions(names.topic(account.collective)).keys() >= set(subscriptions)
        assert len(cloud.queues(names.node_queues(account.collective))) == 3
    assert json.loads(requests[0])["MaxResults"] == 1000


@pytest.mark.failure(failures.AWS, "a node's queue, subscription and item are removed")
def test_a_pruned_node_registers_again(account: AccountUnderTest, moto_server: str, tmp_path: Path) -> None:
    """A node that was unreachable for days creates its queue, subscription and item again, and replies."""
    configure(tmp_path, account.collective, registry="dynamodb", heartbeat=1.0)
    account.write_config()
    [queue] = queues_of(account, IDENTITY)
    with Proxy(moto_server) as proxy, daemon(tmp_path, proxy.url) as node:
        account.sqs.delete_queue(QueueUrl=account.url(queue))
        account.dynamodb.delete_item(TableName=names.table(account.collective), Key={"identity": {"S": IDENTITY}})
        proxy.refused["CreateQueue"] = "QueueDeletedRecently"
        proxy.turn("pass")  # closes the waiting poll
        node.wait_for("transport.failed")
        assert "SQS blocks the name" in node.events("transport.failed")[0]["error"]
        proxy.refused.clear()
        wait_until(lambda: queue in account.queues() and IDENTITY in items(account), 30)
        assert account.crpc("rpcutil", "ping", "-I", IDENTITY).returncode == 0
        assert queue in account.subscribed()
