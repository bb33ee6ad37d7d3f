"""The policies for watchers, and for operators who set up what they follow, grant exactly what is used.

Each is used together with the policy that it adds to.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
from support.iam import IAMPolicy
from support.iam_session import ACCOUNT, REGION, Gate, open_session

from collective import names
from collective.aws.account import Account
from collective.aws.session import AWS
from collective.errors import Forbidden
from collective.membership.confirmation import Suspect
from collective.membership.ec2_events import Terminations
from collective.membership.queue_probe import QueueProbe
from collective.registry import NodeRecord
from collective.registry.dynamodb import DynamoDBRegistry
from collective.registry.followed_table import FollowedTable
from collective.setup import Plan
from collective.setup.aws_inventory import Cloud
from collective.setup.creation import Extras, creation
from collective.setup.iam_policies import filled
from collective.setup.removal import removal
from collective.transport.sqs import SQSTransport

COLLECTIVE, IDENTITY, OTHER = "watched", "lb1.my.net", "web1.my.net"
EVENTS, TABLE = names.ec2_events(COLLECTIVE), names.table(COLLECTIVE)
TAGGED = {"aws:PrincipalTag/collective:identity": IDENTITY}
EVERYTHING = Extras(stream=True, ec2_events=True)


def gate(*policies: str) -> Gate:
    """Return a session of a principal with these policies."""
    documents = filled(Account("aws", REGION, ACCOUNT), COLLECTIVE)
    statements = [
        {**statement, "Sid": f"{name} {statement['Sid']}"}
        for name in policies
        for statement in documents[name]["Statement"]
    ]
    return Gate(IAMPolicy({"Version": "2012-10-17", "Statement": statements}), TAGGED)


def unused(of: Gate, policy: str) -> set[tuple[str, str]]:
    """Return the grants of a policy that were not used."""
    return {grant for grant in of.policy.grants - of.used if grant[0].startswith(f"{policy} ")}


def settle(plan: Plan) -> None:
    """Execute a plan, which has something to do."""
    assert plan.changes
    for step in plan.changes:
        step.do()


@pytest.fixture
def registry(moto_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[DynamoDBRegistry]:
    """Return the registry of a collective with everything that can be watched, and one node."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_server)
    cloud = Cloud(AWS(open_session()))
    settle(creation(cloud, COLLECTIVE, nodes=[OTHER], extras=EVERYTHING))
    yield DynamoDBRegistry(AWS(open_session()), TABLE)
    settle(removal(cloud, COLLECTIVE))


@pytest.mark.parametrize("base", ["node", "caller"])
def test_the_watcher_policy_is_exactly_sufficient(registry: DynamoDBRegistry, base: str) -> None:
    """To follow the registry by its stream, and to probe a node, a watcher needs every grant and no other."""
    mine = gate(base, "watcher")
    feed = FollowedTable(AWS(mine.session), TABLE)
    feed.changes()
    registry.put(NodeRecord(OTHER, "1"))
    [observation] = feed.changes()
    assert [record.identity for record in observation.contents.records] == [OTHER]
    assert feed.cursor
    transport = SQSTransport(AWS(mine.session))
    if base == "caller":  # as a call does; it tells the address of all queues
        transport.open_replies(names.reply_queue(COLLECTIVE, "alice-0"))
    [verdict] = QueueProbe(transport, COLLECTIVE, lambda _: None).examine([Suspect(OTHER, 0.0, 60.0, 2.0)])
    assert verdict.failed
    assert mine.denied == []
    assert unused(mine, "watcher") == set()


def test_a_watcher_without_its_policy_is_denied(registry: DynamoDBRegistry) -> None:
    """A node may not read the registry, and a caller that may has no stream: it scans."""
    with pytest.raises(Forbidden):
        FollowedTable(AWS(gate("node").session), TABLE).changes()
    caller = FollowedTable(AWS(gate("caller").session), TABLE)
    registry.put(NodeRecord(OTHER, "1"))
    assert [observation.complete for observation in caller.changes()] == [True]
    assert caller.cursor is None


def test_the_policy_for_events_of_ec2_is_exactly_sufficient(registry: DynamoDBRegistry) -> None:
    """To take events and to mark nodes, a watcher needs every grant; it can change nothing else of a node."""
    mine = gate("node", "watcher", "watcher-ec2")
    registry.put(NodeRecord("i-1", "1", instance="x"))
    detail = {"instance-id": "i-1", "state": "terminated"}
    event = {"source": "aws.ec2", "detail-type": "EC2 Instance State-change Notification", "detail": detail}
    SQSTransport(AWS(open_session())).send(EVENTS, json.dumps(event))
    theirs = DynamoDBRegistry(AWS(mine.session), TABLE)
    assert Terminations(SQSTransport(AWS(mine.session)), EVENTS, theirs).take() == 1
    assert [record.is_terminated for record in registry.nodes()] == [True]
    assert mine.denied == []
    assert unused(mine, "watcher-ec2") == set()
    writes: list[Callable[[], object]] = [
        lambda: theirs.heartbeat("i-1", "x"),
        lambda: theirs.leave("i-1", "x"),
        lambda: theirs.put(NodeRecord("i-1", "2")),
    ]
    for write in writes:
        with pytest.raises(Forbidden):
            write()


def test_the_policy_to_set_up_watching_is_exactly_sufficient(moto_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """To make, repair and remove stream, queue and rule, an operator needs every grant and no other."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_server)
    mine = gate("operator", "operator-watch")
    cloud = Cloud(AWS(mine.session))
    settle(creation(cloud, COLLECTIVE, extras=EVERYTHING))
    assert creation(cloud, COLLECTIVE, extras=EVERYTHING).changes == []
    session = open_session()
    sqs, events = session.client("sqs"), session.client("events")
    url = sqs.get_queue_url(QueueName=EVENTS)["QueueUrl"]
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "7"})
    arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:other"
    events.put_targets(Rule=EVENTS, Targets=[{"Id": "other", "Arn": arn}])
    events.untag_resource(ResourceARN=f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{EVENTS}", TagKeys=["collective"])
    settle(creation(cloud, COLLECTIVE, extras=EVERYTHING))
    assert creation(cloud, COLLECTIVE, extras=EVERYTHING).changes == []
    settle(removal(cloud, COLLECTIVE))
    assert mine.denied == []
    assert unused(mine, "operator-watch") == set()
