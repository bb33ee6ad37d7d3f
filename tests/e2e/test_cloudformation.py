"""The CloudFormation template creates the same as `crpc setup`, and its policies are those of the files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from cfnlint.decode import cfn_yaml
from support.iam_session import ACCOUNT, REGION, open_session
from support.stacks import CONF, TEMPLATE, policy, rendered, stack

from collective import names
from collective.aws.session import AWS
from collective.setup.aws_inventory import Cloud
from collective.setup.creation import Extras, creation
from collective.transport.resource_policies import ec2_queue_policy, same_policy


@pytest.fixture(scope="module", autouse=True)
def stacked(moto_server: str) -> Iterator[dict[str, Any]]:
    """Create the stack on a server; yield its policies by file name."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL", moto_server)
        yield stack("filed")


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONF / "iam").iterdir()))
def test_the_files_match_the_template(stacked: dict[str, Any], name: str) -> None:
    """Each policy file equals that of a stack; that for Roles Anywhere of a stack with another identity tag."""
    if name == "node-roles-anywhere":
        assert stack("anywhere", IdentityTag="x509Subject/CN")["node"] == policy(name, "anywhere").document
    else:
        assert stacked[name] == policy(name, "filed").document


def test_setup_finds_nothing_to_do_after_the_template() -> None:
    """Topic and tables of the template are those of `crpc setup`, so both can be used for one collective."""
    stack("compared")
    cloud = Cloud(AWS(open_session()))
    topic = cloud.account.arn("sns", names.topic("compared"))
    values = {"AWS::Partition": "aws", "AWS::Region": REGION, "AWS::AccountId": ACCOUNT, "Collective": "compared"}
    template = cfn_yaml.load(str(TEMPLATE))["Resources"]
    used = {name: template[name]["Properties"] for name in ("Topic", "TopicPolicy", "RunsTable")}
    properties = rendered(used, {**values, "Topic": topic})
    # moto ignores the policy and the tags of the topic, and the expiry of items, so the test sets them.
    policy_text = json.dumps(properties["TopicPolicy"]["PolicyDocument"])
    cloud.sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=policy_text)
    cloud.sns.tag_resource(ResourceArn=topic, Tags=properties["Topic"]["Tags"])
    expiry = properties["RunsTable"]["TimeToLiveSpecification"]
    cloud.dynamodb.update_time_to_live(TableName=names.runs_table("compared"), TimeToLiveSpecification=expiry)
    assert creation(cloud, "compared").changes == []


def test_the_sources_of_watchers_are_those_of_setup() -> None:
    """A stack with a stream and with events of EC2 has the same queue, rule and table as `crpc setup` makes."""
    stack("sourced", Stream="yes", EC2Events="yes")
    cloud = Cloud(AWS(open_session()))
    steps = creation(cloud, "sourced", extras=Extras(stream=True, ec2_events=True)).changes
    # moto ignores the policies of topics and queues in the template, and the expiry of items.
    found = {(step.name, step.detail) for step in steps if step.kind != "topic"}
    assert found == {("sourced_runs", "items do not expire"), ("sourced_ec2", "policy differs")}
    values = {"AWS::Partition": "aws", "AWS::Region": REGION, "AWS::AccountId": ACCOUNT, "Collective": "sourced"}
    properties = cfn_yaml.load(str(TEMPLATE))["Resources"]["EventQueuePolicy"]["Properties"]
    made = rendered(properties["PolicyDocument"], values)
    assert same_policy(made, ec2_queue_policy(cloud.account, names.ec2_events("sourced")))
