"""What one caller, one input or one action can make a daemon do has a limit: with real daemons and real messages."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import failures
from support.daemons import Daemon, daemon
from support.footprint import descendants
from support.signed_node import SignedNode, signed_node
from support.waiting import wait_until

from collective.audit.cutting import MAX_LINE
from collective.node.requests.refusal_budget import REFUSALS

SLOW = {"type": "string", "pattern": "^(a|aa)+$"}
DDL: dict[str, Any] = {
    "metadata": {"name": "slow", "description": "For the test", "version": "1"},
    "actions": {
        "match": {
            "description": "Match",
            "input": {"type": "object", "properties": {"text": SLOW}, "required": ["text"]},
            "output": {"type": "object"},
        }
    },
}


@pytest.fixture
def node(tmp_path: Path, moto_server: str) -> Iterator[SignedNode]:
    """A node that does not run yet, with an agent whose DDL has a slow pattern."""
    (tmp_path / "agents").mkdir()
    (tmp_path / "ddl").mkdir()
    (tmp_path / "agents" / "slow.py").write_text(
        "from collective.agent import action\n\n@action\ndef match(text):\n    return {}\n"
    )
    (tmp_path / "ddl" / "slow.json").write_text(json.dumps(DDL))
    with signed_node(tmp_path, moto_server) as scene:
        yield scene


def processes(words: str) -> list[int]:
    """Return the processes whose command line ends with `words`, or has them after `-c`."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            line = (folder / "cmdline").read_text(errors="replace").replace("\0", " ").strip()
            if line == words or f"-c {words}" in line:
                found.append(int(folder.name))
    return found


def parent(pid: int) -> int:
    """Return the parent of a process, 0 if it has ended."""
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


def fork_server(running: Daemon) -> int:
    """Return the process id of the daemon's fork server, when the one that tried the imports of agents has ended."""

    def children() -> list[int]:
        return [pid for pid in descendants(running.process.pid) if parent(pid) == running.process.pid]

    wait_until(lambda: len(children()) == 1, 30)
    return children()[0]


def ends(running: Daemon) -> float:
    """Send SIGTERM, and return the seconds until the daemon has exited with 0."""
    began = time.monotonic()
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(30) == 0
    return time.monotonic() - began


@pytest.mark.failure(failures.RESOURCE, "an input for which a regular expression takes for ever")
def test_a_slow_pattern_stops_neither_the_node_nor_its_end(node: SignedNode) -> None:
    """The input is refused as not checked, others are served, and SIGTERM works at any time."""
    hanging = [node.request("slow", "match", data={"text": "a" * 45 + "!"}) for _ in range(3)]
    with daemon(node.folder, node.url) as running:
        node.send(hanging[0])
        reply = node.reply()
        assert (reply.statuscode, reply.reason) == (4, "unchecked")
        node.send(node.request("rpcutil", "ping"))
        assert node.reply().statuscode == 0
        node.send(*hanging[1:])
        assert ends(running) < 15
    with daemon(node.folder, node.url):
        node.send(node.request("rpcutil", "ping"))
        found = [node.reply() for _ in range(3)]
    assert Counter(reply.action for reply in found) == {"match": 2, "ping": 1}


@pytest.mark.failure(failures.RESOURCE, "80 denied requests of 3 MB each")
def test_a_denied_caller_writes_a_bounded_amount(node: SignedNode) -> None:
    """Small compressed requests become large inputs; their lines are cut, and later ones are not written."""
    with daemon(node.folder, node.url) as running:
        size = len(json.dumps(running.audit))
        large = [
            node.request(caller="bob", data={"command": "x" * 3_000_000, f"more{number}": 1})
            for number in range(REFUSALS + 20)
        ]
        node.send(*large)
        node.send(node.request("rpcutil", "ping"))
        wait_until(lambda: bool([line for line in running.audit if line.get("event") == "limited"]), 60)
        wait_until(lambda: bool([line for line in running.audit if line.get("action") == "ping"]), 60)
        written = [line for line in running.audit if line.get("caller") == "bob"]
        journal = (node.folder / "state" / "journal.sqlite").stat().st_size
        journal += (node.folder / "state" / "journal.sqlite-wal").stat().st_size
    assert len(written) == REFUSALS + 1
    assert max(len(json.dumps(line)) for line in written) <= MAX_LINE
    assert len(json.dumps(running.audit)) - size < (REFUSALS + 2) * 1500
    assert journal < 500_000


