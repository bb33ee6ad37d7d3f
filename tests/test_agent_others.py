"""The agents process, nettest, fact, puppet and rpcutil: their cases, and what needs real processes and servers."""

from __future__ import annotations

import json
import os
import re
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.agent_cases import assert_same, files, load, perform
from support.certificates import server_context
from support.waiting import wait_until

from collective.agent import Aborted
from collective.agents import _processes, _puppet, fact, nettest, process, puppet
from collective.agents._processes import RunningProcess
from collective.testing import memory_fleet

AGENTS = {"fact": fact, "nettest": nettest, "process": process, "puppet": puppet}
CASES = [(name, case) for name in AGENTS for case in load(name)]
FACTS = {"role": "web", "os": {"family": "Debian"}}


@pytest.mark.parametrize(("name", "case"), CASES, ids=[f"{name}-{case['id']}" for name, case in CASES])
def test_case(name: str, case: dict[str, Any], tmp_path: Path) -> None:
    """Each case returns the expected reply and leaves the expected files."""
    case = json.loads(json.dumps(case).replace("@TMP@", str(tmp_path)))
    for path, text in case.get("files", {}).items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    before = files(tmp_path)
    perform(AGENTS[name], case)
    assert not case.get("dry_run") or files(tmp_path) == before
    for path, content in case.get("after", {}).items():
        assert json.loads((tmp_path / path).read_text()) == content


def test_cases_of_rpcutil(tmp_path: Path) -> None:
    """Each case in tests/cases/rpcutil returns the expected reply, on one node in memory."""
    with memory_fleet(tmp_path, {"web1": FACTS}) as network:
        for case in load("rpcutil"):
            reply = network.fleet.call("rpcutil", case["action"], case["data"]).wait().replies["web1"]
            for key, wanted in case["expected"].items():
                assert_same(f"{case['id']}.{key}", wanted, getattr(reply, key))


# -- process


