"""Outages of the transport: down, lost during a call, throttling, restarted; and a killed caller.

For the caller: one line and exit 69. The daemon keeps trying, and serves again when it is back.
"""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from support import failures
from support.crpc_process import BIN, Completed, Crpc, begin, make_crpc, own_server
from support.daemons import IDENTITY, Daemon, aws_environment, configure, daemon
from support.footprint import Measure
from support.proxy import Proxy
from support.waiting import wait_until


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder with the configuration of a unique collective."""
    configure(tmp_path, collective=f"outage-{uuid.uuid4().hex[:8]}")
    return tmp_path


@pytest.fixture
def node(folder: Path, proxy: Proxy) -> Iterator[Daemon]:
    """Return a daemon behind the proxy."""
    with daemon(folder, proxy.url) as running:
        yield running


@pytest.fixture
def crpc(folder: Path, proxy: Proxy) -> Crpc:
    """Return a caller behind the same proxy."""
    return make_crpc({**aws_environment(proxy.url), "COLLECTIVE_CONFIG": str(folder)})


def assert_one_line_and_69(done: Completed) -> None:
    assert done.returncode == 69, done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("crpc: ")


def test_a_refused_connection_is_one_line_and_exit_69(crpc: Crpc) -> None:
    """A port on which nothing listens is one line with the address, and exit code 69."""
    done = crpc("rpcutil", "ping", "-I", IDENTITY, AWS_ENDPOINT_URL="http://127.0.0.1:9")
    assert_one_line_and_69(done)
    assert "127.0.0.1:9" in done.stderr


def test_throttling_is_one_line_and_exit_69(crpc: Crpc, node: Daemon, proxy: Proxy) -> None:
    """After botocore's retries the error names the throttled operation."""
    proxy.turn("throttle")
    done = crpc("rpcutil", "ping", "-I", IDENTITY)
    assert_one_line_and_69(done)
    assert "Throttling" in done.stderr


def test_missing_credentials_are_exit_77(crpc: Crpc, moto_server: str) -> None:
    """Missing credentials have another exit code than an outage."""
    done = crpc("rpcutil", "ping", "-I", IDENTITY, AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="",
                AWS_SHARED_CREDENTIALS_FILE="/dev/null", AWS_CONFIG_FILE="/dev/null")  # fmt: skip
    assert done.returncode == 77
    assert done.stderr.count("\n") == 1
    assert "credentials" in done.stderr


@pytest.mark.failure(failures.NETWORK, "connections refused during a call")
def test_an_outage_during_a_call_ends_it(crpc: Crpc, node: Daemon, proxy: Proxy) -> None:
    """The call ends within seconds, before its timeout, and shows the replies received so far."""
    began = time.monotonic()
    result: list[Completed] = []
    caller = threading.Thread(target=lambda: result.append(crpc("shell", "run", "command=sleep 60", "-I", IDENTITY)))
    caller.start()
    node.wait_for_decision()
    proxy.turn("cut")
    caller.join(90)
    assert time.monotonic() - began < 80
    assert_one_line_and_69(result[0])
    assert "No response yet from: 1 node" in result[0].stdout


@pytest.mark.failure(failures.NETWORK, "connections refused, then accepted")
def test_the_daemon_serves_again_when_the_transport_is_back(crpc: Crpc, node: Daemon, proxy: Proxy) -> None:
    """The daemon logs an outage, retries with growing pauses, and needs no restart."""
    assert crpc("rpcutil", "ping", "-I", IDENTITY).returncode == 0
    proxy.turn("cut")
    node.wait_for("transport.failed", 2)
    pauses = [event["retry_s"] for event in node.events("transport.failed")]
    assert pauses == sorted(pauses)
    assert pauses[1] > pauses[0]
    proxy.turn("pass")
    assert crpc("rpcutil", "ping", "-I", IDENTITY, "-t", "60").returncode == 0
    assert node.process.poll() is None


@pytest.mark.failure(failures.AWS, "AWS throttles")
def test_a_throttled_daemon_serves_again(crpc: Crpc, node: Daemon, proxy: Proxy) -> None:
    """The daemon handles throttling like an outage."""
    proxy.turn("throttle")
    node.wait_for("transport.failed")
    proxy.turn("pass")
    assert crpc("rpcutil", "ping", "-I", IDENTITY, "-t", "60").returncode == 0


@pytest.mark.failure(failures.NETWORK, "no network when the daemon starts")
def test_a_daemon_starts_before_its_transport(folder: Path, moto_server: str) -> None:
    """A machine that boots without a network joins when the network is available."""
    with Proxy(moto_server) as proxy:
        proxy.turn("cut")
        with daemon(folder, proxy.url, serving=False) as node:
            node.wait_for("transport.failed")
            proxy.turn("pass")
            node.wait_for("daemon.serving")


@pytest.mark.failure(failures.NETWORK, "connections refused when a reply is sent")
def test_a_reply_waits_for_the_transport(crpc: Crpc, node: Daemon, proxy: Proxy, moto_server: str) -> None:
    """A reply that could not be sent arrives when the node can send again, and the action has run once."""
    ran = node.folder / "ran"
    result: list[Completed] = []
    caller = threading.Thread(  # this caller does not use the proxy: only the node is affected
        target=lambda: result.append(
            crpc("shell", "run", f"command=sleep 2; echo x >> {ran}", "-I", IDENTITY, AWS_ENDPOINT_URL=moto_server)
        )
    )
    caller.start()
    node.wait_for_decision()
    proxy.turn("cut")
    wait_until(ran.exists, 30)
    node.wait_for("transport.failed")
    proxy.turn("pass")
    caller.join(100)
    assert result[0].returncode == 0, result[0].stdout + result[0].stderr
    assert ran.read_text() == "x\n"


