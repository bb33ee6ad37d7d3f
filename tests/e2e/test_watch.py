"""`crpc watch` in a lab: events of real nodes, and the same handler under Debian's serf."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from support.crpc_process import BIN, Crpc, clean_environment, make_crpc, own_lab
from support.json_documents import check_document, check_schema
from support.ports import accepts, free_port
from support.waiting import wait_until

from collective.lab.layout import Layout
from collective.processes import runs

FIRST, SECOND, THIRD = "node01.lab", "node02.lab", "node03.lab"
HANDLER = """#!/bin/sh
while IFS="$(printf '\\t')" read -r name address role tags; do
    echo "$SERF_EVENT $name $role" >> "$LOG"
done
"""
WAIT = 60.0  # seconds; serf needs 22 of them to call a node failed


class QuickLayout(Layout):
    """A lab whose nodes have a heartbeat of 3 s."""

    def create(self, nodes: int, server: str = "moto") -> None:
        """Write the files."""
        super().create(nodes, server)
        for name in self.nodes():
            config = self.node(name) / "node.yaml"
            config.write_text(config.read_text().replace("heartbeat: 15.0", "heartbeat: 3s"))
            assert "heartbeat: 3s" in config.read_text()


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Layout]:
    """A lab of three nodes that these tests stop, kill and change."""
    layout = QuickLayout(tmp_path_factory.mktemp("watch-lab"))
    with own_lab(layout, 3):
        yield layout


@pytest.fixture
def crpc(own: Layout) -> Crpc:
    return make_crpc({**clean_environment(), **own.environment()})


@contextmanager
def watch(own: Layout, *words: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """Run `crpc watch --jsonl` for the time of a block; it must end cleanly with SIGTERM."""
    env = {**clean_environment(), **own.environment(), **variables}
    command = [str(BIN / "crpc"), "watch", "--every", "0.5", *words]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
        assert process.returncode == 0, process.stderr and process.stderr.read()


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


@contextmanager
def serf(folder: Path, log: Path, handler: Path) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Run serf agents `lb` (with the handler), FIRST and SECOND on this machine; yield the processes by name."""
    ports = {name: (free_port(), free_port()) for name in ("lb", FIRST, SECOND)}
    with ExitStack() as stack:
        agents = {}
        for name, (port, rpc) in ports.items():
            command = ["serf", "agent", "-profile=local", f"-node={name}", f"-bind=127.0.0.1:{port}"]
            command.append(f"-rpc-addr=127.0.0.1:{rpc}")
            if name == "lb":
                command.append(f"-event-handler={handler}")
            else:
                command += [f"-join=127.0.0.1:{ports['lb'][0]}", f"-tag=role={'web' if name == FIRST else 'db'}"]
            output = stack.enter_context((folder / f"serf-{name}").open("wb"))
            env = {**os.environ, "LOG": str(log)}
            agents[name] = subprocess.Popen(command, env=env, stdout=output, stderr=output)
            stack.callback(end, agents[name])
            wait_until(lambda rpc=rpc: accepts(rpc), WAIT)  # type: ignore[misc]
        yield agents


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def test_a_handler_logs_the_same_under_serf_and_crpc(
    own: Layout, crpc: Crpc, tmp_path: Path, needs: Callable[[str, str], None]
) -> None:
    """The same script logs the same joins, leaves and failures under both."""
    needs("serf", "serf")
    handler = tmp_path / "handler.sh"
    handler.write_text(HANDLER)
    handler.chmod(0o755)
    logs = {"serf": tmp_path / "serf.log", "crpc": tmp_path / "crpc.log"}
    targets = ("-I", "node[01-02].lab", "--exec", str(handler), "--state", str(tmp_path / "state"))

    def of_others(which: str) -> list[str]:
        return [line for line in lines(logs[which]) if " lb" not in line]  # serf's own agent is a member too

    def reach(*expected: str) -> None:
        for which in logs:
            wait_until(lambda which=which: sorted(of_others(which)) == sorted(expected), WAIT, lambda: str(logs))  # type: ignore[misc]

    joins = [f"member-join {FIRST} web", f"member-join {SECOND} db"]
    leave, failed = f"member-leave {FIRST} web", f"member-failed {SECOND} db"
    with serf(tmp_path, logs["serf"], handler) as agents, watch(own, *targets, LOG=str(logs["crpc"])) as process:
        reach(*joins)
        agents[FIRST].send_signal(signal.SIGINT)  # a clean leave
        assert crpc("lab", "node", FIRST, "stop").returncode == 0
        reach(*joins, leave)
        agents[SECOND].kill()
        began = time.monotonic()
        assert crpc("lab", "node", SECOND, "kill").returncode == 0
        wait_until(lambda: failed in of_others("crpc"), WAIT)
        took = time.monotonic() - began
        reach(*joins, leave, failed)
        assert process.poll() is None
    assert of_others("serf")[2:] == of_others("crpc")[2:] == [leave, failed]
    assert took < 20  # a machine with load; 3.75 s of silence, 4 s of confirmation and two reads without
    for name in (FIRST, SECOND):
        assert crpc("lab", "node", name, "start").returncode == 0
    wait_until(lambda: len(crpc("find").stdout.split()) == 3, WAIT)
    done = crpc("watch", "--once", *targets, LOG=str(logs["crpc"]))
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 2)
    assert sorted(of_others("crpc")[4:]) == joins


