"""`crpc setup` against a real server: it creates what is missing, repairs what differs, and removes all of it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from support.accounts import AccountUnderTest
from support.crpc_process import Completed, on_a_terminal
from support.daemons import IDENTITY, configure, daemon
from support.json_documents import check_document
from support.proxy import Proxy

from collective import names
from collective.registry.run_table import KEY as RUNS_KEY


@pytest.fixture
def account(moto_server: str, tmp_path: Path) -> AccountUnderTest:
    """Return a collective without any resources."""
    return AccountUnderTest(moto_server, tmp_path)


def lines(done: Completed) -> list[str]:
    """Return the steps of the plan."""
    assert done.returncode == 0, done.stdout + done.stderr
    return [line.strip() for line in done.stdout.splitlines() if line.startswith("  ")]


def test_the_first_run_creates_everything_and_the_second_nothing(account: AccountUnderTest) -> None:
    """Each run of `crpc setup` shows its steps and the account, and the second run changes nothing."""
    mine = account.collective
    first, second = account.crpc("setup", "--yes"), account.crpc("setup", "--yes")
    assert first.stdout.startswith(f"{mine} in the account 123456789012, eu-central-1:\n")
    assert lines(first) == [f"+ topic {mine}_requests", f"+ table {mine}_nodes", f"+ table {mine}_runs"]
    assert first.stdout.endswith("\n3 changes made\n")
    assert lines(second) == [
        f"= topic {mine}_requests (exists)",
        f"= table {mine}_nodes (exists)",
        f"= table {mine}_runs (exists)",
    ]
    assert second.stdout.endswith("\nNothing to do\n")
    assert (account.topics(), account.tables(), account.queues()) == (
        [f"{mine}_requests"],
        [f"{mine}_nodes", f"{mine}_runs"],
        [],
    )


def test_a_dry_run_shows_the_plan_and_changes_nothing(account: AccountUnderTest) -> None:
    """A dry run of `crpc setup` shows the plan, changes nothing, and exits with 0."""
    done = account.crpc("setup", "--dry-run")
    kinds = (("topic", "requests"), ("table", "nodes"), ("table", "runs"))
    assert lines(done) == [f"+ {kind} {account.collective}_{name}" for kind, name in kinds]
    assert done.stdout.endswith("\n3 changes to make\n")
    assert (account.topics(), account.tables()) == ([], [])


def test_policies_are_printed_for_this_account(account: AccountUnderTest) -> None:
    """As text, each policy is JSON under a line with its name; as JSON there is one document. Nothing is changed."""
    done = account.crpc("setup", "--policies")
    assert (done.returncode, done.stderr) == (0, "")
    parts = re.split(r"^# ([\w-]+): .*\n", done.stdout, flags=re.MULTILINE)[1:]
    printed = {name: json.loads(text) for name, text in zip(parts[::2], parts[1::2], strict=True)}
    document = json.loads(account.crpc("setup", "--policies", "-o", "json").stdout)
    assert check_document(document) == "policies"
    assert document["policies"] == printed
    assert (document["account"], document["region"]) == ("123456789012", "eu-central-1")
    caller = json.dumps(printed["caller"])
    assert f"arn:aws:sns:eu-central-1:123456789012:{account.collective}_requests" in caller
    assert (account.topics(), account.tables(), account.queues()) == ([], [], [])
    assert account.crpc("setup", "--policies", "--remove").returncode == 64


def test_in_a_script_yes_is_required(account: AccountUnderTest) -> None:
    """The plan is shown, nothing is done, and the exit code is 4; when nothing is to be done, --yes is not required."""
    for words in ((), ("--json",)):
        done = account.crpc("setup", *words)
        assert (done.returncode, account.topics()) == (4, [])
        assert done.stderr == "crpc: not confirmed, nothing changed (use --yes to skip the question)\n"
        assert f"{account.collective}_requests" in done.stdout
    assert account.crpc("setup", "--yes").returncode == 0
    assert account.crpc("setup").returncode == 0


def test_on_a_terminal_it_asks_for_confirmation(account: AccountUnderTest) -> None:
    """`crpc setup` continues after a yes; to remove a collective, its name must be typed."""
    for answer, words, code in (
        ("n\n", ["setup"], 4),
        ("y\n", ["setup"], 0),
        ("y\n", ["setup", "--remove"], 4),
        (f"{account.collective}\n", ["setup", "--remove"], 0),
    ):
        assert on_a_terminal(account.environment, answer, *words)[0] == code
        there = (words == ["setup"] and code == 0) or (code == 4 and "--remove" in words)
        assert bool(account.topics()) is there


def test_without_a_registry_no_table_is_created(moto_server: str, tmp_path: Path) -> None:
    """With `registry: none`, the plan has only the topic."""
    account = AccountUnderTest(moto_server, tmp_path, registry="none")
    assert lines(account.crpc("setup", "--yes")) == [f"+ topic {account.collective}_requests"]
    assert account.tables() == []


def test_another_collective_is_selected_by_its_name(moto_server: str, tmp_path: Path) -> None:
    """Only the collective of -T is set up."""
    account = AccountUnderTest(moto_server, tmp_path, collectives=["elsewhere"])
    assert account.crpc("setup", "-T", "elsewhere", "--yes").returncode == 0
    assert account.topics() == []
    assert AccountUnderTest(moto_server, tmp_path, "elsewhere").topics() == ["elsewhere_requests"]
    unknown = account.crpc("setup", "-T", "nowhere", "--yes")
    assert (unknown.returncode, "unknown collective 'nowhere'" in unknown.stderr) == (64, True)


def test_differences_are_repaired(account: AccountUnderTest, moto_server: str) -> None:
    """A topic created by a node, and a queue created by an older version or manually, are repaired."""
    queue = names.node_queue(account.collective, "web1")
    topic = account.sns.create_topic(Name=f"{account.collective}_requests")["TopicArn"]
    url = account.sqs.create_queue(QueueName=queue)["QueueUrl"]
    account.sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=f"arn:aws:sqs:eu-central-1:123456789012:{queue}")
    account.dynamodb.create_table(
        TableName=f"{account.collective}_nodes",
        KeySchema=[{"AttributeName": "identity", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "identity", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    account.dynamodb.create_table(
        TableName=f"{account.collective}_runs",
        KeySchema=RUNS_KEY,
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("part", "entry")],
        BillingMode="PAY_PER_REQUEST",
    )
    tag, lost = f"collective={account.collective}", "__default_statement_ID"
    attributes = "VisibilityTimeout is 30, must be 5; MessageRetentionPeriod is 345600, must be 3900"
    tags = f"missing tags: {tag}, collective:identity=web1"
    with Proxy(moto_server) as proxy:
        requests: list[str] = []
        proxy.watch = lambda step, _: requests.append(step)
        repaired = account.crpc("setup", "--node", "web1", "--yes", AWS_ENDPOINT_URL=proxy.url)
    # SNS API reference, Subscribe: an existing subscription with other attributes is refused, but not by this server.
    assert requests.index("before SetSubscriptionAttributes") < requests.index("before Subscribe")
    policy = f"policy differs, statements to be removed: {lost}"
    assert lines(repaired) == [
        f"~ topic {account.collective}_requests ({policy}; missing tags: {tag})",
        f"~ table {account.collective}_nodes (missing tags: {tag})",
        f"~ table {account.collective}_runs (missing tags: {tag}; items do not expire)",
        f"~ queue {queue} ({attributes}; policy differs; {tags}; subscribed without raw delivery)",
    ]
    assert account.crpc("setup", "--node", "web1").stdout.endswith("\nNothing to do\n")
    assert account.sqs.list_queue_tags(QueueUrl=url)["Tags"]["collective:identity"] == "web1"


def test_queues_are_created_for_nodes(account: AccountUnderTest, tmp_path: Path) -> None:
    """Names can be folded or in a file; a second run changes nothing, and no queue is subscribed twice."""
    (tmp_path / "names").write_text("web1\nweb2\ndb1\n")
    expected = sorted(names.node_queue(account.collective, name) for name in ("web1", "web2", "db1"))
    assert account.crpc("setup", "--node", "web[1-2]", "--node", "web1", "--yes").returncode == 0
    done = account.crpc("setup", "--nodes", str(tmp_path / "names"), "--yes")
    assert [line[0] for line in lines(done)] == ["=", "=", "=", "=", "=", "+"]
    assert account.queues() == account.subscribed() == expected


def test_a_table_that_is_not_a_registry_is_refused(account: AccountUnderTest) -> None:
    """A table that is not a registry is one line with exit code 78, before anything is created."""
    account.dynamodb.create_table(
        TableName=f"{account.collective}_nodes",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    done = account.crpc("setup", "--yes")
    assert (done.returncode, done.stdout, account.topics()) == (78, "", [])
    assert done.stderr == (
        f"crpc: {account.collective}_nodes: this table is not a registry (use another name for the collective)\n"
    )
    assert account.crpc("setup", "--remove", "--yes").returncode == 78
    assert account.tables() == [f"{account.collective}_nodes"]


def test_a_removal_deletes_everything_of_the_collective_only(account: AccountUnderTest, tmp_path: Path) -> None:
    """The queues of daemons, callers and setup are deleted, and queues with similar names are kept."""
    configure(tmp_path, account.collective, registry="dynamodb")
    account.write_config()
    alike = [f"{account.collective}_node_exporter", f"{account.collective}_orders"]
    for name in alike:
        account.sqs.create_queue(QueueName=name)
    assert account.crpc("setup", "--node", "web7", "--yes").returncode == 0
    with daemon(tmp_path, account.environment["AWS_ENDPOINT_URL"]) as node:
        assert account.crpc("rpcutil", "ping", "-I", IDENTITY).returncode == 0
        planned = account.crpc("setup", "--remove", "--dry-run")
        assert (
            planned.stderr == f"crpc: alive, and will create their queues again (stop collectived first): {IDENTITY}\n"
        )
        assert f"- topic {account.collective}_requests (2 queues subscribed)" in lines(planned)
        node.process.terminate()
        node.process.wait(30)
    assert len(account.queues()) == len(alike) + 3
    removed = account.crpc("setup", "--remove", "--yes", "--json")
    document: dict[str, Any] = json.loads(removed.stdout)
    assert (removed.returncode, document["warnings"]) == (0, [])
    assert [(step["change"], step["kind"], step["done"]) for step in document["steps"]] == [
        ("remove", kind, True) for kind in ("topic", "queue", "queue", "queue", "table", "table")
    ]
    assert (account.topics(), account.subscribed(), account.tables(), account.queues()) == ([], [], [], alike)
    assert account.crpc("setup", "--remove", "--yes").stdout.endswith("\nNothing to do\n")
