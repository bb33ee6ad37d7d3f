"""The agents file, fact, process, puppet and shell, and dry runs, in a lab of six nodes of its own."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.crpc_process import Crpc, clean_environment, make_crpc, own_lab
from support.json_documents import check_document
from support.waiting import wait_until

from collective.lab import control
from collective.lab.layout import Layout

SIX = [f"node0{number}.lab" for number in range(1, 7)]
ONE = ("-I", "node01.lab")

# Writes "+NODE" and "-NODE" into a file that all nodes share, and takes the seconds in the file `seconds`.
PUPPET = """#!/bin/sh
cd {folder} || exit 1
if [ "$1" = config ]; then
    echo "agent_disabled_lockfile = {folder}/disabled.lock"
    echo "agent_catalog_run_lockfile = {folder}/run.lock"
    echo "lastrunfile = {folder}/summary.yaml"
    echo "lastrunreport = {folder}/report.yaml"
    exit
fi
echo $$ > run.lock
echo +{node} >> {log}
sleep "$(cat seconds)"
echo -{node} >> {log}
printf 'resources: {{changed: 1, failed: 0, total: 3}}\\ntime: {{last_run: %s}}\\n' "$(date +%s)" > summary.yaml
rm run.lock
"""


@pytest.fixture(scope="module")
def six(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Layout]:
    """A lab of six nodes, each with a fake puppet that sleeps."""
    layout = Layout(tmp_path_factory.mktemp("six"))
    with own_lab(layout, 6):
        for node in SIX:
            folder = layout.folder / "nodes" / node / "puppet"
            folder.mkdir()
            (folder / "seconds").write_text("1")
            script = folder / "puppet"
            script.write_text(PUPPET.format(folder=folder, node=node, log=layout.folder / "puppet.log"))
            script.chmod(0o755)
            settings = layout.folder / "nodes" / node / "settings" / "puppet.yaml"
            settings.write_text(json.dumps({"command": str(script)}))
            control.reload_node(layout, node)
        yield layout


@pytest.fixture
def crpc(six: Layout) -> Crpc:
    """Run crpc against the lab of six nodes."""
    return make_crpc({**clean_environment(), **six.environment()})


def node_folder(six: Layout, node: str = SIX[0]) -> Path:
    return six.folder / "nodes" / node


def most_at_once(log: Path) -> int:
    """Return the largest number of runs that went on at the same time."""
    running, most = 0, 0
    for line in log.read_text().splitlines():
        running += 1 if line.startswith("+") else -1
        most = max(most, running)
    return most


def test_puppet_runs_two_at_a_time(crpc: Crpc, six: Layout) -> None:
    """`puppet runall 2` runs all six nodes, never more than two at once; a stuck node does not stop the rest."""
    stuck = node_folder(six, SIX[2]) / "puppet"
    (stuck / "seconds").write_text("600")
    done = crpc("puppet", "runall", "2", "--run-timeout", "15", "-o", "json")
    os.kill(int((stuck / "run.lock").read_text()), signal.SIGKILL)
    runs = {run["node"]: run for run in json.loads(done.stdout)["runs"]}
    assert (done.returncode, sorted(runs)) == (2, SIX)
    assert check_document(json.loads(done.stdout)) == "puppet-runall"
    assert most_at_once(six.folder / "puppet.log") == 2
    assert runs.pop(SIX[2])["end"].startswith("still running after ")
    assert {(run["ok"], run["end"], run["changed_resources"]) for run in runs.values()} == {(True, "ended", 1)}
    (stuck / "seconds").write_text("1")


def test_files_go_to_the_nodes_and_come_back(crpc: Crpc, six: Layout, tmp_path: Path) -> None:
    """`file put` and `file get` copy byte for byte; a dry run, a second put and a path elsewhere change nothing."""
    content = os.urandom(700_000)
    (tmp_path / "big").write_bytes(content)
    remote = node_folder(six) / "files" / "big"
    announced = crpc("file", "put", str(tmp_path / "big"), str(remote), *ONE, "--dry-run")
    assert (announced.returncode, announced.stderr) == (0, "crpc: dry run: the nodes changed nothing\n")
    assert not remote.exists()
    put = crpc("file", "put", str(tmp_path / "big"), str(remote), *ONE, "--mode", "0600", "-o", "json")
    assert check_document(json.loads(put.stdout)) == "file-transfer"
    assert (put.returncode, remote.read_bytes(), remote.stat().st_mode & 0o777) == (0, content, 0o600)
    assert crpc("file", "put", str(tmp_path / "big"), str(remote), *ONE).stdout.startswith("node01.lab: unchanged\n")
    got = crpc("file", "get", str(remote), str(tmp_path / "copies"), *ONE)
    assert (got.returncode, (tmp_path / "copies" / "node01.lab" / "big").read_bytes()) == (0, content)
    refused = crpc("file", "get", "/etc/passwd", str(tmp_path / "copies"))
    assert refused.returncode == 2
    assert refused.stdout.count(": /etc/passwd: not below an allowed folder") == len(SIX)


def test_a_local_fact_is_seen_by_filters(crpc: Crpc, six: Layout) -> None:
    """A fact that was set is seen by the node within seconds, and its dry run changes nothing."""
    assert crpc("fact", "set", "name=rack", "value=r7", *ONE, "--dry-run").returncode == 0
    assert not (node_folder(six) / "facts.d").exists()
    assert crpc("fact", "set", "name=rack", "value=r7", *ONE).returncode == 0

    def seen() -> bool:
        return '"r7"' in crpc("rpcutil", "get_fact", "rack", *ONE, "-o", "json").stdout

    wait_until(seen, 30)
    assert crpc("fact", "remove", "rack", *ONE).returncode == 0


def test_large_output_is_fetched_afterwards(crpc: Crpc) -> None:
    """Output that does not fit into a reply is stored on the node, and `shell output` prints all of it."""
    line = f"{sys.executable} -c \"print('x' * 99 + chr(10), end='') or [print(n) for n in range(120000)]\""
    done = crpc("shell", "run", line, *ONE, "-o", "json")
    [reply] = json.loads(done.stdout)["replies"]
    text = "x" * 99 + "\n" + "".join(f"{number}\n" for number in range(120000))
    assert (reply["data"]["truncated"], reply["data"]["stdout_bytes"]) == (True, len(text))
    whole = crpc("shell", "output", reply["data"]["handle"])
    assert (whole.returncode, whole.stdout, whole.stderr) == (0, text, "")
    assert crpc("shell", "output", "0" * 32).returncode == 1


def test_a_script_from_s3_is_run_if_its_digest_is_right(crpc: Crpc, six: Layout) -> None:
    """A script from S3 is run by the node, unless its digest is another one."""
    import boto3

    script = b"echo from s3 $1\n"
    store = boto3.client(
        "s3",
        endpoint_url=six.environment()["AWS_ENDPOINT_URL"],
        region_name="eu-central-1",
        aws_access_key_id="x",
        aws_secret_access_key="x",
    )
    store.create_bucket(Bucket="scripts", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    store.put_object(Bucket="scripts", Key="a/hello.sh", Body=script)
    digest = hashlib.sha256(script).hexdigest()
    done = crpc("shell", "script", f"url=s3://scripts/a/hello.sh#sha256={digest}", 'args=["twice"]', *ONE, "-o", "json")
    assert json.loads(done.stdout)["replies"][0]["data"]["stdout"] == "from s3 twice\n"
    refused = crpc("shell", "script", f"url=s3://scripts/a/hello.sh#sha256={'0' * 64}", *ONE, "-o", "json")
    assert "not run: its digest is" in json.loads(refused.stdout)["replies"][0]["statusmsg"]


def test_a_thousand_lines_a_second_are_followed_without_loss(crpc: Crpc) -> None:
    """Lines that a job writes quickly are all shown, in order, with `--tail`."""
    script = "import time\nfor n in range(3000): print(n, flush=True); time.sleep(0.0009)"
    done = crpc("shell", "run", f"{sys.executable} -c '{script}'", "-I", "node[01-02].lab", "--tail")
    for node in SIX[:2]:
        lines = [line.removeprefix(f"{node}: ") for line in done.stdout.splitlines() if line.startswith(node)]
        assert lines == [str(number) for number in range(3000)]


def test_a_job_outlives_a_restart_of_the_daemon(crpc: Crpc, six: Layout) -> None:
    """A job that was started before a restart of its node goes on, and its output and exit code are there after it."""
    started = crpc("shell", "start", "sleep 3; echo over; exit 4", *ONE, "-o", "json")
    handle = json.loads(started.stdout)["replies"][0]["data"]["handle"]
    control.stop_node(six, SIX[0])
    control.start_node(six, SIX[0])

    def ended() -> bool:
        return "Exit Code: 4" in crpc("shell", "status", handle, *ONE).stdout

    wait_until(ended, 60)
    assert "over" in crpc("shell", "output", handle, *ONE).stdout


def test_a_dry_run_is_audited_and_refused_where_there_is_none(crpc: Crpc, six: Layout) -> None:
    """The audit log says which requests were dry runs, and an action without one is refused before it is sent."""
    done = crpc("shell", "run", "touch /tmp/never", "-n", *ONE, "-o", "json")
    assert json.loads(done.stdout)["dry_run"] is True
    assert "would_run" in json.loads(done.stdout)["replies"][0]["data"]
    shown = crpc("audit", "show", str(node_folder(six) / "audit.jsonl"), "--agent", "shell")
    assert "command=touch /tmp/never as a dry run" in shown.stdout
    refused = crpc("rpcutil", "ping", "--dry-run")
    assert (refused.returncode, refused.stderr) == (
        64,
        "crpc: rpcutil ping: this action has no dry run (call it without --dry-run)\n",
    )
