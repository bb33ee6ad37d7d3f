"""The policies of the CloudFormation template grant exactly what is used.

Each role works through a gate that asks its policy before each request: whatever is missing breaks the work, and
whatever was not needed is named.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError
from support.accounts import AgedCloud
from support.iam_session import ACCOUNT, REGION, Gate, open_session
from support.request_store_contract import CHECKS as REQUEST_CHECKS
from support.run_store_contract import begin_event, holder, order, request_event
from support.stacks import policy, stack

from collective import names
from collective.aws.session import AWS
from collective.clients.checks.measures import depths
from collective.cluster.holding import HeldPlace
from collective.cluster.joining import ClusterJoin, new_process
from collective.cluster.place_file import PlaceFile
from collective.cluster.state import ClusterMachine
from collective.cluster.steps import Joiner
from collective.cluster.table import ClusterTable
from collective.config import ClientConfig, NodeConfig
from collective.errors import AccessDenied, Forbidden, NoNodes
from collective.fleet.ec2_instances import running as running_instances
from collective.fleet.fleet import Fleet
from collective.fleet.request_table import RequestTable
from collective.fleet.steering.run_log import RunProgress
from collective.fleet.steering.table_store import TableRunStore
from collective.messages import new_id
from collective.node.check import aws_probe
from collective.node.facts import ec2_api
from collective.node.requests.receiver import Receiver
from collective.node.server import Server
from collective.registry import NodeRecord, Revocation
from collective.registry.dynamodb import DynamoDBRegistry
from collective.setup import Plan
from collective.setup.aws_inventory import Cloud
from collective.setup.creation import creation
from collective.setup.pruning import pruning
from collective.setup.queue_ages import read_ages
from collective.setup.removal import removal
from collective.testing import COLLECTIVE, make_node, node_parts
from collective.testing.nodes import record
from collective.transport.sqs import SQSTransport

IDENTITY = "web1.my.net"
QUEUE, TOPIC, TABLE = names.node_queue(COLLECTIVE, IDENTITY), names.topic(COLLECTIVE), names.table(COLLECTIVE)
TOPIC_ARN = f"arn:aws:sns:{REGION}:{ACCOUNT}:{TOPIC}"
INSTANCE = "arn:aws:ec2:eu-north-1:123456789012:instance/i-0123456789abcdef0"
TAGGED = {"aws:PrincipalTag/collective:identity": IDENTITY}
ON_EC2 = {"ec2:SourceInstanceARN": INSTANCE}
# The policies by file name, each with a matching principal.
NODES = {
    "node": TAGGED,
    "node-roles-anywhere": {"aws:PrincipalTag/x509Subject/CN": IDENTITY},
    "node-ec2": ON_EC2,
}


@pytest.fixture(scope="module", autouse=True)
def _stacked(moto_server: str) -> Iterator[None]:
    """Create the stack on a server."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL", moto_server)
        stack(COLLECTIVE)
        yield


@contextmanager
def running(node: Server) -> Iterator[None]:
    """Let a node serve during the block."""
    thread = threading.Thread(target=node.serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        node.stop(timeout=5.0)
        thread.join()


def serve(folder: Path, gate: Gate, tags: Mapping[str, str]) -> None:
    """Make every AWS request that a node can make, including rare ones."""
    aws = AWS(gate.session)
    assert aws_probe.probe(NodeConfig(COLLECTIVE, IDENTITY), gate.session).problems == []  # `collectived --check`
    transport, registry = SQSTransport(aws, tags=tags), DynamoDBRegistry(aws, TABLE)
    transport.open_node(QUEUE, TOPIC)
    change_attributes(QUEUE)
    node = make_node(folder, IDENTITY, transport, {}, node_parts(folder))
    node.open()  # its queue exists, created by an older version
    this = replace(record(node), instance="this")
    registry.put(this)
    assert registry.heartbeat(IDENTITY, "this") == "this"
    assert registry.heartbeat(IDENTITY, "another") == "this"  # which requires reading the item
    with running(node):
        assert ping_exit_code(folder, open_session()) == 0
    registry.leave(IDENTITY, "this")


def ping_exit_code(folder: Path, session: boto3.Session) -> int:
    """Call the node directly and by broadcast, and return the worse exit code."""
    config = ClientConfig(COLLECTIVE, state=folder)
    codes = []
    for limit in (50, 0):
        aws = AWS(session)
        registry = DynamoDBRegistry(aws, TABLE)
        with Fleet(replace(config, direct_limit=limit), SQSTransport(aws), registry) as fleet:
            codes.append(fleet.call("rpcutil", "ping", timeout=20).wait().exit_code())
    return max(codes)


def change_attributes(*queues: str) -> None:
    """Set queue attributes that no version sets."""
    sqs = open_session().client("sqs")
    for queue in queues:
        url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "7"})


