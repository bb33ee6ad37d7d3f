"""Messages that are not ours and plugins that are wrong, against a real daemon: nothing harms it."""

from __future__ import annotations

import base64
import json
import subprocess
import uuid
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from support.crpc_process import BIN, Crpc, make_crpc
from support.daemons import IDENTITY, Daemon, aws_environment, configure, daemon
from support.waiting import wait_until

from collective import names
from collective.signing import key_files, keys

DDL: dict[str, Any] = {
    "metadata": {"name": "odd", "description": "Odd things", "version": "1", "timeout": 5},
    "actions": {
        "go": {
            "description": "Go",
            "idempotent": True,
            "input": {"type": "object", "properties": {"how": {"type": "string"}}, "required": ["how"]},
            "output": {"type": "object", "properties": {"number": {"type": "integer"}}},
        }
    },
}
CODE = """
import os, signal, sys, time
from collective.agent import action

@action
def go(how):
    if how == "raise": raise ValueError("no good")
    if how == "exit": sys.exit(7)
    if how == "kill": os.kill(os.getpid(), signal.SIGKILL)
    if how == "print": print("debugging")
    if how == "set": return {"number": {1}}
    if how == "lie": return {"number": "seven"}
    if how == "hang": time.sleep(600)
    return {"number": 7}
"""


