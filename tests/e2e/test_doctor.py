"""`crpc doctor` in a lab that is well, and where one thing after another is not: it is named, and the code is right."""

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
from support.proxy import Proxy

from collective.lab.layout import Layout

NO_CREDENTIALS = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}


def found(crpc: Crpc, code: int, *words: str, **env: str) -> dict[str, str]:
    """Run the doctor, who must end with `code`; return the last finding of each check: `state: text`."""
    done = crpc("doctor", "--json", *words, **env)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return {one["check"]: f"{one['state']}: {one['text']}" for one in json.loads(done.stdout)["findings"]}


@pytest.fixture
def caller(lab: Layout, tmp_path: Path) -> Path:
    """The lab's caller once more, in a folder of its own, to be broken; returns its configuration."""
    for name in ("client.yaml", "key"):
        shutil.copy(lab.folder / name, tmp_path / name)
    return tmp_path / "client.yaml"


def test_a_caller_that_is_well(crpc: Crpc) -> None:
    """A line for each thing, all of them ok, and 0; the last is a node's answer."""
    done = crpc("doctor")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    lines = [line.split()[:3] for line in done.stdout.replace("nodes' keys", "keys").splitlines()]
    checks = "version configuration DDLs state key AWS queues clock topic registry keys reply".split()
    assert [line[:2] for line in lines] == [[check, "ok"] for check in checks]
    assert ": replied in " in done.stdout


def test_the_doctor_leaves_nothing_behind(crpc: Crpc, caller: Path) -> None:
    """No node is known afterwards that was not before: whom to trust is decided by calls."""
    found(crpc, 0, "--config", str(caller))
    assert not (caller.parent / "state" / "known_nodes").exists()


def test_what_is_wrong_here_comes_before_what_is_wrong_there(crpc: Crpc, caller: Path) -> None:
    """All faults are found at once, and the code is that of the configuration, of credentials, of the network."""
    nobody = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    silent = found(crpc, 69, "--config", str(caller), **nobody)
    assert silent["queues"].startswith("error: lab_reply_")
    assert not {"clock", "topic", "registry", "reply"} & silent.keys()
    refused = found(crpc, 77, "--config", str(caller), **nobody, **NO_CREDENTIALS)
    assert refused["AWS"] == "error: AWS credentials: Unable to locate credentials"
    (caller.parent / "key").chmod(0o644)
    exposed = found(crpc, 78, "--config", str(caller), **nobody, **NO_CREDENTIALS)
    assert exposed["key"].startswith("error: ")
    assert exposed["AWS"] == refused["AWS"]


@pytest.mark.parametrize(
    ("region", "said"),
    [
        ("", "error: AWS: You must specify a region. (set AWS_DEFAULT_REGION, or region in ~/.aws/config)"),
        ("eu west", "error: AWS: sqs: Provided region_name 'eu west' doesn't match a supported format. (check"),
    ],
)
def test_a_region_that_cannot_be(crpc: Crpc, region: str, said: str) -> None:
    """It is the configuration that is wrong, not the network."""
    assert found(crpc, 78, AWS_DEFAULT_REGION=region)["AWS"].startswith(said)


def test_a_broken_file_of_boto3s_is_named(crpc: Crpc, tmp_path: Path) -> None:
    """In one line, by every command."""
    (tmp_path / "config").write_text("garbage\n")
    broken = str(tmp_path / "config")
    assert broken in found(crpc, 78, AWS_CONFIG_FILE=broken)["AWS"]
    assert crpc("find", AWS_CONFIG_FILE=broken).returncode == 78


def test_a_collective_that_nobody_has_joined(crpc: Crpc, tmp_path: Path, moto_server: str) -> None:
    """Neither topic nor table, and nobody answers."""
    configure(tmp_path, collective=f"empty-{uuid.uuid4().hex[:8]}")
    path = tmp_path / "client.yaml"
    path.write_text(path.read_text().replace('"registry": "none"', '"registry": "dynamodb"'))
    empty = found(crpc, 69, "--config", str(path), **aws_environment(moto_server))
    assert empty["key"].startswith("warning: 'key: none'")
    assert "_requests' does not exist: no node has joined" in empty["topic"]
    assert "_nodes' does not exist: nodes are discovered by broadcast" in empty["registry"]
    assert empty["reply"].startswith("error: no node replied to a broadcast")


def test_a_stranger_is_not_answered(crpc: Crpc, caller: Path) -> None:
    """A key that no node believes: the node is silent, and it is said what may be the reason."""
    from collective.signing import key_files, keys

    (caller.parent / "key").unlink()
    key_files.write_new(caller.parent / "key", keys.new().text())
    ignored = found(crpc, 69, "--config", str(caller))
    assert "'crpc keys' shows the line for allowed_signers" in ignored["reply"]


def test_throttling_and_a_node_behind_it(crpc: Crpc, tmp_path: Path, moto_server: str) -> None:
    """Without a registry those who answer are counted; a service that throttles is named at once."""
    configure(tmp_path, collective=f"doctor-{uuid.uuid4().hex[:8]}")
    with Proxy(moto_server) as proxy, daemon(tmp_path, moto_server):
        words = ("--config", str(tmp_path / "client.yaml"))
        env = aws_environment(proxy.url)
        assert found(crpc, 0, *words, **env)["reply"] == "ok: 1 node replied to a broadcast"
        assert IDENTITY not in crpc("nodes", "list", *words).stdout
        proxy.turn("throttle")
        assert "Throttling" in found(crpc, 69, *words, **env)["queues"]


def test_a_server_that_takes_connections_and_says_nothing(crpc: Crpc) -> None:
    """It is given up after seconds, not after boto3's minutes."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        began = time.monotonic()
        hung = found(crpc, 69, AWS_ENDPOINT_URL=f"http://127.0.0.1:{server.getsockname()[1]}")
    assert "Read timeout" in hung["queues"]
    assert time.monotonic() - began < 15
