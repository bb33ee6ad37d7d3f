"""No node disappears silently: every known node is asked and accounted for by name, in a lab of three."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from support import failures
from support.crpc_process import BIN, Completed, Crpc, clean_environment, make_crpc, own_lab
from support.json_documents import check_document
from support.waiting import wait_until

from collective.lab.layout import Layout
from collective.signing import key_files, keys

FIRST, SECOND, THIRD = "node01.lab", "node02.lab", "node03.lab"
TABLE = "lab_nodes"
WAIT = 20.0  # seconds
CERT = {
    "metadata": {"name": "cert", "description": "Certificates", "version": "1", "timeout": 5},
    "query": {"type": "string"},
    "output": {"type": "object", "properties": {"days_left": {"title": "Days Left", "type": "integer"}}},
}
CODE = '''
from collective.agent import data

@data
def cert(query):
    """Return the days that a certificate is valid."""
    with open(query) as file:
        return {"days_left": len(file.read())}
'''


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Layout]:
    """A lab of three nodes whose files, processes and registry these tests change."""
    layout = Layout(tmp_path_factory.mktemp("presence-lab"))
    with own_lab(layout, 3):
        yield layout


@pytest.fixture
def crpc(own: Layout) -> Crpc:
    """Run crpc against the lab of these tests."""
    return make_crpc({**clean_environment(), **own.environment()})


@pytest.fixture
def table(own: Layout) -> Any:
    """The client of the lab's registry."""
    settings = own.environment()
    session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="eu-central-1")
    return session.client("dynamodb", endpoint_url=settings["AWS_ENDPOINT_URL"])


def pid(own: Layout, identity: str) -> int:
    return int((own.node(identity) / "pid").read_text())


def document(done: Completed) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(done.stdout)
    check_document(found)
    return found


@contextmanager
def frozen(own: Layout, identity: str) -> Iterator[None]:
    """Stop a node's process for the time of a block."""
    os.kill(pid(own, identity), signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid(own, identity), signal.SIGCONT)


@contextmanager
def stale(table: Any, crpc: Crpc, identity: str, seconds: float) -> Iterator[None]:
    """Kill a node, and make it one that was seen some time ago; start it again."""
    assert crpc("lab", "node", identity, "kill").returncode == 0
    table.update_item(
        TableName=TABLE,
        Key={"identity": {"S": identity}},
        UpdateExpression="SET last_seen = :then",
        ExpressionAttributeValues={":then": {"N": f"{time.time() - seconds:.3f}"}},
    )
    try:
        yield
    finally:
        assert crpc("lab", "node", identity, "start").returncode == 0
        wait_until(lambda: identity in crpc("find").stdout, WAIT)


def test_a_stale_node_is_named_and_can_be_expected(crpc: Crpc, table: Any) -> None:
    """A stale node gets no request; it counts as silent with `--expect-all`, or so configured in client.yaml."""
    with stale(table, crpc, THIRD, 84):
        done = crpc("ping", "--json")
        assert done.returncode == 0
        assert f"crpc: 1 node not asked, last seen 8" in done.stderr  # noqa: F541 - the age grows
        assert f" s ago: {THIRD}\n" in done.stderr
        assert list(document(done)["not_asked"]) == [THIRD]
        strict = crpc("ping", "--json", "--expect-all")
        assert (strict.returncode, document(strict)["silent"]) == (3, [THIRD])
        assert crpc("find").returncode == 0
        assert crpc("find", "--expect-all").returncode == 3
        [listed] = [one for one in document(crpc("nodes", "list", "--json"))["nodes"] if one["identity"] == THIRD]
        assert (listed["state"], "rpcutil" in listed["agents"]) == ("stale", True)
        assert crpc("find", "-F", "role=no-such").stderr.startswith("crpc: no node matches the filter (2 nodes alive)")
        assert f"{THIRD}: last seen " in crpc("doctor", THIRD).stdout


