"""Facts from the APIs of EC2, Auto Scaling and load balancing; and instances that should be nodes and are not."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from support.crpc_process import Crpc, clean_environment, make_crpc
from support.daemons import aws_environment

from collective import names
from collective.aws.session import AWS
from collective.errors import UsageError
from collective.fleet import ec2_instances
from collective.node.actions.runner import Runner
from collective.node.facts import ec2_api
from collective.node.facts.ec2_source import EC2Facts, described_by
from collective.registry import NodeRecord
from collective.registry.dynamodb import DynamoDBRegistry

IMAGE = "ami-12c6146b"  # one that moto has
REGION = "us-west-2"


@pytest.fixture(autouse=True)
def account(moto_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let boto3 use the server, in a region that no other test uses."""
    for name, value in {**aws_environment(moto_server), "AWS_DEFAULT_REGION": REGION}.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def collective() -> str:
    """A name of a collective, which is also a tag of its instances."""
    return f"ec2-{uuid.uuid4().hex[:8]}"


def run_instances(count: int, **tags: str) -> list[dict[str, Any]]:
    """Start instances with tags."""
    specification: Any = [
        {"ResourceType": "instance", "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}
    ]
    made = boto3.client("ec2").run_instances(
        ImageId=IMAGE, MinCount=count, MaxCount=count, TagSpecifications=specification if tags else []
    )
    return [dict(one) for one in made["Instances"]]


def attach(instance: str) -> str:
    """Put an instance into an autoscaling group and two of three target groups; return the end of all names."""
    end = uuid.uuid4().hex[:8]
    scaling, balancing, ec2 = boto3.client("autoscaling"), boto3.client("elbv2"), boto3.client("ec2")
    scaling.create_launch_configuration(LaunchConfigurationName=f"l-{end}", ImageId=IMAGE, InstanceType="t3.micro")
    scaling.create_auto_scaling_group(
        AutoScalingGroupName=f"web-{end}",
        LaunchConfigurationName=f"l-{end}",
        MinSize=0,
        MaxSize=5,
        AvailabilityZones=[f"{REGION}a"],
    )
    scaling.attach_instances(InstanceIds=[instance], AutoScalingGroupName=f"web-{end}")
    network = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    for name, target in (("blue", instance), ("green", instance), ("red", None)):
        group = balancing.create_target_group(Name=f"{name}-{end}", Protocol="HTTP", Port=80, VpcId=network)
        if target:
            balancing.register_targets(
                TargetGroupArn=group["TargetGroups"][0]["TargetGroupArn"], Targets=[{"Id": target}]
            )
    return end


@pytest.fixture
def runner() -> Iterator[Runner]:
    """A runner as in a daemon."""
    runner = Runner()
    yield runner
    runner.close()


def test_facts_of_an_instance(runner: Runner) -> None:
    """Tags, the autoscaling group and target groups are read in a process of the runner; metadata stay."""
    [instance] = run_instances(1, Name="web 1", team="öps")
    end = attach(instance["InstanceId"])
    metadata = {"ec2": {"instance_id": instance["InstanceId"], "region": REGION, "tags": {}}}
    source = EC2Facts(ec2_api.NAMES, described_by(runner), lambda: metadata)
    found = source.read()
    tags = found["ec2"].pop("tags")
    assert {name: value for name, value in tags.items() if not name.startswith("aws:")} == {
        "Name": "web 1",
        "team": "öps",
    }
    assert found["ec2"] == {
        "instance_id": instance["InstanceId"],
        "region": REGION,
        "autoscaling_group": f"web-{end}",
        "target_groups": [f"blue-{end}", f"green-{end}"],
    }
    assert found.omitted == ()


def test_an_instance_in_no_group() -> None:
    """The facts are empty; nothing is missing."""
    [instance] = run_instances(1)
    found = ec2_api.describe(instance["InstanceId"], REGION, ec2_api.NAMES)
    assert found == {"facts": {"tags": {}, "autoscaling_group": None, "target_groups": []}, "errors": []}


def test_an_api_that_cannot_be_reached_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are read."""
    [instance] = run_instances(1, Name="a")
    monkeypatch.setenv("AWS_ENDPOINT_URL_AUTO_SCALING", "http://127.0.0.1:9")
    found = ec2_api.describe(instance["InstanceId"], REGION, ["autoscaling_group", "tags"])
    assert found["facts"] == {"tags": {"Name": "a"}}
    assert [line.partition(":")[0] for line in found["errors"]] == ["autoscaling_group"]


def test_too_many_target_groups_are_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes a request, so their number is limited."""
    [instance] = run_instances(1)
    attach(instance["InstanceId"])
    monkeypatch.setattr(ec2_api, "MOST_TARGET_GROUPS", 2)
    found = ec2_api.describe(instance["InstanceId"], REGION, ["target_groups"])
    assert found["facts"] == {}
    assert found["errors"][0].endswith("target groups, the limit is 2")


@pytest.fixture
def crpc(tmp_path: Path, moto_server: str, collective: str) -> Crpc:
    """Run crpc for this collective."""
    (tmp_path / "client.yaml").write_text(json.dumps({"collective": collective, "state": "state", "key": "none"}))
    environment = {**clean_environment(), **aws_environment(moto_server), "AWS_DEFAULT_REGION": REGION}
    return make_crpc({**environment, "COLLECTIVE_CONFIG": str(tmp_path)})


def test_instances_without_a_daemon_are_found(crpc: Crpc, tmp_path: Path, collective: str) -> None:
    """Nodes are recognized by the fact `ec2.instance_id` or the private DNS name; the others are named, exit code 3."""
    table = DynamoDBRegistry(AWS(), names.table(collective))
    table.create()
    made = run_instances(5, collective=collective)
    run_instances(1, collective="another")
    fact, name, stopped, none, ended = made
    boto3.client("ec2").terminate_instances(InstanceIds=[ended["InstanceId"]])
    known = NodeRecord("web1.my.net", "1", agents={"rpcutil": "1"}, instance="x")
    table.put(replace(known, facts={"ec2": {"instance_id": fact["InstanceId"]}, "role": "web"}))
    table.put(replace(known, identity=name["PrivateDnsName"]))
    table.put(replace(known, identity="web3.my.net", facts={"ec2": {"instance_id": stopped["InstanceId"]}}))
    table.leave("web3.my.net", "x")
    table.put(replace(known, identity="elsewhere.my.net"))  # not on EC2
    done = crpc("find", "--dm", "ec2")
    missing = sorted([stopped["InstanceId"], none["InstanceId"]])
    assert done.stdout.split() == sorted(["web1.my.net", name["PrivateDnsName"]])
    assert (done.returncode, done.stderr) == (3, f"crpc: 2 running instances have no daemon: {', '.join(missing)}\n")
    document = json.loads(crpc("find", "--dm", "ec2", "-F", "role=web", "--json").stdout)
    assert (document["nodes"], sorted(document["not_asked"])) == (["web1.my.net"], missing)
    boto3.client("ec2").terminate_instances(InstanceIds=missing)
    done = crpc("find", "--dm", "ec2", "--count")
    assert (done.returncode, done.stdout, done.stderr) == (0, "2\n", "")


def test_the_filters_are_a_setting(crpc: Crpc, tmp_path: Path, collective: str) -> None:
    """`ec2_filters` says which instances must be nodes; that no instance matches is an error, not success."""
    DynamoDBRegistry(AWS(), names.table(collective)).create()
    [instance] = run_instances(1, role=f"web-{collective}")
    done = crpc("find", "--dm", "ec2")
    assert done.returncode == 1
    assert f"no running EC2 instance matches tag:collective={collective} (client.yaml: ec2_filters)" in done.stderr
    config = {
        "collective": collective,
        "state": "state",
        "key": "none",
        "ec2_filters": {"tag:role": f"web-{collective}"},
    }
    (tmp_path / "client.yaml").write_text(json.dumps(config))
    done = crpc("find", "--dm", "ec2")
    assert (done.returncode, done.stdout) == (3, "")
    assert f"1 running instance has no daemon: {instance['InstanceId']}" in done.stderr


def test_the_number_of_instances_is_limited(monkeypatch: pytest.MonkeyPatch, collective: str) -> None:
    """More than the limit is an error, and not a part of them."""
    run_instances(3, collective=collective)
    monkeypatch.setattr(ec2_instances, "MOST", 2)
    with pytest.raises(UsageError, match="more than 2 instances"):
        ec2_instances.running(AWS(), {"tag:collective": collective})