@pytest.mark.failure(failures.AWS, "the service is interrupted during a call")
def test_a_server_that_restarts_in_the_middle_of_a_call(crpc: Crpc, node: Daemon, proxy: Proxy) -> None:
    """Both sides reconnect, and the action runs once."""
    ran = node.folder / "ran"
    reply = begin(crpc, "shell", "run", f"command=sleep 2; echo x >> {ran}", "-I", IDENTITY)
    node.wait_for_decision()
    proxy.turn("pass")  # closes connections with pending requests
    assert reply().returncode == 0
    assert ran.read_text() == "x\n"


@pytest.mark.failure(failures.AWS, "all queues and the topic are removed during a call")
def test_a_server_that_restarts_and_has_forgotten_all(crpc: Crpc, node: Daemon, proxy: Proxy) -> None:
    """Both sides create their queues and the topic again, and the pending call ends with its reply."""
    ran = node.folder / "ran"
    reply = begin(crpc, "shell", "run", f"command=sleep 5; echo x >> {ran}", "-I", IDENTITY)
    node.wait_for_decision()
    with own_server() as another:
        proxy.upstream = urlsplit(another)
        proxy.turn("cut")
        proxy.turn("pass")
        node.wait_for("queue.lost")
        assert reply().returncode == 0, node.log
        assert ran.read_text() == "x\n"
        assert crpc("rpcutil", "ping", "--dm", "broadcast", "--dt", "3").returncode == 0


@pytest.mark.failure(failures.SIGNAL, "SIGKILL of a caller that waits for replies")
def test_a_caller_killed_in_its_long_poll_harms_nobody(crpc: Crpc, node: Daemon, measure: Measure) -> None:
    """The next call with the same slot gets its own reply only."""
    ran = node.folder / "ran"
    assert crpc("shell", "run", "command=true", "-I", IDENTITY).returncode == 0
    with measure("a caller killed in its long poll", node):
        killed = subprocess.Popen(
            [BIN / "crpc", "shell", "run", f"command=sleep 2; echo first >> {ran}", "-I", IDENTITY],
            env={**aws_environment(node_url(node)), "COLLECTIVE_CONFIG": str(node.folder)},
        )
        node.wait_for_decision(2)
        killed.kill()
        killed.wait()
        while_first_runs = crpc("shell", "run", "command=echo second", "-I", IDENTITY, "--json")
        wait_until(ran.exists, 30)
        after_first = crpc("shell", "run", "command=echo third", "-I", IDENTITY, "--json")
    for done, said in ((while_first_runs, "second\n"), (after_first, "third\n")):
        assert done.returncode == 0, done.stderr
        document = json.loads(done.stdout)
        assert [reply["data"]["stdout"] for reply in document["replies"]] == [said]
        assert document["outcomes"] == {**dict.fromkeys(document["outcomes"], 0), "ok": 1}
    assert [path.name for path in (node.folder / "state" / "slots").glob("*/*")] == ["0"]
    assert ran.read_text() == "first\n"


@pytest.mark.failure(failures.SIGNAL, "SIGTERM to the daemon during an action")
def test_sigterm_waits_for_running_actions(crpc: Crpc, node: Daemon) -> None:
    """A clean stop sends the reply first and exits 0; the next request is not accepted."""
    result: list[Completed] = []
    caller = threading.Thread(target=lambda: result.append(crpc("shell", "run", "command=sleep 1", "-I", IDENTITY)))
    caller.start()
    node.wait_for_decision()
    node.process.send_signal(signal.SIGTERM)
    assert node.process.wait(30) == 0
    caller.join(30)
    assert result[0].returncode == 0
    assert "daemon.stopped" in node.log


@pytest.mark.failure(failures.SIGNAL, "SIGKILL of the daemon while an action has child processes")
def test_the_death_of_the_daemon_leaves_nothing_of_an_action(crpc: Crpc, node: Daemon) -> None:
    """After SIGKILL during an action, its shell and all child processes are gone."""
    mark = f"314159{uuid.uuid4().int % 10**6}"
    caller = subprocess.Popen(
        [BIN / "crpc", "shell", "run", f"command=sleep {mark} & sleep {mark}", "-I", IDENTITY],
        env={**aws_environment(node_url(node)), "COLLECTIVE_CONFIG": str(node.folder)},
        stdout=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: len(_processes(mark)) >= 2, 30)
        node.process.kill()
        wait_until(lambda: not _processes(mark), 10, lambda: f"still there: {_processes(mark)}")
    finally:
        caller.kill()
        caller.wait()


def node_url(node: Daemon) -> str:
    """Return the endpoint of a daemon."""
    text = Path(f"/proc/{node.process.pid}/environ").read_text()
    return dict(line.split("=", 1) for line in text.split("\0") if "=" in line)["AWS_ENDPOINT_URL"]


def _processes(mark: str) -> list[str]:
    found = subprocess.run(["pgrep", "-af", f"^sleep {mark}"], capture_output=True, text=True, check=False)
    return found.stdout.splitlines()