@pytest.mark.parametrize("words", [("--dm", "broadcast"), ("-S", "fstat('/etc/hosts').size>0")])
def test_a_node_that_does_not_answer_the_question_is_silent(own: Layout, crpc: Crpc, words: tuple[str, ...]) -> None:
    """The others are found as soon as all have answered, and the silent node is named with the reason."""
    began = time.monotonic()
    assert crpc("find", *words).stdout.split() == [FIRST, SECOND, THIRD]
    took = time.monotonic() - began
    with frozen(own, SECOND):
        done = crpc("ping", "--json", *words)
        assert (done.returncode, document(done)["silent"]) == (3, [SECOND])
        assert f"crpc: {SECOND}: has not read its queue (" in done.stderr
        found = crpc("find", *words)
        assert (found.returncode, found.stdout.split()) == (3, [FIRST, THIRD])
    assert took < 10  # a machine with load; without load it is less than a second


def test_a_node_that_cannot_evaluate_a_filter_is_named(own: Layout, crpc: Crpc) -> None:
    """A function that is missing or fails: exit 2, on standard error and in JSON, also if no node matches."""
    (own.folder / "ddl" / "data").mkdir(parents=True, exist_ok=True)
    (own.folder / "ddl" / "data" / "cert.json").write_text(json.dumps(CERT))
    code = own.node(FIRST) / "more" / "data"
    code.mkdir(parents=True)
    (code / "cert.py").write_text(CODE)
    config = own.node(FIRST) / "node.yaml"
    config.write_text(config.read_text().replace("agents:\n", "agents:\n- more\n"))
    for verb in ("stop", "start"):
        assert crpc("lab", "node", FIRST, verb).returncode == 0
    wait_until(lambda: FIRST in crpc("find").stdout, WAIT)

    done = crpc("find", "-S", "cert('/etc/hosts').days_left>0", "--json")
    assert (done.returncode, document(done)["nodes"]) == (2, [FIRST])
    assert sorted(document(done)["not_evaluated"]) == [SECOND, THIRD]
    assert "crpc: 2 nodes could not evaluate the filter: node[02-03].lab (this node has no data function 'cert'" in (
        done.stderr
    )
    broken = crpc("rpcutil", "ping", "-S", "cert('/nosuch').days_left<14", "-I", FIRST, "--json")
    assert (broken.returncode, document(broken)["replies"]) == (2, [])
    assert (
        f"crpc: 1 node could not evaluate the filter: {FIRST} (data cert: Agent crashed: FileNotFoundError"
        in broken.stderr
    )
    assert crpc("find", "-S", "cert('/nosuch').days_left<14").returncode == 2
    assert crpc("find", "-S", "role=no-such and cert('/nosuch').days_left<14").returncode == 1