def remove_queue() -> None:
    """Delete the node's queue, if it exists."""
    sqs = open_session().client("sqs")
    with suppress(sqs.exceptions.QueueDoesNotExist):
        sqs.delete_queue(QueueUrl=sqs.get_queue_url(QueueName=QUEUE)["QueueUrl"])


@pytest.mark.parametrize("name", NODES)
def test_the_node_policy_is_exactly_sufficient(tmp_path: Path, name: str) -> None:
    """To create its queue, serve and register, a node needs every grant of its policy and no other."""
    remove_queue()
    gate = Gate(policy(name), NODES[name])
    serve(tmp_path, gate, {**names.tags(COLLECTIVE, IDENTITY), "collective:instance": INSTANCE})
    assert gate.denied == []
    assert gate.used == policy(name).grants


def test_the_policy_for_prepared_nodes_is_exactly_sufficient(tmp_path: Path) -> None:
    """The node is denied to create its queue, uses the existing one, and needs every grant of its policy."""
    remove_queue()
    cloud = Cloud(AWS(open_session()))
    for step in creation(cloud, COLLECTIVE, nodes=[IDENTITY]).changes:
        step.do()
    gate = Gate(policy("node-prepared"), TAGGED)
    serve(tmp_path, gate, names.tags(COLLECTIVE, IDENTITY))
    assert {request.action for request in gate.denied} == {"sqs:CreateQueue"}
    assert gate.used == policy("node-prepared").grants


def test_the_caller_policy_is_exactly_sufficient(tmp_path: Path) -> None:
    """To discover, call and receive, directly and by broadcast, a caller needs every grant and no other."""
    remove_queue()
    transport = SQSTransport(AWS(open_session()), tags=names.tags(COLLECTIVE, IDENTITY))
    node = make_node(tmp_path, IDENTITY, transport, {}, node_parts(tmp_path))
    node.open()
    DynamoDBRegistry(AWS(open_session()), TABLE).put(record(node))
    gate = Gate(policy("caller"), {})
    with running(node):
        assert ping_exit_code(tmp_path, gate.session) == 0
    caller = SQSTransport(AWS(gate.session))
    reply = names.reply_queue(COLLECTIVE, "alice-0")
    caller.open_replies(reply)
    change_attributes(reply)
    caller.open_replies(reply)  # it exists, created by an older version
    assert caller.unread(QUEUE) == 0  # as for a silent node
    gate.session.client("sns").get_topic_attributes(TopicArn=TOPIC_ARN)  # as in `crpc doctor`
    caller.delete_replies(reply)  # as in `crpc doctor`
    record_run(TableRunStore(AWS(gate.session), names.runs_table(COLLECTIVE)))
    for check in REQUEST_CHECKS:
        check(lambda: RequestTable(AWS(gate.session), names.runs_table(COLLECTIVE)), tmp_path)
    assert gate.denied == []
    assert gate.used == policy("caller").grants


def record_run(store: TableRunStore) -> None:
    """Record a shared rollout, read it, and take it over."""
    run, alice = new_id(), holder()
    store.create([begin_event(run), request_event()], alice)
    [entry] = [one for one in store.runs() if one.run == run]
    log = store.log(entry)
    assert [event["event"] for event in log.news()] == ["begin", "request"]
    assert log.append([order("pause")]) == []
    assert store.renew(run, alice, RunProgress())
    assert not store.take(entry, holder("bob"))