@pytest.mark.failure(failures.SIGNAL, "SIGKILL of the daemon and an action's monitor together")
def test_an_interrupted_command_does_not_act_later(node: SignedNode) -> None:
    """A command that has no control group is ended by the next daemon, before `interrupted` is reported."""
    mark = node.folder / "mark"
    command = f"touch {mark}.begun; sleep 61.25; touch {mark}"
    with daemon(node.folder, node.url) as running:
        node.send(node.request(data={"command": command}))
        wait_until(Path(f"{mark}.begun").exists, 30)
        wait_until(lambda: len(processes("sleep 61.25")) == 1, 30)
        [sleeping] = processes("sleep 61.25")
        worker = parent(parent(sleeping))  # of the shell that waits for the command
        monitor = os.getsid(worker)
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in (monitor, running.process.pid):
                os.kill(pid, number)
        running.process.wait()
    with daemon(node.folder, node.url) as running:
        assert node.reply().reason == "interrupted"
        assert running.events("action.abandoned")
        assert processes("sleep 61.25") == []
    assert not mark.exists()


@pytest.mark.failure(failures.SIGNAL, "SIGSTOP of the daemon's fork server")
def test_a_stopped_fork_server_delays_neither_answers_nor_the_end(node: SignedNode) -> None:
    """An action is answered within its deadline, the next one runs, and SIGTERM ends the daemon."""
    with daemon(node.folder, node.url) as running:
        node.send(node.request(data={"command": "true"}))
        assert node.reply().statuscode == 0
        os.kill(fork_server(running), signal.SIGSTOP)
        node.send(node.request(data={"command": "true"}, timeout=10))
        assert node.reply().statuscode == 0
        node.send(node.request(data={"command": "true"}))
        assert node.reply().statuscode == 0
        os.kill(fork_server(running), signal.SIGSTOP)
        assert ends(running) < 15


@pytest.mark.failure(failures.RESOURCE, "200 inventories at once from one caller")
def test_reads_of_one_caller_leave_room_for_others(node: SignedNode) -> None:
    """Replies of actions that only read are not kept: 200 inventories of a node with many facts take little space."""
    (node.folder / "facts.yaml").write_text(
        json.dumps({f"fact{number}": os.urandom(50).hex() for number in range(500)})
    )
    config = json.loads((node.folder / "node.yaml").read_text())
    (node.folder / "node.yaml").write_text(json.dumps({**config, "facts": ["facts.yaml"]}))
    with daemon(node.folder, node.url) as running:
        node.send(*(node.request("rpcutil", "inventory") for _ in range(200)))
        node.send(node.request("rpcutil", "ping", caller="bob"))
        wait_until(lambda: bool([line for line in running.audit if line.get("caller") == "bob"]), 60)
        running.wait_for("request.handled", 201, 60)
        [bob] = [line for line in running.events("request.handled") if line["caller"] == "bob"]
        kept = sum(path.stat().st_size for path in (node.folder / "state").glob("journal.sqlite*"))
    assert bob["statuscode"] == 0
    assert kept < 8_000_000  # 200 replies of 50 KB, compressed, take 6 MB more


def test_no_process_of_the_daemon_leaves_a_core_file(node: SignedNode) -> None:
    """The memory of the daemon, its fork server and its actions has secrets; a command may raise its own limit."""
    with daemon(node.folder, node.url) as running:
        node.send(node.request(data={"command": "grep core /proc/self/limits; ulimit -c unlimited; ulimit -c"}))
        limits, raised = node.reply().data["stdout"].splitlines()
        found = {Path(f"/proc/{pid}/limits").read_text() for pid in (running.process.pid, fork_server(running))}
    assert limits.split()[:5] == ["Max", "core", "file", "size", "1"]
    assert raised == "unlimited"
    assert all(re.search(r"^Max core file size +1 ", text, re.MULTILINE) for text in found)
