"""`crpc doctor` in a working lab, and with one problem after another: the finding and the exit code."""

from __future__ import annotations

import json
import shutil
import socket
import time
import uuid
from pathlib import Path

import boto3
import pytest
from support.crpc_process import Crpc
from support.daemons import IDENTITY, aws_environment, configure, daemon
from support.json_documents import check_document
from support.proxy import Proxy

from collective import names
from collective.lab.layout import Layout

NO_CREDENTIALS = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}


def found(crpc: Crpc, code: int, *words: str, **env: str) -> dict[str, str]:
    """Run the doctor, which must exit with `code`; return the last finding of each check as `state: text`."""
    done = crpc("doctor", "--json", *words, **env)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    document = json.loads(done.stdout)
    assert check_document(document) == "doctor"
    return {one["check"]: f"{one['state']}: {one['text']}" for one in document["findings"]}


@pytest.fixture
def caller(lab: Layout, tmp_path: Path) -> Path:
    """Copy the configuration of the lab's caller to a folder where a test can change it; return its path."""
    for name in ("client.yaml", "key"):
        shutil.copy(lab.folder / name, tmp_path / name)
    return tmp_path / "client.yaml"


def test_a_working_caller_has_no_problems(crpc: Crpc) -> None:
    """Every check is ok, the exit code is 0, and the last check is a node's reply."""
    done = crpc("doctor")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    lines = [line.split()[:3] for line in done.stdout.replace("nodes' keys", "keys").splitlines()]
    checks = "version configuration DDLs state key AWS queues clock topic registry keys reply".split()
    assert [line[:2] for line in lines] == [[check, "ok"] for check in checks]
    assert ": replied in " in done.stdout


def test_the_doctor_leaves_no_queue_behind(crpc: Crpc, lab: Layout, caller: Path) -> None:
    """The reply queue of the doctor is deleted; the next call creates another, whose name is not blocked."""
    endpoint = lab.endpoint.read_text().strip()
    sqs = boto3.client(
        "sqs", endpoint_url=endpoint, region_name="eu-central-1", aws_access_key_id="t", aws_secret_access_key="t"
    )

    def replies() -> set[str]:
        return set(sqs.list_queues(QueueNamePrefix="lab_reply_").get("QueueUrls", ()))

    before = replies()
    used = found(crpc, 0, "--config", str(caller))["queues"]
    assert used.startswith("ok: lab_reply_")
    assert replies() == before
    assert crpc("rpcutil", "ping", "--config", str(caller)).returncode == 0
    assert len(replies() - before) == 1


def test_the_doctor_adds_no_known_nodes(crpc: Crpc, caller: Path) -> None:
    """The doctor adds no keys of nodes: only calls decide which keys are trusted."""
    found(crpc, 0, "--config", str(caller))
    assert not (caller.parent / "state" / "known_nodes").exists()


def test_local_errors_take_precedence_in_the_exit_code(crpc: Crpc, caller: Path) -> None:
    """All errors are reported; the exit code is that of the configuration, then credentials, then the network."""
    unreachable = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    silent = found(crpc, 69, "--config", str(caller), **unreachable)
    assert silent["queues"].startswith("error: lab_reply_")
    assert not {"clock", "topic", "registry", "reply"} & silent.keys()
    refused = found(crpc, 77, "--config", str(caller), **unreachable, **NO_CREDENTIALS)
    assert refused["AWS"] == "error: AWS credentials: Unable to locate credentials"
    (caller.parent / "key").chmod(0o644)
    exposed = found(crpc, 78, "--config", str(caller), **unreachable, **NO_CREDENTIALS)
    assert exposed["key"].startswith("error: ")
    assert exposed["AWS"] == refused["AWS"]


@pytest.mark.parametrize(
    ("region", "message"),
    [
        ("", "error: AWS: You must specify a region. (set AWS_DEFAULT_REGION, or region in ~/.aws/config)"),
        ("eu west", "error: AWS: sqs: Provided region_name 'eu west' doesn't match a supported format. (check"),
    ],
)
def test_an_invalid_region_is_a_configuration_error(crpc: Crpc, region: str, message: str) -> None:
    """The exit code for an invalid region is that of the configuration, not of the network."""
    assert found(crpc, 78, AWS_DEFAULT_REGION=region)["AWS"].startswith(message)