def test_the_cluster_policy_is_exactly_sufficient(tmp_path: Path) -> None:
    """To join a cluster and to hold a place, a node needs both grants; the item of a node is inaccessible."""
    gate = Gate(policy("cluster"), TAGGED)
    table = ClusterTable(AWS(gate.session), COLLECTIVE, "etcd")
    me = Joiner("etcd", ClusterMachine(IDENTITY, "10.0.0.1"), 1, new_process())
    start = ClusterJoin(me, table, PlaceFile(tmp_path, "etcd")).wait()
    held = HeldPlace("etcd", table, start)
    held.renew()
    held.report_started()
    held.release()
    assert gate.denied == []
    assert gate.used == policy("cluster").grants
    with pytest.raises(Forbidden):
        DynamoDBRegistry(AWS(gate.session), TABLE).heartbeat(IDENTITY, "this")


def test_a_node_creates_a_deleted_queue_again() -> None:
    """A deleted queue has no tags, so requests are denied; the node creates it, and receives at the next attempt."""
    gate = Gate(policy("node"), TAGGED)
    transport = SQSTransport(AWS(gate.session), tags=names.tags(COLLECTIVE, IDENTITY))
    transport.open_node(QUEUE, TOPIC)
    remove_queue()
    receiver = Receiver(transport, QUEUE, TOPIC, lambda _: None)
    with pytest.raises(Forbidden):
        receiver.receive_once(0)
    receiver.receive_once(0)


OTHERS = {
    "node": {"aws:PrincipalTag/collective:identity": "db1.my.net"},
    "node-prepared": {"aws:PrincipalTag/collective:identity": "db1.my.net"},
    "node-roles-anywhere": {"aws:PrincipalTag/x509Subject/CN": "db1.my.net"},
    "node-ec2": {"ec2:SourceInstanceARN": f"{INSTANCE}1"},
    "caller": {},
}


@pytest.mark.parametrize("name", OTHERS)
def test_the_resources_of_another_node_are_inaccessible(name: str) -> None:
    """Neither nodes nor callers can read, change, create or tag the resources of another node."""
    remove_queue()
    mine = {**names.tags(COLLECTIVE, IDENTITY), "collective:instance": INSTANCE}
    SQSTransport(AWS(open_session()), tags=mine).open_node(QUEUE, TOPIC)
    gate = Gate(policy(name), OTHERS[name])
    sqs = gate.session.client("sqs")
    tags_of_another_node = {**names.tags(COLLECTIVE, "db1.my.net"), "collective:instance": f"{INSTANCE}1"}
    url = open_session().client("sqs").get_queue_url(QueueName=QUEUE)["QueueUrl"]
    for request in (
        partial(sqs.create_queue, QueueName=QUEUE, tags=tags_of_another_node),
        partial(sqs.receive_message, QueueUrl=url),
        partial(sqs.set_queue_attributes, QueueUrl=url, Attributes={"Policy": ""}),
        partial(sqs.tag_queue, QueueUrl=url, Tags=tags_of_another_node),
        partial(sqs.delete_queue, QueueUrl=url),
    ):
        with pytest.raises(ClientError, match="AccessDenied"):
            request()
    if name != "node-ec2":  # the one thing that IAM cannot express: docs/how-to/set-up-aws.md
        with pytest.raises(AccessDenied):
            DynamoDBRegistry(AWS(gate.session), TABLE).put(NodeRecord(IDENTITY, "1"))