def test_a_node_with_too_many_facts_stays_registered(own: Layout, crpc: Crpc) -> None:
    """Facts grow under the running daemon: the node answers, filters ask it, and checks report it."""
    facts = own.node(SECOND) / "facts.yaml"
    before = facts.read_text()
    many = {f"package{number}": hashlib.sha512(str(number).encode()).hexdigest()[:60] for number in range(10_455)}
    try:
        facts.write_text(json.dumps({"role": "db", **many}))
        os.kill(pid(own, SECOND), signal.SIGHUP)
        wait_until(lambda: "registry.omitted" in (own.node(SECOND) / "log").read_text(), WAIT)
        value = many["package9999"]
        wait_until(lambda: crpc("find", "-F", f"package9999={value}").stdout == f"{SECOND}\n", WAIT)
        assert crpc("ping").stdout.count("time=") == 3
        verbose = crpc("find", "-v", "-F", f"package9999={value}")
        assert f"{SECOND}: the registry cannot store " in verbose.stderr
        doctor = crpc("doctor")
        assert f"{SECOND}: the registry cannot store " in doctor.stdout
        checked = subprocess.run(
            [BIN / "collectived", "--check", "--config", own.node(SECOND) / "node.yaml"],
            env={**clean_environment(), **own.environment()},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert checked.returncode == 78
        assert "facts: the registry cannot store " in checked.stderr
    finally:
        facts.write_text(before)
        os.kill(pid(own, SECOND), signal.SIGHUP)
    wait_until(lambda: "cannot store" not in crpc("doctor").stdout, WAIT)


@pytest.mark.failure(failures.AWS, "invalid items in the registry's table")
def test_a_bad_record_costs_only_itself(crpc: Crpc, table: Any) -> None:
    """Records that are not valid are named once each, cleaned, and every command works."""
    bad: dict[str, Any] = {"agents": None, "version": "1", "facts": {}}
    packed = {"B": zlib.compress(json.dumps(bad).encode())}
    times = {"instance": {"S": "x"}, "last_seen": {"N": f"{time.time():.3f}"}}
    names_ = ["bad1", "evil\x1b[2J\nname"]
    for name in names_:
        table.put_item(TableName=TABLE, Item={"identity": {"S": name}, **times, "node": packed})
    try:
        done = crpc("ping", "--json")
        assert done.returncode == 0
        assert "crpc: 1 node not asked, invalid record in the registry: agents: must be an object" in done.stderr
        assert list(document(done)["not_asked"]) == ["bad1", "evil\\x1b[2J\\nname"]
        for words in (("ping",), ("find",), ("nodes", "list"), ("doctor",), ("doctor", "bad1"), ("nodes", "prune")):
            done = crpc(*words, stdin="")
            assert done.returncode in (0, 4, 69), done.stderr
            assert "\x1b" not in done.stdout + done.stderr
            assert "internal error" not in done.stdout + done.stderr
    finally:
        for name in names_:
            table.delete_item(TableName=TABLE, Key={"identity": {"S": name}})


def test_a_revoked_node_is_not_asked_and_its_replies_are_refused(own: Layout, crpc: Crpc, tmp_path: Path) -> None:
    """Another caller learns of it from the registry; `nodes trust` readmits the key, and others learn of that too."""
    other = tmp_path / "client.yaml"
    (tmp_path / "key").write_bytes((own.folder / "key").read_bytes())
    (tmp_path / "key").chmod(0o600)
    other.write_text((own.folder / "client.yaml").read_text().replace("ddls:\n- ddl\n", ""))
    revoked = crpc("nodes", "revoke", FIRST, "--json")
    assert (revoked.returncode, document(revoked)["shared"]) == (0, True)
    for words in ((), ("--config", str(other))):
        done = crpc("ping", *words)
        assert f"crpc: 1 node not asked, its key is revoked: {FIRST}\n" in done.stderr
        assert FIRST not in done.stdout
        named = crpc("ping", "-I", FIRST, *words)
        assert (named.returncode, f"its key is revoked: {FIRST}" in named.stderr) == (1, True)
    assert "its key is revoked" in crpc("doctor", FIRST).stdout
    assert f"{FIRST} " in crpc("nodes", "list").stdout
    trusted = crpc("nodes", "trust", FIRST)
    assert trusted.returncode == 0, trusted.stderr
    for words in ((), ("--config", str(other))):
        assert crpc("ping", *words).stdout.count("time=") == 3
        assert crpc("ping", "-I", FIRST, *words).returncode == 0


def test_new_nodes_can_be_refused_until_they_are_trusted(own: Layout, crpc: Crpc, tmp_path: Path) -> None:
    """With `new_nodes: refuse`, the first claim of a name is not believed; a key given by hand is."""
    config = tmp_path / "client.yaml"
    (tmp_path / "key").write_bytes((own.folder / "key").read_bytes())
    (tmp_path / "key").chmod(0o600)
    text = (own.folder / "client.yaml").read_text().replace("ddls:\n- ddl\n", "")
    config.write_text(text + "new_nodes: refuse\n")
    words = ("--config", str(config))
    refused = crpc("ping", "-I", FIRST, "-t", "3", *words)
    assert refused.returncode == 3
    assert f"crpc: {FIRST}: the key SHA256:" in refused.stderr
    [node] = [one for one in document(crpc("nodes", "list", "--json"))["nodes"] if one["identity"] == FIRST]
    assert crpc("nodes", "trust", FIRST, "--key", node["key"], *words).returncode == 0
    assert crpc("ping", "-I", FIRST, *words).returncode == 0


def test_a_caller_that_is_not_trusted_is_told_within_the_wait(own: Layout, crpc: Crpc, tmp_path: Path) -> None:
    """The nodes read the request and do not answer: this is said before the timeout is over, and by the doctor."""
    config = tmp_path / "client.yaml"
    key_files.write_new(tmp_path / "key", keys.new().text())
    config.write_text((own.folder / "client.yaml").read_text().replace("ddls:\n- ddl\n", ""))
    done = crpc("ping", "-I", FIRST, "--config", str(config))
    assert done.returncode == 3
    assert f"crpc: {FIRST} received the request but has not answered yet" in done.stderr
    assert f"crpc: {FIRST}: received the request but did not answer: it may not trust this key" in done.stderr
    assert "did not answer: it may not trust this key" in crpc("doctor", FIRST, "--config", str(config)).stdout


def test_a_refused_reload_is_visible(own: Layout, crpc: Crpc) -> None:
    """Calls go on with the old code, and inventory, statistics and doctor name the agent with the reason."""
    ddl = {
        "metadata": {"name": "odd", "description": "Odd", "version": "1", "timeout": 5},
        "actions": {"do": {"description": "Do", "idempotent": True, "output": {"type": "object", "properties": {}},
                           "input": {"type": "object", "properties": {}, "additionalProperties": False}}},
    }  # fmt: skip
    (own.folder / "ddl" / "odd.json").write_text(json.dumps(ddl))
    code = own.folder / "agents" / "odd.py"
    code.write_text("from collective.agent import action\n\n\n@action\ndef do():\n    return {}\n")
    os.kill(pid(own, THIRD), signal.SIGHUP)
    wait_until(lambda: crpc("find", "-A", "odd").stdout == f"{THIRD}\n", WAIT)
    code.write_text("def broken(:\n")
    os.kill(pid(own, THIRD), signal.SIGHUP)
    try:
        wait_until(lambda: "a newer version failed to load" in crpc("doctor").stdout, WAIT)
        assert crpc("odd", "do", "-I", THIRD).returncode == 0
        for action in ("inventory", "agent_inventory", "daemon_stats"):
            done = document(crpc("rpcutil", action, "-I", THIRD, "--json"))
            [reply] = done["replies"]
            assert "version 1 is in use, newer version failed to load: " in reply["data"]["refused_agents"]["odd"]
        assert "Refused agents:" in crpc("inventory", THIRD).stdout
        assert f"{THIRD}: agent 'odd' 1 is in use, a newer version failed to load" in crpc("doctor", THIRD).stdout
    finally:
        code.unlink()
        (own.folder / "ddl" / "odd.json").unlink()
        os.kill(pid(own, THIRD), signal.SIGHUP)


def test_files_that_are_no_longer_valid_are_visible(own: Layout, crpc: Crpc) -> None:
    """The node goes on with the last valid policy and facts, and doctor and statistics say so, without the log."""
    policy, facts = own.node(THIRD) / "policy.yaml", own.node(THIRD) / "facts.yaml"
    before = policy.read_text(), facts.read_text()
    policy.write_text(f"{before[0]}rulez: 1\n")
    facts.write_text("role: [")
    expected = (f"{policy}:", "unknown key 'rulez'", f"{facts}:2:1: ")
    try:
        os.kill(pid(own, THIRD), signal.SIGHUP)
        wait_until(lambda: all(text in crpc("doctor").stdout for text in expected), WAIT)
        assert all(text in crpc("doctor", THIRD).stdout for text in expected)
        [reply] = document(crpc("rpcutil", "daemon_stats", "-I", THIRD, "--json"))["replies"]
        assert all(text in str(reply["data"]["problems"]) for text in expected)
    finally:
        policy.write_text(before[0])
        facts.write_text(before[1])
        os.kill(pid(own, THIRD), signal.SIGHUP)
    wait_until(lambda: "rulez" not in crpc("doctor").stdout, WAIT)


def catches(process: int, number: signal.Signals) -> bool:
    """Return whether a process has a handler for a signal: proc(5)."""
    status = Path(f"/proc/{process}/status").read_text()
    caught = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught, 16) >> (number - 1) & 1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_an_interrupt_says_what_still_runs(own: Layout, number: signal.Signals) -> None:
    """The first Ctrl-C ends the wait, not the work, and how long the work can take is printed.

    So do SIGTERM (`timeout 60 crpc …`) and SIGHUP (a lost connection): signal(7).
    """
    command = f"sleep {20 + number / 100}"
    environment = {**clean_environment(), **own.environment()}
    words = ["shell", "run", f"command={command}", "-I", FIRST]
    with subprocess.Popen(
        [BIN / "crpc", *words], env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        log = own.node(FIRST) / "audit.jsonl"
        wait_until(lambda: log.exists() and command in log.read_text(), WAIT)
        wait_until(lambda: catches(process.pid, signal.SIGTERM), WAIT)  # as soon as it waits for replies
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 4
    assert "crpc: still running on 1 node, for at most " in errors