def test_an_invalid_configuration_file_of_boto3_is_named(crpc: Crpc, tmp_path: Path) -> None:
    """Every command reports an invalid configuration file of boto3 in one line."""
    (tmp_path / "config").write_text("garbage\n")
    broken = str(tmp_path / "config")
    assert broken in found(crpc, 78, AWS_CONFIG_FILE=broken)["AWS"]
    assert crpc("find", AWS_CONFIG_FILE=broken).returncode == 78


def test_a_collective_without_nodes(crpc: Crpc, tmp_path: Path, moto_server: str) -> None:
    """The doctor reports that topic and table do not exist, and that no node replies."""
    configure(tmp_path, collective=f"empty-{uuid.uuid4().hex[:8]}")
    path = tmp_path / "client.yaml"
    path.write_text(path.read_text().replace('"registry": "none"', '"registry": "dynamodb"'))
    empty = found(crpc, 69, "--config", str(path), **aws_environment(moto_server))
    assert empty["key"].startswith("warning: 'key: none'")
    assert "_requests' does not exist: no node has joined" in empty["topic"]
    assert "_nodes' does not exist: nodes are discovered by broadcast" in empty["registry"]
    assert empty["reply"].startswith("error: no node replied to a broadcast")


def test_an_untrusted_caller_gets_a_hint(crpc: Crpc, caller: Path) -> None:
    """When no node trusts the key, nodes are silent, and the finding names the possible reason."""
    from collective.signing import key_files, keys

    (caller.parent / "key").unlink()
    key_files.write_new(caller.parent / "key", keys.new().text())
    ignored = found(crpc, 69, "--config", str(caller))
    assert "'crpc keys' shows the line for allowed_signers" in ignored["reply"]


def test_a_node_that_is_not_subscribed_is_reported(crpc: Crpc, tmp_path: Path, moto_server: str) -> None:
    """Calls reach the node directly, so only the doctor notices before the next broadcast."""
    collective = f"doctor-{uuid.uuid4().hex[:8]}"
    configure(tmp_path, collective=collective, registry="dynamodb")
    path = tmp_path / "client.yaml"
    path.write_text(path.read_text().replace('"registry": "none"', '"registry": "dynamodb"'))
    env = aws_environment(moto_server)
    words = ("--config", str(path))
    assert crpc("setup", *words, "--yes", **env).returncode == 0
    sns = boto3.client(
        "sns",
        endpoint_url=moto_server,
        region_name="eu-central-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    with daemon(tmp_path, moto_server):
        assert crpc("rpcutil", "ping", *words, **env).returncode == 0
        assert found(crpc, 0, *words, **env)["topic"] == f"ok: {names.topic(collective)}"
        arn = f"arn:aws:sns:eu-central-1:123456789012:{names.topic(collective)}"
        for one in sns.list_subscriptions_by_topic(TopicArn=arn)["Subscriptions"]:
            sns.unsubscribe(SubscriptionArn=one["SubscriptionArn"])
        topic = found(crpc, 0, *words, **env)["topic"]
    assert topic.startswith(f"warning: not subscribed, so broadcasts do not reach {IDENTITY} (a node repairs this")


def test_throttling_is_reported(crpc: Crpc, tmp_path: Path, moto_server: str) -> None:
    """Without a registry, the nodes that reply are counted; a throttled service is reported at once."""
    configure(tmp_path, collective=f"doctor-{uuid.uuid4().hex[:8]}")
    with Proxy(moto_server) as proxy, daemon(tmp_path, moto_server):
        words = ("--config", str(tmp_path / "client.yaml"))
        env = aws_environment(proxy.url)
        assert found(crpc, 0, *words, **env)["reply"] == "ok: 1 node replied to a broadcast"
        assert IDENTITY not in crpc("nodes", "list", *words).stdout
        proxy.turn("throttle")
        assert "Throttling" in found(crpc, 69, *words, **env)["queues"]


def test_a_server_that_does_not_respond_takes_seconds(crpc: Crpc) -> None:
    """The doctor gives up after seconds, not after the minutes of boto3's defaults."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        began = time.monotonic()
        hung = found(crpc, 69, AWS_ENDPOINT_URL=f"http://127.0.0.1:{server.getsockname()[1]}")
    assert "Read timeout" in hung["queues"]
    assert time.monotonic() - began < 15
