"""Playbooks over five real daemons: the shipped examples, a step that fails and is resumed, and what is refused."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.crpc_process import BIN, Completed, Crpc, clean_environment, make_crpc, own_lab
from support.documents import DOCS, blocks
from support.json_documents import check_document
from support.waiting import wait_until

from collective.lab import control
from collective.lab.layout import Layout
from collective.testing import fake_commands

WEB = ["node01.lab", "node04.lab"]  # the nodes of the lab with role=web
RUNNING = "LoadState=loaded\nActiveState=active\nSubState=running\nUnitFileState=enabled\nResult=success\n"
# What the machine's own programs answer in this lab: the second restart fails, and all others succeed.
PROGRAMS: dict[str, Any] = {
    "systemctl show": {"stdout": RUNNING},
    "systemctl restart": [{}, {"exitcode": 1, "stderr": "Job failed\n"}, {}],
    "journalctl": {"stdout": ""},
    "dpkg-query": {"stdout": "installed\t6.12.5\tamd64\n"},
    "apt-get": {"stdout": "linux-image-amd64 is already the newest version (6.12.5).\n"},
}
# Restarts the daemon whose action runs it, after the action has ended.
REBOOT = """#!/bin/sh
pid=$$
until file=$(grep -lx "$pid" {lab}/nodes/*/pid); do
    pid=$(awk '/^PPid:/ {{print $2}}' /proc/$pid/status)
    [ "$pid" -gt 1 ] || exit 1
done
node=$(basename $(dirname $file))
echo "$node" >> {log}
export COLLECTIVE_LAB={lab}
setsid sh -c "sleep 0.2; {crpc} lab node $node stop && {crpc} lab node $node start" > {log}.out 2>&1 < /dev/null &
"""


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Layout]:
    """A lab whose services and packages are those of stand-ins."""
    layout = Layout(tmp_path_factory.mktemp("five"))
    with fake_commands(PROGRAMS), own_lab(layout, 5):
        for node in layout.nodes():
            settings = layout.node(node) / "settings"
            (settings / "service.yaml").write_text("provider: systemd\n")
            (settings / "package.yaml").write_text("provider: apt\n")
            control.reload_node(layout, node)
        yield layout


@pytest.fixture
def crpc(five: Layout) -> Crpc:
    """Run crpc against that lab."""
    return make_crpc({**clean_environment(), **five.environment()})


def document(done: Completed) -> dict[str, Any]:
    """Return the valid document of a run."""
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert check_document(found).startswith("playbook")
    return found


def write(folder: Path, text: str, name: str = "test.yaml") -> str:
    """Write a playbook; return its path."""
    path = folder / name
    path.write_text(text)
    return str(path)


def requests(lab: Layout) -> int:
    """Return the number of requests that the nodes have decided on."""
    return sum((lab.node(node) / "audit.jsonl").read_text().count("\n") for node in lab.nodes())


def as_shown(text: str) -> set[str]:
    """Return the lines of an output, or of a document's block, without the command, times and identifiers."""
    text = re.sub(r"[0-9.]+ ms|resume [0-9a-f]{8}|\(\S*rolling-restart.yaml", "…", text)
    return {line.strip() for line in text.splitlines() if line.strip() and not line.startswith("$ ")}


# -- the shipped examples


def test_a_rolling_restart_stops_at_a_node_that_fails_and_is_resumed(crpc: Crpc, tmp_path: Path) -> None:
    """The second node stays drained after its restart failed; the resumed run neither drains nor restarts the first."""
    log, balancer = tmp_path / "log", tmp_path / "balancer"
    balancer.write_text(f'#!/bin/sh\necho "balancer: $1 $2"\necho "$1 $2" >> {log}\n')
    balancer.chmod(0o755)
    run = ("playbook", "run", "rolling-restart")
    inputs = ("service=nginx", "role=web", f"balancer={balancer}")
    stopped = crpc(*run, *inputs)
    assert (stopped.returncode, log.read_text().split("\n")[:-1]) == (
        2,
        ["drain node01.lab", "add node01.lab", "drain node04.lab"],
    ), stopped.stderr
    first, second, _ = blocks((DOCS / "how-to" / "playbooks.md").read_text(), "console")
    tail = stopped.stdout[stopped.stdout.index("[3[2].1] Drain") :] + stopped.stderr
    assert as_shown(first.partition("…")[2]) == as_shown(tail)
    resumed = crpc(*run, "--resume")
    assert resumed.returncode == 0
    assert as_shown(second) == as_shown(resumed.stdout + resumed.stderr)
    assert log.read_text().endswith("drain node04.lab\nadd node04.lab\n")
    assert log.read_text().count("drain node04.lab") == 1


def test_a_kernel_update_reboots_one_node_after_the_other(crpc: Crpc, five: Layout, tmp_path: Path) -> None:
    """Each node is restarted once and passes its check before the next one is rebooted."""
    log, reboot = tmp_path / "log", tmp_path / "reboot"
    reboot.write_text(REBOOT.format(log=log, lab=five.folder, crpc=BIN / "crpc"))
    reboot.chmod(0o755)
    before = {node: (five.node(node) / "pid").read_text() for node in five.nodes()}
    done = crpc("playbook", "run", "kernel-update", "role=web", "check=check_disk", f"reboot={reboot}", "--json")
    assert done.returncode == 0, (done.stderr, Path(f"{log}.out").read_text())
    assert log.read_text().split() == WEB
    after = {node: (five.node(node) / "pid").read_text() for node in five.nodes()}
    assert [node for node in before if before[node] != after[node]] == WEB
    steps = [step["step"] for step in document(done)["steps"] if step["kind"] in ("call", "wait")]
    assert steps == ["1", *(f"2[{number}].{step}" for number in (1, 2) for step in (1, 2, 3, 4))]


@pytest.fixture
def keys(five: Layout, tmp_path: Path) -> Iterator[tuple[str, ...]]:
    """The inputs of the rotation to a new key; the old one is trusted again at the end."""
    before = (five.folder / "allowed_signers").read_text()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", five.folder / "new"], check=True)
    client = (five.folder / "client.yaml").read_text()
    (five.folder / "new.yaml").write_text(client.replace("key: key\n", "key: new\n"))
    signers = f"signers={five.folder / 'allowed_signers'}"
    yield ("playbook", "run", "rotate-key", f"config={five.folder / 'new.yaml'}", signers, "at_once=1", "--yes")
    (five.folder / "allowed_signers").write_text(before)
    for name in ("new", "new.pub", "new.yaml"):
        (five.folder / name).unlink()


def test_a_key_is_replaced_on_all_nodes(crpc: Crpc, five: Layout, keys: tuple[str, ...]) -> None:
    """After the run nodes trust the new key only: real nodes verify it before they stop trusting the old one."""
    done = crpc(*keys, f"crpc={BIN / 'crpc'}", "-q")
    assert done.returncode == 0, done.stderr
    public = (five.folder / "new.pub").read_text().split()[1]
    assert [line.split()[-1] for line in (five.folder / "allowed_signers").read_text().splitlines()] == [public]
    one = ("rpcutil", "ping", "-I", "node01.lab", "-t", "1")
    assert crpc(*one, "--config", str(five.folder / "new.yaml")).returncode == 0
    assert crpc(*one).returncode == 3


def test_a_key_that_does_not_work_is_removed_again(
    crpc: Crpc, five: Layout, keys: tuple[str, ...], tmp_path: Path
) -> None:
    """If a request with the new key fails, nodes have the keys that they had before, and the run is a failure."""
    before = (five.folder / "allowed_signers").read_text()
    broken = tmp_path / "crpc"
    broken.write_text(f'#!/bin/sh\n[ "$1" = rpcutil ] && exit 3\nexec {BIN / "crpc"} "$@"\n')
    broken.chmod(0o755)
    done = crpc(*keys, f"crpc={broken}")
    assert (done.returncode, (five.folder / "allowed_signers").read_text()) == (2, before), done.stderr
    assert "the old key is still in use: exit code 3" in done.stderr


# -- resuming, interrupts

SLOW = """
title: A slow rollout
steps:
  - id: first
    call: {{agent: rpcutil, action: ping, targets: {{with_fact: role=web}}}}
  - name: Write
    call:
      agent: shell
      action: run
      inputs: {{command: "echo x >> {folder}/ran"}}
      targets: {{nodes: "{{{{ steps.first.ok }}}}"}}
      pace: {{batch: 1, batch_sleep: 60}}
  - local: {{command: [touch, "{folder}/end"]}}
always:
  - local: {{command: [touch, "{folder}/cleaned"]}}
"""


def begun(five: Layout, folder: Path) -> subprocess.Popen[bytes]:
    """Start the slow playbook, and wait until the first of two nodes has answered."""
    path = write(folder, SLOW.format(folder=folder))
    environment = {**clean_environment(), **five.environment()}
    words: list[str | Path] = [BIN / "crpc", "playbook", "run", path]
    process = subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    runs = five.folder / "state" / "runs"
    name = f"echo x >> {folder}"

    def answered() -> bool:
        texts = [one.read_text() for one in runs.iterdir()]
        return any('"event":"reply"' in text for text in texts if name in text)

    wait_until(answered, 30)
    return process


def test_a_run_whose_process_was_killed_is_resumed(crpc: Crpc, five: Layout, tmp_path: Path) -> None:
    """After kill -9 in the pause of a rollout, only the node that was not reached runs the action."""
    process = begun(five, tmp_path)
    process.kill()
    process.wait()
    path = str(tmp_path / "test.yaml")
    done = document(crpc("playbook", "run", path, "--resume", "--json"))
    assert ([step["outcome"] for step in done["steps"][:2]], done["exit"]) == (["before", "ok"], 0)
    assert (tmp_path / "ran").read_text() == "x\nx\n"
    assert (tmp_path / "end").exists()
    assert (tmp_path / "cleaned").exists()


def test_ctrl_c_stops_and_cleans(crpc: Crpc, five: Layout, tmp_path: Path) -> None:
    """The exit code is 4, no further node is reached, and the steps of always have run; the run can be resumed."""
    process = begun(five, tmp_path)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 4
    assert (tmp_path / "ran").read_text() == "x\n"
    assert (tmp_path / "cleaned").exists()
    assert not (tmp_path / "end").exists()
    path = tmp_path / "test.yaml"
    path.write_text(path.read_text().replace("A slow rollout", "Another"))
    refused = crpc("playbook", "run", str(path), "--resume")
    assert (refused.returncode, f"{path}: changed since run" in refused.stderr) == (78, True)
    assert crpc("playbook", "run", str(path), "--resume", "--allow-drift", "-q").returncode == 0
    assert (tmp_path / "ran").read_text() == "x\nx\n"


# -- refusals

CALL = "title: T\nsteps:\n  - call: {agent: rpcutil, action: ping}\n"
REFUSED = {
    "unknown key": (CALL + "    whem: true\n", ":4: unknown key 'whem' (did you mean 'when'?)"),
    "loop": (CALL + "  - include: {file: test.yaml}\n", ":4: include: a loop: test.yaml → test.yaml"),
    "undefined": (CALL + "    when: inputs.absent\n", ":4: undefined variable 'inputs.absent'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_is_refused_before_anything_is_sent(crpc: Crpc, five: Layout, tmp_path: Path, name: str) -> None:
    """The first step is valid, and no node gets its request: the file is read as a whole before."""
    text, expected = REFUSED[name]
    path, before = write(tmp_path, text), requests(five)
    done = crpc("playbook", "run", path, "--yes")
    assert (done.returncode, done.stdout, f"{path}{expected}" in done.stderr) == (78, "", True), done.stderr
    assert requests(five) == before


def test_a_plan_and_a_check_send_nothing(crpc: Crpc, five: Layout) -> None:
    """The plan has the nodes as the registry knows them, and says what is known only when it runs."""
    before = requests(five)
    words = ("playbook", "run", "kernel-update", "role=web", "check=check_disk")
    plan = document(crpc(*words, "--plan", "--json"))
    assert [step["nodes"] for step in plan["steps"] if step["kind"] == "call"] == [WEB, None, None]
    assert plan["steps"][0]["settings"] == {"with_fact": "role=web", "waves": "1,25%,rest", "max_fail": 1}
    checked = crpc(*words, "--check")
    assert (checked.returncode, "known when it runs: in\n" in checked.stdout) == (0, True), checked.stdout
    assert requests(five) == before


def test_parallel_calls_and_facts(crpc: Crpc, tmp_path: Path) -> None:
    """Two calls of one process run at once, each with its own replies, and expressions see the facts of nodes."""
    text = """
title: At once
steps:
  - parallel:
      - id: web
        call: {agent: shell, action: run, inputs: {command: hostname; sleep 1}, targets: {with_fact: role=web}}
      - id: db
        call: {agent: shell, action: run, inputs: {command: "sleep 1; echo db"}, targets: {with_fact: role=db}}
  - assert:
      - steps.web.ok == ["node01.lab", "node04.lab"] and steps.db.ok == ["node02.lab", "node05.lab"]
      - steps.db.replies["node02.lab"].data.stdout == "db\\n"
      - facts["node02.lab"].role == "db"
  - wait: {targets: {nodes: "{{ steps.web.ok }}"}, filter: role=web, for: 5s, every: 1s}
"""
    done = crpc("playbook", "run", write(tmp_path, text), "--json")
    assert done.returncode == 0, done.stderr
    rows = {row["step"]: row for row in document(done)["steps"]}
    assert rows["1"]["seconds"] < rows["1.1"]["seconds"] + rows["1.2"]["seconds"]
