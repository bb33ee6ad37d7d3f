"""The policies in conf/iam and the CloudFormation template pass independent linters, which find known mistakes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.iam import IAMPolicy, IAMRequest

from collective.aws.account import Account
from collective.setup.iam_policies import filled

CONF = Path(__file__).resolve().parents[1] / "conf"
BIN = Path(sys.executable).parent
TEMPLATE = CONF / "cloudformation.yaml"
QUEUE = "arn:aws:sqs:eu-central-1:111122223333:production_node_web1-0123456789"


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, timeout=100, check=False)


# Its command writes /tmp/parliament.log, which may be another user's file; its library does not.
PARLIAMENT = """
import pathlib, sys
from parliament import analyze_policy_string
for path in pathlib.Path(sys.argv[1]).glob("*.json"):
    for finding in analyze_policy_string(path.read_text(), str(path)).findings:
        print(finding.issue)
"""


def parliament(folder: Path) -> list[str]:
    """Return what the linter for IAM policies finds in a folder of them."""
    # Python's and setuptools' warnings about its code differ from version to version.
    done = run(sys.executable, "-W", "ignore", "-c", PARLIAMENT, folder)
    assert done.stderr == ""
    return sorted(done.stdout.splitlines())


def test_policies_pass_the_linter() -> None:
    """Every action exists, and supports the resources and conditions of its statement."""
    assert parliament(CONF / "iam") == []


def test_the_policy_linter_finds_mistakes(tmp_path: Path) -> None:
    """A misspelt action, the resource of another service and an unknown condition are three findings."""
    text = (CONF / "iam" / "node.json").read_text()
    for good, bad in (("SetQueue", "SetQeue"), ("table/", "tabel/"), ("sns:Protocol", "sns:Protocoll")):
        assert good in text
        text = text.replace(good, bad)
    (tmp_path / "broken.json").write_text(text)
    assert parliament(tmp_path) == ["RESOURCE_MISMATCH", "UNKNOWN_ACTION", "UNKNOWN_CONDITION_FOR_ACTION"]


@pytest.mark.parametrize("path", sorted((CONF / "iam").iterdir()), ids=lambda path: path.stem)
def test_policies_are_within_the_size_limit(path: Path) -> None:
    """IAM and STS quotas: a managed policy has at most 6,144 characters, without whitespace."""
    assert len("".join(path.read_text().split())) <= 6144


WITHOUT_RESOURCES = ("ec2-facts", "eip")  # AWS defines none for their actions, or none of a collective
LONGEST = Account("aws", "ap-southeast-2", "012345678901"), "a-20-character-name-"[:19] + "x"


@pytest.mark.parametrize(
    ("account", "collective"),
    [(Account("aws", "us-east-1", "123456789012"), "staging"), LONGEST],
    ids=["short", "long"],
)
def test_filled_in_policies_pass_the_linter(account: Account, collective: str, tmp_path: Path) -> None:
    """Account, region and collective are in every ARN, nothing of the examples remains, and the size is allowed."""
    policies = filled(account, collective)
    assert policies.keys() == {path.stem for path in (CONF / "iam").iterdir()}
    for name, policy in policies.items():
        text = json.dumps(policy)
        assert not re.search("production|eu-central-1|111122223333", text)
        service = {"cluster": "dynamodb"}.get(name, "sqs")
        own = f"arn:aws:{service}:{account.region}:{account.number}:"
        assert name in WITHOUT_RESOURCES or (own in text and f"{collective}_" in text)
        assert len("".join(text.split())) <= 6144
        (tmp_path / f"{name}.json").write_text(text)
    assert parliament(tmp_path) == []


def test_policies_of_another_partition_have_its_name() -> None:
    """Every ARN of a policy for China begins with arn:aws-cn."""
    text = json.dumps(filled(Account("aws-cn", "cn-north-1", "123456789012"), "staging"))
    assert set(re.findall(r"arn:[a-z-]+:", text)) == {"arn:aws-cn:"}


def test_the_template_passes_the_linter(tmp_path: Path) -> None:
    """cfn-lint has no findings for the template, and finds the mistake in a broken one."""
    every = ("--regions", "eu-central-1", "--")
    passed = run(BIN / "cfn-lint", *every, TEMPLATE)
    assert (passed.returncode, passed.stdout, passed.stderr) == (0, "", "")
    broken = tmp_path / "broken.yaml"
    broken.write_text(TEMPLATE.read_text().replace("BillingMode:", "BilingMode:").replace("sqs:Receive", "sqs:Recieve"))
    failed = run(BIN / "cfn-lint", *every, broken)
    assert failed.returncode != 0
    assert "BilingMode" in failed.stdout
    assert "recievemessage" in failed.stdout


def test_a_node_without_a_tag_has_no_permissions() -> None:
    """A variable without a value matches nothing, not even a queue tagged with the name of the variable."""
    node = IAMPolicy(json.loads((CONF / "iam" / "node.json").read_text()))
    named = {"aws:ResourceTag/collective:identity": "${aws:PrincipalTag/collective:identity}"}
    principal = {"aws:PrincipalTag/collective:identity": "web1"}
    assert not node(IAMRequest("sqs:ReceiveMessage", QUEUE, named))
    assert not node(IAMRequest("sqs:ReceiveMessage", QUEUE, principal))
    own = IAMRequest("sqs:ReceiveMessage", QUEUE, {"aws:ResourceTag/collective:identity": "web1", **principal})
    assert node(own) == {("UseOwnQueue", "sqs:ReceiveMessage")}


def test_a_write_without_a_key_is_denied() -> None:
    """ForAllValues alone is true without a key, so the condition also requires one."""
    node = IAMPolicy(json.loads((CONF / "iam" / "node.json").read_text()))
    table = "arn:aws:dynamodb:eu-central-1:111122223333:table/production_nodes"
    principal = {"aws:PrincipalTag/collective:identity": "web1"}
    assert not node(IAMRequest("dynamodb:PutItem", table, principal))
    assert node(IAMRequest("dynamodb:PutItem", table, {"dynamodb:LeadingKeys": "web1", **principal}))
    assert not node(IAMRequest("dynamodb:PutItem", table, {"dynamodb:LeadingKeys": "web2", **principal}))