@contextmanager
def sleeping(seconds: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process with a command line that no other process has."""
    with subprocess.Popen(["sleep", seconds], start_new_session=True) as started:
        try:
            yield started
        finally:
            started.kill()


def test_a_zombie_is_listed_and_gets_no_signal() -> None:
    """A process that has ended has no command line; ps(1) shows its name in brackets, and `kill -9` has no effect."""
    with subprocess.Popen(["true"]) as started:
        wait_until(lambda: (one := _processes.read(started.pid)) is not None and one.ended, 30)
        (listed,) = [one for one in process.list(pattern=r"^\[true\]$")["processes"] if one["pid"] == started.pid]
        assert (listed["state"], listed["command"]) == ("Z", "[true]")
        sent = process.signal(pid=started.pid, signal="KILL")
    assert (sent["count"], sent["changed"]) == (0, False)


def test_a_process_is_listed_and_gets_a_signal() -> None:
    """A process is found by its command line, and gets the signal that a dry run only announces."""
    with sleeping("86399.25") as started:
        listed = process.list(pattern=r"^sleep 86399\.25$")
        assert [one["pid"] for one in listed["processes"]] == [started.pid]
        assert listed["processes"][0]["ppid"] == os.getpid()
        announced = process.signal(pattern=r"^sleep 86399\.25$", signal="KILL", dry_run=True)
        assert (announced["count"], started.poll()) == (1, None)
        sent = process.signal(pid=started.pid, signal="KILL", expect=1)
        assert (sent["changed"], started.wait(30)) == (True, -9)


def test_a_later_process_of_the_same_number_gets_no_signal() -> None:
    """A process that has ended meanwhile gets no signal, even if another one has its number now."""
    with sleeping("86399.75") as started:
        [found] = process._selected(r"^sleep 86399\.75$", None)  # noqa: SLF001
        other = found.__class__(**{**vars(found), "born": found.born - 1})
        assert list(process._sent([other], 9)) == []  # noqa: SLF001
        assert started.poll() is None


def test_the_action_never_finds_itself() -> None:
    """The process of the action and its parents are not listed."""
    assert os.getpid() not in {one["pid"] for one in process.list()["processes"]}


def test_process_1_is_never_found() -> None:
    """A pattern for the command line of process 1 finds nothing: a signal could stop the machine or the container."""
    first = _processes.read(1)
    assert first is not None
    assert process.signal(pattern=re.escape(first.command[:500]), expect=0)["processes"] == []


def test_processes_of_the_daemon_are_listed_as_protected_and_get_no_signal(tmp_path: Path) -> None:
    """What the daemon started, such as the processes of other actions, is out of reach of a signal."""
    earlier = {one.pid for one in _processes.running()}  # such as the fork servers of other tests
    with memory_fleet(tmp_path, {"web1": FACTS}) as network, sleeping("86398.25") as started:
        inputs = {"pattern": r"^sleep 86398\.25$"}
        listed = network.fleet.call("process", "list", inputs).wait().replies["web1"].data
        assert [(one["pid"], one["protected"]) for one in listed["processes"]] == [(started.pid, True)]
        sent = network.fleet.call("process", "signal", {**inputs, "signal": "KILL"}).wait().replies["web1"].data
        assert (sent["count"], started.poll()) == (0, None)
        helpers = {"pattern": "fork_server_main"}
        found = network.fleet.call("process", "list", helpers).wait().replies["web1"].data["processes"]
        # The fork server of this node is a parent of each action, and is not listed at all.
        assert [one for one in found if one["ppid"] == os.getpid() and one["pid"] not in earlier] == []
        outcomes = network.fleet.call("process", "signal", {**helpers, "signal": "KILL"}, dry_run=True).wait()
        announced = outcomes.replies["web1"].data["processes"]
        assert [one for one in announced if one["ppid"] == os.getpid()] == []


def test_a_process_that_left_the_daemon_gets_a_signal(tmp_path: Path) -> None:
    """A process whose parent has ended is not the daemon's any more, and can be ended."""
    script = "exec 3<&0; sh -c 'echo ready; read line' left-the-daemon-86398 <&3 &"
    with (
        memory_fleet(tmp_path, {"web1": FACTS}) as network,
        subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent,
    ):
        assert parent.stdout is not None
        assert (parent.stdout.readline(), parent.wait(30)) == (b"ready\n", 0)
        inputs = {"pattern": "left-the-daemon-86398$", "signal": "KILL", "expect": 1}
        assert network.fleet.call("process", "signal", inputs).wait().replies["web1"].data["count"] == 1


def running(pid: int, ppid: int, command: str, user: str = "root") -> RunningProcess:
    return RunningProcess(pid, ppid, command, command, "S", user, 0.0, 0, 1, 0.0, 0)


def test_a_daemon_that_is_process_1_protects_its_helpers_only() -> None:
    """In a container the daemon can be process 1: background commands, which it has adopted, still get signals."""
    server = "python -c from collective.node.actions.fork_server_main import main"
    pid = os.getpid()
    tree = [
        *(running(1, 0, "collectived"), running(2**22 + 1, 1, server)),
        *(running(pid, 2**22 + 1, server), running(2**22 + 3, 2**22 + 1, server), running(2**22 + 4, 2**22 + 3, "apt")),
        *(running(2**22 + 5, 1, "job"), running(2**22 + 6, 1, server, "alice")),
    ]
    found = _processes._of_daemon({one.pid: one for one in tree})  # noqa: SLF001
    assert found == {pid, *(2**22 + number for number in (1, 3, 4))}


def test_top_lists_the_busiest_first() -> None:
    """The list is sorted by processor time, and as long as was asked for."""
    found = process.top(count=3)["processes"]
    shares = [one["cpu_percent"] for one in found]
    assert len(found) == 3
    assert shares == sorted(shares, reverse=True)


# -- nettest


@contextmanager
def tls_server(context: ssl.SSLContext) -> Iterator[int]:
    """Serve TLS handshakes on a port of localhost."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(20)

        def serve() -> None:
            while True:
                try:
                    plain, _ = listening.accept()
                except OSError:
                    return
                try:
                    context.wrap_socket(plain, server_side=True).close()
                except OSError:
                    plain.close()  # a client that does not trust the certificate

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(30)


def later() -> float:
    return time.monotonic() + 20


def test_a_connection_is_reported_with_its_time() -> None:
    """A port that accepts connections is reported with its address."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        reply = nettest.connect("localhost", listening.getsockname()[1], deadline=later())
    assert (reply["connected"], reply["address"]) == (True, "127.0.0.1")


def test_a_trusted_certificate_is_reported_with_its_days(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate that the node trusts is valid, until fewer days are left than were asked for."""
    with tls_server(server_context(tmp_path, 30)) as port:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
        reply = nettest.tls("localhost", port, deadline=later())
        assert (reply["days_left"], reply["verified"], reply["subject"]) == (30, True, "CN=localhost")
        with pytest.raises(Aborted, match=r"expires in 30 days$") as refused:
            nettest.tls("localhost", port, min_days=31, deadline=later())
        assert refused.value.data["verified"] is True
        with pytest.raises(Aborted, match="certificate not valid: Hostname mismatch"):
            nettest.tls("localhost", port, server_name="other.example", deadline=later())


def test_an_expired_certificate_is_reported_with_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of an expired certificate is known, although it is not valid."""
    with tls_server(server_context(tmp_path, -10)) as port:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
        with pytest.raises(Aborted, match="certificate not valid: certificate has expired") as refused:
            nettest.tls("localhost", port, deadline=later())
    assert (refused.value.data["days_left"], refused.value.data["verified"]) == (-10, False)


# -- puppet


def test_a_report_creates_no_objects(tmp_path: Path) -> None:
    """Tags in a report, of Ruby or of Python, never create objects or call functions."""
    report = tmp_path / "report.yaml"
    report.write_text(f"resource_statuses: !!python/object/apply:os.mkdir ['{tmp_path}/made']\n")
    state = _puppet.PuppetState(tmp_path / "a", tmp_path / "b", tmp_path / "c", report)
    with pytest.raises(Aborted, match="cannot be read: could not determine a constructor"):
        list(state.resources())
    assert not (tmp_path / "made").exists()


def test_a_run_in_progress_is_seen(tmp_path: Path) -> None:
    """While the process in the lock runs, the agent is applying a catalog."""
    lock = tmp_path / "run.lock"
    lock.write_text(str(os.getpid()))
    state = _puppet.PuppetState(tmp_path / "a", lock, tmp_path / "c", tmp_path / "d")
    assert state.applying