def test_facts_and_a_second_machine(own: Layout, crpc: Crpc, tmp_path: Path) -> None:
    """A changed fact is an update that names it, and a second machine with the identity is one conflict."""
    out = tmp_path / "out"
    with watch(own, "-I", THIRD, "--exec-json", f"cat >> {out}"):
        wait_until(lambda: len(lines(out)) == 1, WAIT)
        facts = own.node(THIRD) / "facts.yaml"
        facts.write_text(facts.read_text().replace("role: app", "role: spare"))
        assert crpc("lab", "node", THIRD, "reload").returncode == 0
        wait_until(lambda: len(lines(out)) == 2, WAIT)
        endpoint = own.environment()["AWS_ENDPOINT_URL"]
        session = boto3.Session(aws_access_key_id="lab", aws_secret_access_key="lab", region_name="eu-central-1")
        table: Any = session.client("dynamodb", endpoint_url=endpoint)
        table.update_item(  # what the start of a second machine does
            TableName="lab_nodes",
            Key={"identity": {"S": THIRD}},
            UpdateExpression="SET instance = :other",
            ExpressionAttributeValues={":other": {"S": "other"}},
        )
        wait_until(lambda: len(lines(out)) == 3, WAIT)
    events = [json.loads(line) for line in lines(out)]
    for event in events:
        check_schema("event", event)
    assert [event["event"] for event in events] == ["join", "update", "conflict"]
    assert events[1]["changes"] == {"facts": ["role"]}
    assert events[1]["member"]["facts"]["role"] == "spare"


def test_a_daemon_watches(own: Layout, crpc: Crpc, tmp_path: Path) -> None:
    """A node with `watches:` runs the command with its own facts for events of the others, soon after a failure."""
    out = tmp_path / "out"
    config = own.node(FIRST) / "node.yaml"
    command = f'echo "$SERF_EVENT $SERF_SELF_NAME $SERF_TAG_ROLE $(cut -f1)" >> {out}'
    watches = {"others": {"exec": command, "filter": "role=db", "on": ["join", "leave", "failed"]}}
    config.write_text(f"{config.read_text()}watches: {json.dumps(watches)}\n")
    for verb in ("stop", "start"):
        assert crpc("lab", "node", FIRST, verb).returncode == 0
    wait_until(lambda: lines(out) == [f"member-join {FIRST} web {SECOND}"], WAIT)
    began = time.monotonic()
    assert crpc("lab", "node", SECOND, "kill").returncode == 0
    wait_until(lambda: lines(out)[1:] == [f"member-failed {FIRST} web {SECOND}"], WAIT)
    assert time.monotonic() - began < 14  # 3.75 s of silence, a read each second, 3 s of confirmation; and load
    assert crpc("lab", "node", SECOND, "start").returncode == 0
    wait_until(lambda: lines(out)[2:] == [f"member-join {FIRST} web {SECOND}"], WAIT)
    assert crpc("lab", "node", SECOND, "stop").returncode == 0
    wait_until(lambda: lines(out)[3:] == [f"member-leave {FIRST} web {SECOND}"], WAIT)
    assert crpc("lab", "node", FIRST, "stop").returncode == 0
    assert "internal_error" not in (own.node(FIRST) / "log").read_text()
    for name in (FIRST, SECOND):
        assert crpc("lab", "node", name, "start").returncode == 0


