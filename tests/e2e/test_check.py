"""`collectived --check` against real servers: its problems and exit codes, and that it creates nothing."""

from __future__ import annotations

import email.utils
import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from support.crpc_process import BIN, Completed, make_crpc
from support.daemons import IDENTITY, aws_environment, configure, daemon

from collective import names
from collective.aws.session import AWS
from collective.config import NodeConfig
from collective.errors import ConfigError, Unreachable
from collective.node.check import aws_probe
from collective.signing import key_files, keys
from collective.signing.allowed_signers import signer_line
from collective.transport.sqs import SQSTransport

UNREACHABLE = "http://127.0.0.1:9"
SIGNER = signer_line("alice", keys.new().public)
ALLOWING = "rules: [{callers: ['*']}]\n"


@pytest.fixture
def collective(tmp_path: Path) -> str:
    """A unique name of a collective."""
    name = f"check-{uuid.uuid4().hex[:8]}"
    configure(tmp_path, collective=name)
    return name


def check(folder: Path, url: str, **env: str) -> Completed:
    words = [str(BIN / "collectived"), "--check", "--config", str(folder / "node.yaml")]
    environment = {**aws_environment(url), **env}
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=60)


def point_at(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in aws_environment(url).items():
        monkeypatch.setenv(name, value)


def test_the_check_creates_nothing(
    tmp_path: Path, collective: str, moto_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check creates no key, folder or queue, also for a new node; an existing queue is reported."""
    before = sorted(tmp_path.rglob("*"))
    first = check(tmp_path, moto_server)
    queue = names.node_queue(collective, IDENTITY)
    assert (first.returncode, first.stderr) == (0, "")
    assert f"queue {queue}: does not exist" in first.stdout
    assert sorted(tmp_path.rglob("*")) == before
    point_at(moto_server, monkeypatch)
    transport = SQSTransport(AWS())
    transport.open_node(queue, names.topic(collective))
    assert f"queue {queue}: exists" in check(tmp_path, moto_server).stdout


@pytest.mark.parametrize(
    ("streams", "code", "printed"),
    [
        (">/dev/full", 74, "collectived: cannot write the output: No space left on device\n"),
        (">&-", 0, ""),
        (">/dev/null 2>&-", 0, ""),
        ("<&- >&- 2>&-", 0, ""),
    ],
)
@pytest.mark.usefixtures("collective")
def test_the_check_ends_with_its_exit_code_whatever_its_streams_are(
    tmp_path: Path, moto_server: str, streams: str, code: int, printed: str
) -> None:
    """A full disk and closed streams cost the output only."""
    line = f'exec "{BIN}/collectived" --check --config "{tmp_path}/node.yaml" {streams}'
    ended = subprocess.run(
        ["/bin/sh", "-c", line], env=aws_environment(moto_server), capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (code, printed)


def test_an_error_that_cannot_be_printed_keeps_its_exit_code(tmp_path: Path) -> None:
    """The exit code says what is wrong although standard error is closed or on a full disk."""
    for streams in ("2>&-", "2>/dev/full"):
        line = f'exec "{BIN}/collectived" --check --config "{tmp_path}/none.yaml" {streams}'
        assert subprocess.run(["/bin/sh", "-c", line], check=False).returncode == 78


def test_without_a_network_everything_else_is_checked(tmp_path: Path, collective: str) -> None:
    """An unreachable AWS is one line and exit code 69; local problems are reported too, with exit code 78."""
    done = check(tmp_path, UNREACHABLE)
    assert (done.returncode, done.stderr.count("\n")) == (69, 1)
    assert "127.0.0.1:9" in done.stderr
    assert ": agents control, eip, fact, file, nettest, nrpe, package, " in done.stdout
    (tmp_path / "agents" / "odd.py").touch()
    done = check(tmp_path, UNREACHABLE)
    assert done.returncode == 78
    assert ["odd.py: no DDL found" in line for line in done.stderr.splitlines()] == [True, False]


def test_missing_credentials_have_exit_code_77(tmp_path: Path, collective: str, moto_server: str) -> None:
    """Missing credentials have another exit code than an unreachable AWS."""
    nothing = {"AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "AWS_CONFIG_FILE": "/dev/null"}
    done = check(tmp_path, moto_server, AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="", **nothing)
    assert (done.returncode, done.stderr.count("\n")) == (77, 1)
    assert "credentials" in done.stderr


def test_each_local_problem_is_a_line_with_a_hint(tmp_path: Path, collective: str, moto_server: str) -> None:
    """A missing table, a key that others can read, and files that all users can change are reported."""
    words = [[sys.executable, str(tmp_path / "facts.py")]]
    metrics = {"metrics": str(tmp_path / "figures" / "node.prom")}
    configure(tmp_path, collective=collective, registry="dynamodb", fact_commands=words, **metrics)
    (tmp_path / "agents" / "data").mkdir()
    (tmp_path / "figures").mkdir()
    opened = [
        tmp_path / "facts.py",
        tmp_path / "figures",
        tmp_path / "agents",
        tmp_path / "agents" / "data" / "lib.txt",
    ]
    for path in opened:
        if not path.exists():
            path.touch()
        path.chmod(0o777)
    (tmp_path / "state").mkdir()
    key_files.write_new(tmp_path / "state" / "node_key", keys.new().text())
    (tmp_path / "state" / "node_key").chmod(0o644)
    done = check(tmp_path, moto_server)
    assert done.returncode == 78
    key, *changed, table = done.stderr.splitlines()
    node_key = tmp_path / "state" / "node_key"
    assert f"{node_key}: readable by other users (use 'chmod 600 {node_key}'" in key
    found = [line.partition(": writable by all users")[0].partition(": ")[2] for line in changed]
    assert found == list(map(str, opened)), changed
    assert f"no table {names.table(collective)} (create it, or set 'registry: none')" in table


def test_a_server_that_does_not_respond_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The timeout of the check includes all attempts of botocore."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        point_at(f"http://127.0.0.1:{silent.getsockname()[1]}", monkeypatch)
        began = time.monotonic()
        result = aws_probe.probe(NodeConfig("check", IDENTITY), bound=0.5)
        assert time.monotonic() - began < 8
    (error,) = result.problems
    assert isinstance(error, Unreachable)
    assert "no response within 0 s" in str(error) or "no response within 1 s" in str(error)


class _LateClock(BaseHTTPRequestHandler):
    """A server whose clock is an hour behind."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        content = b'{"QueueUrl": "http://127.0.0.1/1/q"}'
        self.send_response_only(200)
        self.send_header("date", email.utils.formatdate(time.time() - 3600, usegmt=True))
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Do not log."""


def test_a_clock_that_is_off_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error for a wrong clock has the difference in seconds and a hint."""
    with HTTPServer(("127.0.0.1", 0), _LateClock) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        point_at(f"http://127.0.0.1:{server.server_address[1]}", monkeypatch)
        (error,) = aws_probe.probe(NodeConfig("check", IDENTITY, registry="none")).problems
        server.shutdown()
    assert isinstance(error, ConfigError)
    assert str(error).startswith("clock: +36")
    assert str(error).endswith("(use 'timedatectl set-ntp true')")


def started(folder: Path, url: str) -> Completed:
    """Run the daemon, which must refuse to start."""
    words = [str(BIN / "collectived"), "--config", str(folder / "node.yaml")]
    return subprocess.run(words, env=aws_environment(url), capture_output=True, text=True, check=False, timeout=60)


OPENED = {
    "allowed_signers": 0o666,
    "revoked_keys": 0o666,
    "policy.yaml": 0o646,
    "node.yaml": 0o666,
    "agents": 0o777,
    "agents/odd.py": 0o666,
    "agents/data/lib.txt": 0o666,
    "ddl": 0o777,
    "settings": 0o777,
    "settings/odd.yaml": 0o666,
    "state": 0o777,
    ".": 0o777,
}


@pytest.mark.parametrize(
    ("opened", "group"), [*((path, False) for path in OPENED), ("allowed_signers", True), ("agents", True)]
)
def test_the_daemon_refuses_what_the_check_refuses(
    tmp_path: Path, moto_server: str, needs_root: Callable[[], None], opened: str, group: bool
) -> None:
    """A path that others can change ends the start with the line of the check, and exit code 78."""
    needs_root()
    folder = tmp_path / "node"
    folder.mkdir()
    files = {"allowed_signers": "allowed_signers", "revoked_keys": "revoked_keys"}
    configure(folder, collective=f"check-{uuid.uuid4().hex[:8]}", **files)
    (folder / "allowed_signers").write_text(signer_line("alice", keys.new().public))
    for name in ("state", "agents/data"):
        (folder / name).mkdir()
    for name in ("revoked_keys", "agents/data/lib.txt", "settings/odd.yaml"):
        (folder / name).touch()
    path = folder / opened
    if opened == "agents/odd.py":
        path.write_text("")
        (folder / "ddl" / "odd.json").write_text("{}")
    path.chmod(0o770 if group and path.is_dir() else 0o660 if group else OPENED[opened])
    if group:
        os.chown(path, 0, 12345)
    checked = check(folder, moto_server)
    done = started(folder, moto_server)
    assert (checked.returncode, done.returncode) == (78, 78), done.stderr
    [line] = done.stderr.splitlines()
    who = "group 12345 (use 'chmod g-w" if group else "all users (use 'chmod o-w"
    assert line.startswith(f"collectived: {path}: writable by {who} {path}')")
    assert line.partition(" (and ")[0] in checked.stderr
    assert not (folder / "state" / "journal.sqlite").exists()


@pytest.mark.parametrize(
    ("signers", "policy", "message"),
    [
        (None, ALLOWING, "allowed_signers: no such file, so no signer is trusted"),
        ("# nothing yet\n", ALLOWING, "allowed_signers: no key that may sign now, so no signer is trusted"),
        (SIGNER.replace("namespaces", 'valid-before="20200101",namespaces'), ALLOWING, "no key that may sign now"),
        (SIGNER.replace('"collective"', '"git"'), ALLOWING, "no key that may sign now"),
        (SIGNER, "groups: {ops: []}\nrules: [{callers: ['group:ops']}]\n", "no rule that allows anything"),
        (SIGNER, None, "policy.yaml: no such file, so only rpcutil is allowed (create a policy)"),
        (SIGNER, "rules: []\n", "policy.yaml: no rule that allows anything, so every request is refused"),
        (SIGNER, "rules: [{callers: ['*'], allow: false}]\n", "policy.yaml: no rule that allows anything"),
        (SIGNER, "rules: [{inputs: {required: [comand]}}]\n", "has an input 'comand' (did you mean 'command'?)"),
    ],
    ids=map(str, itertools.count()),  # the key differs in each process, and test names must not
)
def test_a_node_that_serves_no_caller_fails_the_check(
    tmp_path: Path, moto_server: str, signers: str | None, policy: str | None, message: str
) -> None:
    """What an unedited template leaves is a problem: exit code 78, and one line with what to do."""
    configure(tmp_path, collective="check-none", accept_unsigned=False, allowed_signers="allowed_signers")
    for name, content in (("allowed_signers", signers), ("policy.yaml", policy)):
        (tmp_path / name).unlink(missing_ok=True)
        if content is not None:
            (tmp_path / name).write_text(content)
    done = check(tmp_path, moto_server)
    assert done.returncode == 78
    assert [message in line for line in done.stderr.splitlines()] == [True]


def test_a_reload_refuses_what_others_can_change(tmp_path: Path, moto_server: str) -> None:
    """Policy and agents stay in force as they were, and each refusal is logged once."""
    collective = f"check-{uuid.uuid4().hex[:8]}"
    configure(tmp_path, collective=collective)
    crpc = make_crpc({**aws_environment(moto_server), "COLLECTIVE_CONFIG": str(tmp_path)})
    with daemon(tmp_path, moto_server) as node:
        (tmp_path / "policy.yaml").write_text("rules: []\n")
        (tmp_path / "policy.yaml").chmod(0o666)
        (tmp_path / "agents" / "odd.py").touch()
        (tmp_path / "agents").chmod(0o777)
        for count in (1, 2):
            node.process.send_signal(signal.SIGHUP)
            node.wait_for("reload.refused", count)
        assert crpc("shell", "run", "command=true", "-I", IDENTITY, "--yes").returncode == 0, node.log
        assert len(node.events("policy.broken")) == 1
        (tmp_path / "policy.yaml").chmod(0o644)
        (tmp_path / "agents").chmod(0o755)
        node.process.send_signal(signal.SIGHUP)
        node.wait_for("agent.refused")
        assert crpc("shell", "run", "command=true", "-I", IDENTITY, "--yes").returncode == 2
