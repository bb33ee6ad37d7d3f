"""What watchers follow on AWS: the stream of the table, paced reads, and events of EC2 by EventBridge and SQS.

moto's EC2 sends no state-change notifications, so the documented event is given to moto's EventBridge, whose rule
delivers it to the queue.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3
import pytest
from support.accounts import AccountUnderTest
from support.crpc_process import BIN
from support.daemons import IDENTITY, configure, daemon
from support.waiting import wait_until

from collective import names
from collective.aws.session import AWS
from collective.membership import MemberView, StateFile, Watcher
from collective.registry import NodeRecord, Revocation
from collective.registry.dynamodb import DynamoDBRegistry
from collective.registry.followed_table import FollowedTable

INSTANCE = "i-0123456789abcdef0"
EVENT = "EC2 Instance State-change Notification"


@pytest.fixture
def aws(moto_server: str, monkeypatch: pytest.MonkeyPatch) -> AWS:
    """Return AWS for the code of the library."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_server)
    return AWS(boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="eu-central-1"))


@pytest.fixture
def account(moto_server: str, tmp_path: Path) -> AccountUnderTest:
    """Return a collective without any resources."""
    return AccountUnderTest(moto_server, tmp_path)


class Followed:
    """A table, and a watcher that can be restarted."""

    def __init__(self, aws: AWS, collective: str, path: Path) -> None:
        self.aws, self.collective, self.path = aws, collective, path
        self.registry = DynamoDBRegistry(aws, names.table(collective))
        self.start()

    def start(self) -> None:
        """Start a watcher with the state file."""
        self.store = StateFile(self.path, self.collective)
        self.feed = FollowedTable(self.aws, names.table(self.collective))
        self.watcher = Watcher(self.feed, self.store, MemberView(), collective=self.collective)

    def put(self, identity: str, instance: str = "1", **facts: object) -> NodeRecord:
        """Publish the record of a node; return what is stored."""
        self.registry.put(NodeRecord(identity, "1", instance=instance, facts=facts))
        return next(record for record in self.registry.nodes() if record.identity == identity)

    def step(self) -> list[str]:
        """Return the events of one step, and deliver them."""
        events = self.watcher.step()
        self.store.delivered(events)
        return [f"{event.kind} {event.member.identity}" for event in events]


@pytest.fixture(params=["stream", "scans"])
def followed(request: pytest.FixtureRequest, account: AccountUnderTest, aws: AWS, tmp_path: Path) -> Iterator[Followed]:
    """Return a table with a stream, and one without."""
    words = ["--stream"] if request.param == "stream" else []
    assert account.crpc("setup", "--yes", *words).returncode == 0
    made = Followed(aws, account.collective, tmp_path / "watch.sqlite")
    yield made
    assert (made.store.cursor is not None) == (request.param == "stream")
    made.store.close()


def test_every_change_is_one_event(followed: Followed) -> None:
    """Joins, changes, stops, revoked keys and removals are found with and without a stream."""
    followed.put("a", role="web")
    followed.put("b")
    assert followed.step() == ["join a", "join b"]
    followed.registry.heartbeat("a", "1")
    assert followed.step() == []
    followed.put("a", role="db")
    stored = followed.put("c")
    assert sorted(followed.step()) == ["join c", "update a"]
    followed.registry.leave("b", "1")
    followed.registry.mark_terminated(stored)
    assert sorted(followed.step()) == ["failed c", "leave b"]
    for record in followed.registry.nodes():
        if record.identity != "a":
            followed.registry.remove(record)
    assert followed.step() == ["reap b", "reap c"]
    followed.registry.record_revocation(Revocation("a", "SHA256:x"))
    assert followed.step() == []
    followed.store.close()
    followed.start()
    followed.put("a", role="lb")
    assert followed.step() == ["update a"]