def test_forms_of_output(crpc: Crpc, tmp_path: Path) -> None:
    """Lines, documents and tables have the same events; a state file has each of them once."""
    found = json.loads(crpc("watch", "--on", "join", "--once", "--json").stdout)
    check_document(found)
    names = [event["member"]["identity"] for event in found["events"]]
    assert names == [FIRST, SECOND, THIRD]
    streamed = [
        json.loads(line) for line in crpc("watch", "--on", "join", "--for", "0.1", "--jsonl").stdout.splitlines()
    ]
    assert [one["member"]["identity"] for one in streamed] == names
    table = crpc("watch", "--on", "join", "--once", "--fields", "node,event", "-o", "csv").stdout.split()
    assert table == ["node,event", *(f"{name},join" for name in names)]
    state = str(tmp_path / "state")
    assert len(crpc("watch", "--on", "join", "--once", "--state", state).stdout.splitlines()) == 3
    again = crpc("watch", "--on", "join", "--once", "--state", state)
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")


def interrupted(process: subprocess.Popen[str]) -> bool:
    """Interrupt a process once more; return whether it has ended."""
    process.send_signal(signal.SIGINT)
    return process.poll() is not None


def test_a_second_interrupt_kills_the_handlers(own: Layout, tmp_path: Path) -> None:
    """No handler goes on after its watcher, and the next watcher delivers the event again."""
    pid, state = tmp_path / "pid", str(tmp_path / "state")
    words = ["watch", "-I", FIRST, "--state", state, "--exec", f"trap '' TERM INT; echo $$ > {pid}; sleep 300"]
    env = {**clean_environment(), **own.environment()}
    with subprocess.Popen([str(BIN / "crpc"), *words], env=env, stderr=subprocess.PIPE, text=True) as process:
        wait_until(lambda: pid.exists() and bool(pid.read_text()), WAIT)
        wait_until(lambda: interrupted(process), WAIT)
        assert process.stderr is not None
        assert process.stderr.read() == "crpc: interrupted\n"
    wait_until(lambda: not runs(int(pid.read_text())), WAIT)
    again = make_crpc(env)("watch", "-I", FIRST, "--state", state, "--once")
    assert f"join     {FIRST}" in again.stdout


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--json"], "watch: this form of output needs an end (add --once or --for, or use --jsonl alone)"),
        (["--limit", "1"], "--limit: a random selection cannot be watched (name the nodes with -I)"),
        (["--dm", "broadcast"], "--dm, --dt: nodes are watched in the registry, not asked"),
        (["--batch"], "--batch: has no effect without a command (add --exec or --exec-json)"),
        (["--exec", " "], "--exec: the command must not be empty"),
        (["--exec-json", ""], "--exec-json: the command must not be empty"),
        (["--on", "joined"], "--on: unknown kind of event 'joined'"),
        (["--expect-all"], "--expect-all: has no effect here"),
        (["--state", "/no/such/state"], "--state /no/such/state: the folder /no/such does not exist (create it)"),
        (["-S", "fstat('/etc/hosts').size>0"], "-S: the data function 'fstat' cannot be watched"),
    ],
)
def test_what_cannot_be_watched_is_refused(crpc: Crpc, words: Sequence[str], error: str) -> None:
    """Options that make no sense are refused before anything is read."""
    done = crpc("watch", *words)
    assert (done.returncode, done.stdout) == (64, "")
    assert done.stderr.startswith(f"crpc: {error}")