def write_agent(folder: Path, name: str = "odd", code: str = CODE, ddl: object = None) -> None:
    described = {**DDL, "metadata": {**DDL["metadata"], "name": name}} if ddl is None else ddl
    (folder / "agents" / f"{name}.py").write_text(code)
    (folder / "ddl" / f"{name}.json").write_text(described if isinstance(described, str) else json.dumps(described))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The configuration of a collective of its own, with one odd agent."""
    configure(tmp_path, collective=f"bad-{uuid.uuid4().hex[:8]}")
    write_agent(tmp_path)
    return tmp_path


@pytest.fixture
def node(folder: Path, moto_server: str) -> Iterator[Daemon]:
    """Its daemon."""
    with daemon(folder, moto_server) as running:
        yield running


@pytest.fixture
def crpc(folder: Path, moto_server: str) -> Crpc:
    """Its caller."""
    return make_crpc({**aws_environment(moto_server), "COLLECTIVE_CONFIG": str(folder)})


def stats(crpc: Crpc) -> dict[str, int]:
    document = json.loads(crpc("rpcutil", "daemon_stats", "-I", IDENTITY, "--json").stdout)
    found: dict[str, int] = document["replies"][0]["data"]
    return found


def test_messages_that_are_not_ours_are_dropped_logged_and_counted(
    node: Daemon, crpc: Crpc, folder: Path, moto_server: str
) -> None:
    """A message that is not a request of this version is dropped, logged and counted; the next request is answered."""
    bomb = base64.b64encode(zlib.compress(b" " * (80 * 1024 * 1024))).decode()
    rubbish = [
        "hello",
        " ",
        "[]",
        '{"Records": [{"eventSource": "aws:s3"}]}',
        '{"collective": 2, "encoding": "json", "payload": "{}"}',
        '{"collective": 2, "encoding": "json", "payload": "{}"}',
        json.dumps({"collective": 2, "encoding": "json+zlib+base64", "payload": bomb}),
        "[" * 100_000,
        "x" * 1_000_000,
    ]
    collective = json.loads((folder / "node.yaml").read_text())["collective"]
    sqs = boto3.client(
        "sqs", endpoint_url=moto_server, region_name="eu-central-1", aws_access_key_id="t", aws_secret_access_key="t"
    )
    url = sqs.get_queue_url(QueueName=names.node_queue(collective, IDENTITY))["QueueUrl"]
    for body in rubbish:
        sqs.send_message(QueueUrl=url, MessageBody=body)
    wait_until(lambda: stats(crpc)["unvalidated"] == len(rubbish), 30)
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert attributes["ApproximateNumberOfMessages"] == "0"
    assert len(node.events("request.dropped")) == 1  # one line a minute
    assert crpc("odd", "go", "how=well", "-I", IDENTITY).returncode == 0


@pytest.mark.parametrize(
    ("how", "expected", "reason"),
    [
        ("raise", "Agent crashed: ValueError: no good; traceback in the node's log", "crashed"),
        ("exit", "the action called exit(7)", "crashed"),
        ("kill", "killed by SIGKILL", "crashed"),
        ("print", "Printed to standard output: 'debugging", "crashed"),
        ("set", "data that JSON cannot hold", "invalid_output"),
        ("lie", "does not match its DDL: output 'number'", "invalid_output"),
        ("hang", "Timed out after ", "timeout"),
    ],
)
def test_a_plugin_that_goes_wrong_is_status_5_with_its_reason(
    node: Daemon, crpc: Crpc, how: str, expected: str, reason: str
) -> None:
    """The caller of a plugin that fails learns what happened; the daemon answers the next request."""
    done = crpc("odd", "go", f"how={how}", "-I", IDENTITY, "--json")
    reply = json.loads(done.stdout)["replies"][0]
    assert (done.returncode, reply["statuscode"], reply["reason"]) == (2, 5, reason)
    assert expected in reply["statusmsg"]
    assert crpc("odd", "go", "how=well", "-I", IDENTITY).returncode == 0
    assert node.process.poll() is None


OTHER = {**DDL, "metadata": {**DDL["metadata"], "name": "broken"}}
BROKEN: dict[str, tuple[str | None, str | None, str]] = {
    "no DDL": (CODE, None, "agents/broken.py: no DDL found"),
    "no code": (None, json.dumps(OTHER), "ddl/broken.json: no code found"),
    "bad JSON": (CODE, '{"metadata": ', "ddl/broken.json: cannot be read as JSON"),
    "bad schema": (
        CODE,
        json.dumps({**OTHER, "actions": {"go": {"description": "x"}}}),
        "ddl/broken.json: $.actions.go",
    ),
    "other parameters": (
        CODE.replace("def go(how)", "def go(how, force=False)"),
        json.dumps(OTHER),
        "broken.go: the inputs differ: ['force', 'how'] in the code, ['how'] in the DDL",
    ),
    "other actions": (CODE.replace("def go(", "def went("), json.dumps(OTHER), "action '"),
    "code that exits": ("raise SystemExit(3)", json.dumps(OTHER), "cannot be imported: SystemExit: 3"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_pair_is_left_out_and_the_rest_serves(folder: Path, moto_server: str, crpc: Crpc, name: str) -> None:
    """The log, `--check` (exit 78) and the reply to a caller have one line with the invalid file and its problem."""
    code, ddl, expected = BROKEN[name]
    if code is not None:
        (folder / "agents" / "broken.py").write_text(code)
    if ddl is not None:
        (folder / "ddl" / "broken.json").write_text(ddl)
    checked = subprocess.run(
        [BIN / "collectived", "--check", "--config", folder / "node.yaml"],
        env=aws_environment(moto_server), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert checked.returncode == 78
    assert expected in checked.stderr
    assert checked.stderr.count("\n") == 1
    assert "odd" in checked.stdout
    with daemon(folder, moto_server) as node:
        assert any(expected in event["error"] for event in node.events("agent.refused"))
        assert crpc("odd", "go", "how=well", "-I", IDENTITY).returncode == 0
        called = crpc("broken", "go", "how=well", "-I", IDENTITY)
        assert called.returncode in (2, 64, 78)
        if name == "no DDL":
            assert "neither an agent nor a command 'broken'" in called.stderr  # the caller has nothing to go by
        else:
            assert expected in called.stdout + called.stderr


@pytest.mark.parametrize(
    ("name", "expected"),
    [("ping", "the name 'ping' is reserved for a crpc command"), ("package", "the name 'package' is already used by")],
)
def test_a_reserved_or_taken_name_is_refused(folder: Path, moto_server: str, name: str, expected: str) -> None:
    """A plugin with the name of a command or of a standard agent is refused."""
    write_agent(folder, name)
    checked = subprocess.run(
        [BIN / "collectived", "--check", "--config", folder / "node.yaml"],
        env=aws_environment(moto_server), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert checked.returncode == 78
    assert expected in checked.stderr


def test_a_sound_configuration_passes_the_check(folder: Path, moto_server: str) -> None:
    """`collectived --check` of a valid configuration exits with 0 and prints what it found."""
    checked = subprocess.run(
        [BIN / "collectived", "--check", "--config", folder / "node.yaml"],
        env=aws_environment(moto_server), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (checked.returncode, checked.stderr) == (0, "")
    agents = "control, eip, fact, file, nettest, nrpe, odd, package, plugins, process, puppet, rpcutil, service, shell"
    assert f": agents {agents}\n" in checked.stdout


def test_a_node_without_allowed_signers_serves_nobody_and_says_what_to_do(folder: Path, moto_server: str) -> None:
    """A node without allowed_signers refuses and counts requests, and accepts them once the file exists."""
    configure(folder, f"bad-{uuid.uuid4().hex[:8]}", accept_unsigned=False, allowed_signers="allowed_signers")
    checked = subprocess.run(
        [BIN / "collectived", "--check", "--config", folder / "node.yaml"],
        env=aws_environment(moto_server), capture_output=True, text=True, check=False,
    )  # fmt: skip
    expected = (
        f"{folder}/allowed_signers: no such file, so no signer is trusted (use 'crpc keys trust KEY.pub --as NAME"
    )
    assert (checked.returncode, checked.stderr.count("\n")) == (78, 1)
    assert checked.stderr.startswith(f"collectived: {expected}")
    key_files.write_new(folder / "key", keys.new().text())
    client = json.loads((folder / "client.yaml").read_text())
    (folder / "client.yaml").write_text(json.dumps({**client, "key": "key"}))
    crpc = make_crpc({**aws_environment(moto_server), "COLLECTIVE_CONFIG": str(folder)})
    with daemon(folder, moto_server) as node:
        assert node.events("trust.missing")[0]["error"].startswith(expected)
        assert crpc("rpcutil", "ping", "-I", IDENTITY, "-t", "2").returncode == 3
        node.wait_for("request.dropped")
        public = key_files.load(folder / "key").public.line
        trusted = crpc("keys", "trust", public, "--as", "alice", "--file", str(folder / "allowed_signers"))
        assert trusted.returncode == 0, trusted.stderr
        assert crpc("rpcutil", "ping", "-I", IDENTITY).returncode == 0
        assert stats(crpc)["unvalidated"] == 1