def test_a_stream_has_what_was_undone(account: AccountUnderTest, aws: AWS, tmp_path: Path) -> None:
    """A node that stopped and started while the watcher was stopped has both events."""
    assert account.crpc("setup", "--yes", "--stream").returncode == 0
    followed = Followed(aws, account.collective, tmp_path / "watch.sqlite")
    followed.put("a")
    followed.step()
    followed.put("b")
    assert followed.step() == ["join b"]
    followed.store.close()
    followed.registry.leave("a", "1")
    followed.put("a", "2")
    followed.start()
    assert followed.step() == ["leave a", "join a"]
    followed.store.close()


def steps(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.startswith("  ")]


def test_setup_makes_the_sources_by_option(account: AccountUnderTest, moto_server: str) -> None:
    """The stream, the queue and the rule are made once, repaired if they differ, and removed with the collective."""
    mine = account.collective
    assert not [line for line in steps(account.crpc("setup", "--yes").stdout) if "ec2" in line]
    made = steps(account.crpc("setup", "--yes", "--stream", "--ec2-events").stdout)
    assert f"~ table {mine}_nodes (no stream)" in made
    assert made[-2:] == [f"+ queue {mine}_ec2", f"+ rule {mine}_ec2"]
    again = account.crpc("setup", "--yes", "--stream", "--ec2-events")
    assert again.stdout.endswith("\nNothing to do\n"), again.stdout
    attributes = account.sqs.get_queue_attributes(QueueUrl=account.url(f"{mine}_ec2"), AttributeNames=["All"])
    [allowed, denied] = json.loads(attributes["Attributes"]["Policy"])["Statement"]
    rule = f"arn:aws:events:eu-central-1:123456789012:rule/{mine}_ec2"
    assert allowed["Condition"] == {"ArnEquals": {"aws:SourceArn": rule}}
    assert (allowed["Principal"], allowed["Action"]) == ({"Service": "events.amazonaws.com"}, "sqs:SendMessage")
    assert denied["Effect"] == "Deny"
    events = account.client("events", moto_server)
    events.disable_rule(Name=f"{mine}_ec2")
    account.sqs.set_queue_attributes(QueueUrl=account.url(f"{mine}_ec2"), Attributes={"Policy": ""})
    repaired = steps(account.crpc("setup", "--yes", "--ec2-events").stdout)
    assert repaired[-2:] == [f"~ queue {mine}_ec2 (policy differs)", f"~ rule {mine}_ec2 (disabled)"]
    assert account.crpc("setup", "--yes", "--ec2-events").stdout.endswith("\nNothing to do\n")
    removed = steps(account.crpc("setup", "--remove", "--yes").stdout)
    assert {f"- rule {mine}_ec2", f"- queue {mine}_ec2"} < set(removed)
    assert [one["Name"] for one in events.list_rules(NamePrefix=mine)["Rules"]] == []
    assert account.queues() == []


@pytest.mark.parametrize("option", ["--stream", "--ec2-events"])
def test_sources_are_refused_where_they_have_no_effect(account: AccountUnderTest, option: str) -> None:
    """Stream and queue are neither removed alone nor printed."""
    for other in ("--remove", "--policies"):
        done = account.crpc("setup", option, other)
        assert (done.returncode, done.stderr) == (64, f"crpc: {option}: not allowed with --remove or --policies\n")


@contextmanager
def watch(account: AccountUnderTest, *words: str) -> Iterator[Callable[[], list[str]]]:
    """Run `crpc watch --jsonl` for the time of a block; yield a function that returns its events."""
    command = [str(BIN / "crpc"), "watch", "--jsonl", "--no-ping", *words]
    lines: Path = account.folder / "watched"
    with lines.open("w") as out, subprocess.Popen(command, env=account.environment, stdout=out) as process:
        try:
            yield lambda: [
                f"{one['event']} {one['member']['identity']}" for one in map(json.loads, lines.read_text().splitlines())
            ]
        finally:
            process.terminate()


def terminate(account: AccountUnderTest, url: str) -> None:
    """Let EventBridge have the event of a terminated instance."""
    detail = json.dumps({"instance-id": INSTANCE, "state": "terminated"})
    entry = {"Source": "aws.ec2", "DetailType": EVENT, "Detail": detail}
    assert account.client("events", url).put_events(Entries=[entry])["FailedEntryCount"] == 0