def test_the_operator_policy_is_exactly_sufficient() -> None:
    """For `crpc setup`, `nodes prune` and `nodes revoke`, an operator needs every grant of its policy and no other."""
    gate = Gate(policy("operator", "operated"), {})
    cloud = AgedCloud(AWS(gate.session))

    def settle(plan: Plan) -> None:
        assert plan.changes
        for step in plan.changes:
            step.do()

    settle(creation(cloud, "operated", nodes=[IDENTITY]))
    spoil(names.topic("operated"), names.table("operated"), names.node_queue("operated", IDENTITY))
    settle(creation(cloud, "operated", nodes=[IDENTITY]))
    assert creation(cloud, "operated", nodes=[IDENTITY]).changes == []
    registry = cloud.registry("operated")
    nodes = DynamoDBRegistry(AWS(open_session()), names.table("operated"))
    nodes.put(NodeRecord("db1.my.net", "1", period=0.001))
    nodes.put(NodeRecord("db2.my.net", "1"))
    registry.record_revocation(Revocation("db1.my.net", "SHA256:x"))
    settle(pruning(cloud, registry, "operated", older_than=0.0, orphans=True))
    open_session().client("sqs").create_queue(QueueName=names.reply_queue("operated", "alice-0"))
    settle(removal(cloud, "operated"))
    assert gate.denied == []
    assert gate.used == policy("operator", "operated").grants


def test_the_monitor_policy_is_exactly_sufficient(tmp_path: Path) -> None:
    """For all checks, exports and `--dm ec2`, a monitoring system needs every grant of its policy and no other."""
    gate = Gate(policy("monitor"), {})
    cloud, aws = Cloud(AWS(gate.session)), AWS(gate.session)
    sqs = open_session().client("sqs")
    for name in (QUEUE, names.reply_queue(COLLECTIVE, "alice-0")):
        sqs.send_message(QueueUrl=sqs.create_queue(QueueName=name)["QueueUrl"], MessageBody="x")
    for prefix, belongs in (
        (names.node_queues(COLLECTIVE), names.is_node_queue),
        (names.reply_queue(COLLECTIVE, ""), names.is_reply_queue),
    ):
        assert sum(depths(cloud, prefix, belongs, COLLECTIVE).values()) > 0
    assert read_ages(aws, [QUEUE]) == {}
    cloud.registry(COLLECTIVE).read()
    with pytest.raises(NoNodes, match="no running EC2 instance"):
        running_instances(aws, {"tag:collective": COLLECTIVE})
    sqs.purge_queue(QueueUrl=sqs.get_queue_url(QueueName=QUEUE)["QueueUrl"])
    assert gate.denied == []
    assert gate.used == policy("monitor").grants
    with pytest.raises(AccessDenied):
        SQSTransport(aws).receive(QUEUE, 0)


def test_the_policy_for_ec2_facts_is_exactly_sufficient() -> None:
    """A node that reads tags and groups of its instance needs every grant of the policy and no other."""
    gate = Gate(policy("ec2-facts"), {})
    balancing = open_session().client("elbv2")
    network = open_session().client("ec2").describe_vpcs()["Vpcs"][0]["VpcId"]
    balancing.create_target_group(Name="some", Protocol="HTTP", Port=80, VpcId=network)
    facts, errors = ec2_api.read_facts(AWS(gate.session), "i-0123456789abcdef0", ec2_api.NAMES)
    assert (set(facts), errors) == (set(ec2_api.NAMES), [])
    assert gate.denied == []
    assert gate.used == policy("ec2-facts").grants


def spoil(topic: str, table: str, queue: str) -> None:
    """Change every resource, so that `crpc setup` has to repair it."""
    session = open_session()
    sns, dynamodb = session.client("sns"), session.client("dynamodb")
    arn = f"arn:aws:sns:{REGION}:{ACCOUNT}:{topic}"
    sns.set_topic_attributes(TopicArn=arn, AttributeName="Policy", AttributeValue="{}")
    [subscription] = sns.list_subscriptions_by_topic(TopicArn=arn)["Subscriptions"]
    sns.set_subscription_attributes(
        SubscriptionArn=subscription["SubscriptionArn"], AttributeName="RawMessageDelivery", AttributeValue="false"
    )
    for name in (table, names.runs_table("operated")):
        table_arn = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}"
        dynamodb.untag_resource(ResourceArn=table_arn, TagKeys=["collective"])
    change_attributes(queue)
