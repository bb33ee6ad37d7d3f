"""Tests of `crpc doctor` in a working lab, and with one error after another: the finding and the exit code."""

from __future__ import annotations

import json
import shutil
import socket
import time
import uuid
from pathlib import Path

import pytest
from support.crpc_process import Crpc
from support.daemons import IDENTITY, aws_environment, configure, daemon
from support.json_documents import check_document
from support.proxy import Proxy

from collective.lab.layout import Layout

NO_CREDENTIALS = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}


def findings(crpc: Crpc, code: int, *words: str, **env: str) -> dict[str, str]:
    """Run `crpc doctor`, check its exit code, and return the last finding of each check as `state: text`."""
    done = crpc("doctor", "--json", *words, **env)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    document = json.loads(done.stdout)
    assert check_document(document) == "doctor"
    return {one["check"]: f"{one['state']}: {one['text']}" for one in document["findings"]}


@pytest.fixture
def caller(lab: Layout, tmp_path: Path) -> Path:
    """Copy the caller of the lab into a folder that a test may break; return its configuration file."""
    for name in ("client.yaml", "key"):
        shutil.copy(lab.folder / name, tmp_path / name)
    return tmp_path / "client.yaml"


def test_a_working_caller_passes_every_check(crpc: Crpc) -> None:
    """Every check of a working caller is ok, the last one is the reply of a node, and the exit code is 0."""
    done = crpc("doctor")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    lines = [line.split()[:3] for line in done.stdout.replace("nodes' keys", "keys").splitlines()]
    checks = "version configuration DDLs state key AWS queues clock topic registry keys reply".split()
    assert [line[:2] for line in lines] == [[check, "ok"] for check in checks]
    assert ": replied in " in done.stdout


def test_the_doctor_does_not_remember_nodes(crpc: Crpc, caller: Path) -> None:
    """The doctor does not store keys of nodes: only calls decide which keys are trusted."""
    findings(crpc, 0, "--config", str(caller))
    assert not (caller.parent / "state" / "known_nodes").exists()


def test_configuration_errors_come_before_network_errors(crpc: Crpc, caller: Path) -> None:
    """All errors are reported; the exit code is that of the configuration, then of credentials, then of the network."""
    nobody = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    silent = findings(crpc, 69, "--config", str(caller), **nobody)
    assert silent["queues"].startswith("error: lab_reply_")
    assert not {"clock", "topic", "registry", "reply"} & silent.keys()
    refused = findings(crpc, 77, "--config", str(caller), **nobody, **NO_CREDENTIALS)
    assert refused["AWS"] == "error: AWS credentials: Unable to locate credentials"
    (caller.parent / "key").chmod(0o644)
    exposed = findings(crpc, 78, "--config", str(caller), **nobody, **NO_CREDENTIALS)
    assert exposed["key"].startswith("error: ")
    assert exposed["AWS"] == refused["AWS"]


@pytest.mark.parametrize(
    ("region", "finding"),
    [
        ("", "error: AWS: You must specify a region. (set AWS_DEFAULT_REGION, or region in ~/.aws/config)"),
        ("eu west", "error: AWS: sqs: Provided region_name 'eu west' doesn't match a supported format. (check"),
    ],
)
def test_an_invalid_region_is_a_configuration_error(crpc: Crpc, region: str, finding: str) -> None:
    """A missing or invalid region is an error of the configuration, not of the network."""
    assert findings(crpc, 78, AWS_DEFAULT_REGION=region)["AWS"].startswith(finding)


def test_a_broken_aws_config_file_is_named(crpc: Crpc, tmp_path: Path) -> None:
    """Every command reports a broken AWS configuration file with its path, in one line."""
    (tmp_path / "config").write_text("garbage\n")
    broken = str(tmp_path / "config")
    assert broken in findings(crpc, 78, AWS_CONFIG_FILE=broken)["AWS"]
    assert crpc("find", AWS_CONFIG_FILE=broken).returncode == 78


def test_a_collective_without_nodes(crpc: Crpc, tmp_path: Path, moto_server: str) -> None:
    """Without topic and table, the doctor reports that no node has ever joined and that no node replied."""
    configure(tmp_path, collective=f"empty-{uuid.uuid4().hex[:8]}")
    path = tmp_path / "client.yaml"
    path.write_text(path.read_text().replace('"registry": "none"', '"registry": "dynamodb"'))
    empty = findings(crpc, 69, "--config", str(path), **aws_environment(moto_server))
    assert empty["key"].startswith("warning: 'key: none'")
    assert "_requests' does not exist: no node has joined" in empty["topic"]
    assert "_nodes' does not exist: nodes are discovered by broadcast" in empty["registry"]
    assert empty["reply"].startswith("error: no node replied to a broadcast")


def test_a_caller_with_an_untrusted_key(crpc: Crpc, caller: Path) -> None:
    """Nodes do not answer a key that they do not trust; the finding names this as the likely reason."""
    from collective.signing import key_files, keys

    (caller.parent / "key").unlink()
    key_files.write_new(caller.parent / "key", keys.new().text())
    ignored = findings(crpc, 69, "--config", str(caller))
    assert "'crpc keys' shows the line for allowed_signers" in ignored["reply"]


def test_a_throttling_service(crpc: Crpc, tmp_path: Path, moto_server: str) -> None:
    """Without a registry the doctor counts the replies to a broadcast; it reports throttling at once."""
    configure(tmp_path, collective=f"doctor-{uuid.uuid4().hex[:8]}")
    with Proxy(moto_server) as proxy, daemon(tmp_path, moto_server):
        words = ("--config", str(tmp_path / "client.yaml"))
        env = aws_environment(proxy.url)
        assert findings(crpc, 0, *words, **env)["reply"] == "ok: 1 node replied to a broadcast"
        assert IDENTITY not in crpc("nodes", "list", *words).stdout
        proxy.turn("throttle")
        assert "Throttling" in findings(crpc, 69, *words, **env)["queues"]


def test_a_server_that_accepts_connections_and_does_not_answer(crpc: Crpc) -> None:
    """The doctor gives up after seconds, not after the minutes of the default timeouts of boto3."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        began = time.monotonic()
        hung = findings(crpc, 69, AWS_ENDPOINT_URL=f"http://127.0.0.1:{server.getsockname()[1]}")
    assert "Read timeout" in hung["queues"]
    assert time.monotonic() - began < 15