def test_a_terminated_instance_fails_and_is_pruned(account: AccountUnderTest, aws: AWS, moto_server: str) -> None:
    """EventBridge delivers the event, the watcher reports it within a second or two, and prune removes the node."""
    assert account.crpc("setup", "--yes", "--ec2-events").returncode == 0
    registry = DynamoDBRegistry(aws, names.table(account.collective))
    for identity, instance in (("web1", INSTANCE), ("web2", "i-2")):
        registry.put(NodeRecord(identity, "1", instance="1", facts={"ec2": {"instance_id": instance}}))
    with watch(account, "--ec2-events", "--every", "300s") as events:
        wait_until(lambda: events() == ["join web1", "join web2"], 30)
        terminate(account, moto_server)
        wait_until(lambda: events()[2:] == ["failed web1"], 30)
    done = account.crpc("nodes", "prune", "--yes")
    assert steps(done.stdout)[0].startswith("- node web1 (its instance was terminated "), done.stdout
    assert [record.identity for record in registry.nodes()] == ["web2"]


def test_a_daemon_takes_the_events(account: AccountUnderTest, aws: AWS, moto_server: str) -> None:
    """With `ec2_events: true`, a node that watches notices a terminated instance, and a file is rendered without it."""
    assert account.crpc("setup", "--yes", "--ec2-events", "--node", IDENTITY).returncode == 0
    registry = DynamoDBRegistry(aws, names.table(account.collective))
    registry.put(NodeRecord("web1", "1", instance="1", facts={"ec2": {"instance_id": INSTANCE}}))
    folder = account.folder / "node"
    folder.mkdir()
    out, rendered = folder / "out", folder / "rendered"
    (folder / "members.j2").write_text("{% for node in members %}\n{{ node.identity }}\n{% endfor %}\n")
    command = {
        "filter": "ec2.instance_id=/^i-/",
        "every": "300s",
        "ec2_events": True,
        "exec": f'echo "$SERF_EVENT $(cut -f1)" >> {out}',
    }
    template = {"filter": command["filter"], "every": "1s", "template": {"src": "members.j2", "dest": str(rendered)}}
    configure(folder, account.collective, registry="dynamodb", watches={"command": command, "template": template})
    with daemon(folder, moto_server) as node:
        wait_until(lambda: out.exists() and rendered.exists() and rendered.read_text() == "web1\n", 40)
        assert out.read_text() == "member-join web1\n"
        terminate(account, moto_server)
        wait_until(lambda: out.read_text() == "member-join web1\nmember-failed web1\n", 30)
        wait_until(lambda: rendered.read_text() == "", 30)
        assert [one["node"] for one in node.events("ec2.terminated")] == ["web1"]


def test_a_daemon_reports_a_missing_queue(account: AccountUnderTest, moto_server: str) -> None:
    """A daemon serves requests without the queue, and logs once that it cannot read the events."""
    assert account.crpc("setup", "--yes", "--node", IDENTITY).returncode == 0
    folder = account.folder / "node"
    folder.mkdir()
    watches = {"w": {"exec": "true", "ec2_events": True}}
    configure(folder, account.collective, registry="dynamodb", watches=watches)
    with daemon(folder, moto_server) as node:
        node.wait_for("ec2.unreadable")
        assert f"{account.collective}_ec2" in node.events("ec2.unreadable")[0]["error"]


def test_events_without_a_queue_are_refused(account: AccountUnderTest) -> None:
    """The error says what is missing, and how to make it."""
    assert account.crpc("setup", "--yes").returncode == 0
    done = account.crpc("watch", "--ec2-events", "--once")
    queue = f"{account.collective}_ec2"
    assert (done.returncode, done.stderr) == (
        78,
        f"crpc: --ec2-events: queue '{queue}' does not exist (create it with 'crpc setup --ec2-events')\n",
    )
