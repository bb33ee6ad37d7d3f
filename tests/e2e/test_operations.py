"""The steps of docs/how-to/set-up-aws.md lead from an empty account to the first answered request."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import boto3
from support.crpc_process import BIN, Completed
from support.daemons import aws_environment, daemon

from collective import names

CONF = Path(__file__).resolve().parents[2] / "conf"
NODE = {
    "collective": "operations",
    "identity": "web1.my.net",
    "allowed_signers": "allowed_signers",
    "policy": "policy.yaml",
    "state": "state",
    "audit": "audit.jsonl",
    "queue_tags": {"collective:instance": "arn:aws:ec2:eu-central-1:111122223333:instance/i-0"},
    "log_format": "json",
}


def test_from_an_empty_account_to_the_first_reply_and_back(
    tmp_path: Path, moto_server: str, needs: Callable[[str, str], None]
) -> None:
    """Set up, trust, check, start and call; after the removal there is nothing left to remove."""
    needs("ssh-keygen", "openssh-client")
    env = {**aws_environment(moto_server), "HOME": str(tmp_path), "PATH": f"{BIN}:/usr/bin:/bin"}

    def sh(command: str) -> Completed:
        done = subprocess.run(["sh", "-ec", command], env=env, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done

    # 1, 2: a caller, then topic and table
    sh("mkdir ~/.ssh && ssh-keygen -q -t ed25519 -N '' -f ~/.ssh/id_ed25519")
    sh("mkdir -p ~/.config/collective && echo 'collective: operations' > ~/.config/collective/client.yaml")
    assert "3 changes to make\n" in sh("crpc setup --dry-run").stdout
    assert "3 changes made\n" in sh("crpc setup --yes").stdout

    # 3: the first node, in a folder instead of /etc/collective
    etc = tmp_path / "etc"
    etc.mkdir()
    (etc / "node.yaml").write_text(json.dumps(NODE))
    (etc / "policy.yaml").write_text((CONF / "policy.yaml").read_text())
    shown = re.search(r"^Caller: +(\S+)$", sh("crpc keys").stdout, re.MULTILINE)
    assert shown
    sh(f'crpc keys trust "$(cat ~/.ssh/id_ed25519.pub)" --as {shown[1]} --file ~/etc/allowed_signers')
    sh("collectived --config ~/etc/node.yaml --check")

    # 4: the first reply
    with daemon(etc, moto_server):
        assert re.match(r"web1\.my\.net +time=", sh("crpc ping").stdout)
        sh("crpc doctor")
        assert tags(moto_server) == {
            "collective": "operations",
            "collective:identity": "web1.my.net",
            "collective:instance": "arn:aws:ec2:eu-central-1:111122223333:instance/i-0",
        }
    sh("crpc setup --remove --yes")
    assert "Nothing to do\n" in sh("crpc setup --remove").stdout


def tags(url: str) -> dict[str, str]:
    """Return the tags of the node's queue, which the conditions of IAM policies use."""
    session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="eu-central-1")
    sqs = session.client("sqs", endpoint_url=url)
    queue = sqs.get_queue_url(QueueName=names.node_queue("operations", "web1.my.net"))["QueueUrl"]
    return sqs.list_queue_tags(QueueUrl=queue)["Tags"]
