"""Background and scheduled jobs, and the orders that stop work, over real daemons.

`make jobs` runs them with jobs of a minute, and with the times that the documents promise on a machine that has nothing
else to do.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import time
from pathlib import Path
from typing import Any

import boto3
from support.crpc_process import BIN, Crpc
from support.rollouts import document, lines
from support.waiting import wait_until

from collective import names
from collective.lab.layout import COLLECTIVE, Layout

SECONDS = float(os.environ.get("JOB_SECONDS", "1"))  # of an action, and until a job starts
CALM = SECONDS >= 60  # whether times are those of a machine that does nothing else

# A child, a grandchild, and a process that has left the session and the process group; each writes its ID.
FAMILY = """cd {folder}; echo $$ > shell
sh -c 'echo $$ > child; sh -c "echo \\$\\$ > grandchild; sleep 300" & sleep 300' &
setsid sh -c 'sh -c "echo \\$\\$ > detached; sleep 300" &'
sleep 300"""
MEMBERS = ("shell", "child", "grandchild", "detached")


def job(crpc: Crpc, *words: str) -> str:
    """Start a job, and return its ID."""
    results = document(crpc, *words, "--yes")
    assert results["exit"] == 0
    assert {reply["reason"] for reply in results["replies"]} == {"accepted"}
    return str(results["request_id"])


def entries(crpc: Crpc, job_id: str) -> list[dict[str, Any]]:
    """Return what the nodes know of a job."""
    found: list[dict[str, Any]] = document(crpc, "jobs", "status", job_id)["jobs"]
    return found


def states(crpc: Crpc, job_id: str) -> list[str]:
    """Return the state of a job on each node."""
    return [entry["state"] for entry in entries(crpc, job_id)]


def restart(crpc: Crpc, node: str, how: str) -> None:
    """Stop or kill a daemon, and start it again."""
    for verb in (how, "start"):
        done = crpc("lab", "node", node, verb)
        assert done.returncode == 0, done.stderr


def test_a_job_outlives_its_caller_and_a_restart(crpc: Crpc) -> None:
    """The result is there after the daemon was restarted between the end and the question."""
    words = ("shell", "run", f"command=sleep {SECONDS}; echo done", "timeout=120", "--background", "-I", "node01.lab")
    job_id = job(crpc, *words)
    wait_until(lambda: states(crpc, job_id) == ["ended"], SECONDS + 20)
    restart(crpc, "node01.lab", "stop")
    found = document(crpc, "jobs", "wait", job_id, "--for", "20s")
    assert (found["exit"], found["jobs"][0]["result"]["data"]["stdout"]) == (0, "done\n")
    took = found["jobs"][0]["ended"] - found["jobs"][0]["began"]
    assert SECONDS - 1 <= took < SECONDS + 10  # the server's clock has whole seconds


def test_a_job_is_cancelled_with_its_family(crpc: Crpc, lab: Layout, tmp_path: Path) -> None:
    """Two seconds after the command its processes are dead: grandchildren, and those that have left its session."""
    words = (f"command={FAMILY.format(folder=tmp_path)}", "--background", "-I", "node02.lab")
    job_id = job(crpc, "shell", "run", *words)
    wait_until(lambda: all(lines(tmp_path / name) for name in MEMBERS), 30)
    pids = [int((tmp_path / name).read_text()) for name in MEMBERS]
    assert all(Path(f"/proc/{pid}").exists() for pid in pids)
    assert [entry["id"] for entry in document(crpc, "jobs", "list", "-I", "node02.lab")["jobs"]][-1] == job_id
    began = time.monotonic()
    cancelled = document(crpc, "jobs", "cancel", job_id)
    assert cancelled["replies"][0]["data"]["became"] == "stopped"
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), 30)
    assert time.monotonic() - began < (2 if CALM else 10)
    wait_until(lambda: states(crpc, job_id) == ["cancelled"], 30)
    assert document(crpc, "jobs", "result", job_id)["jobs"][0]["result"]["reason"] == "cancelled"


def test_a_scheduled_job_starts_in_time_after_a_restart(crpc: Crpc, tmp_path: Path) -> None:
    """The job starts once, within a second of its time by the server's clock, although the daemon was killed."""
    line = f"command=date +%s.%N >> {tmp_path}/ran"
    job_id = job(crpc, "shell", "run", line, "--in", f"{SECONDS + 5:g}s", "-I", "node03.lab")
    assert states(crpc, job_id) == ["scheduled"]
    restart(crpc, "node03.lab", "kill")
    back = time.time()
    wait_until(lambda: states(crpc, job_id) == ["ended"], SECONDS + 60)
    [found], [ran] = entries(crpc, job_id), lines(tmp_path / "ran")
    assert found["began"] >= found["start"] - 1  # the two daemons know the server's clock, of whole seconds, roughly
    assert found["began"] - max(found["start"], back) < 1 + (0 if CALM else 2)
    assert float(ran) - max(found["start"], back) < 1.5 + (0 if CALM else 2)  # the server's clock has whole seconds


def test_a_scheduled_job_that_is_delivered_again_runs_once(
    crpc: Crpc, lab: Layout, environment: dict[str, str], tmp_path: Path
) -> None:
    """Copies of its message arrive before it starts, and after it has ended and the daemon was restarted."""
    words = ("shell", "run", f"command=echo x >> {tmp_path}/ran", "--in", f"{SECONDS + 9:g}s", "-I", "node03.lab")
    job_id = job(crpc, *words)
    assert crpc("lab", "node", "node03.lab", "kill").returncode == 0  # a running daemon has locked the file
    database = sqlite3.connect(lab.node("node03.lab") / "state" / "jobs.sqlite")
    [[body]] = database.execute("SELECT body FROM jobs WHERE id = ?", (job_id,)).fetchall()
    database.close()
    assert crpc("lab", "node", "node03.lab", "start").returncode == 0
    region, endpoint = environment["AWS_DEFAULT_REGION"], environment["AWS_ENDPOINT_URL"]
    queues = boto3.Session("lab", "lab", region_name=region).client("sqs", endpoint_url=endpoint)
    url = queues.get_queue_url(QueueName=names.node_queue(COLLECTIVE, "node03.lab"))["QueueUrl"]

    def deliver() -> None:
        before = duplicates(crpc)
        for _ in range(3):
            queues.send_message(QueueUrl=url, MessageBody=body)
        wait_until(lambda: duplicates(crpc) >= before + 3, 30)

    deliver()
    wait_until(lambda: states(crpc, job_id) == ["ended"], SECONDS + 60)
    deliver()
    restart(crpc, "node03.lab", "stop")
    deliver()
    assert (lines(tmp_path / "ran"), states(crpc, job_id)) == (["x"], ["ended"])


def duplicates(crpc: Crpc) -> int:
    """Return how many duplicates a node has received since it was started."""
    [reply] = document(crpc, "rpcutil", "daemon_stats", "-I", "node03.lab")["replies"]
    return int(reply["data"]["duplicates"])


def test_a_scheduled_job_can_be_cancelled(crpc: Crpc, tmp_path: Path) -> None:
    """A job that is cancelled before its time never begins."""
    job_id = job(
        crpc, "shell", "run", f"command=touch {tmp_path}/ran", "--in", "1h", "--limit", "3", "--limit-seed", "1"
    )
    cancelled = document(crpc, "jobs", "cancel", job_id)
    assert [reply["data"]["became"] for reply in cancelled["replies"]] == ["cancelled"] * 3
    assert states(crpc, job_id) == ["cancelled"] * 3


def test_ctrl_c_stops_what_runs(environment: dict[str, str], tmp_path: Path) -> None:
    """With --cancel-on-interrupt the processes of the action are killed, and a line says on how many nodes."""
    words = [
        "shell",
        "run",
        f"command=echo $$ > {tmp_path}/pid; sleep 300",
        "-I",
        "node04.lab",
        "--cancel-on-interrupt",
    ]
    with subprocess.Popen(
        [BIN / "crpc", *words],
        env=environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text() != "", 30)
        process.send_signal(signal.SIGINT)
        _, printed = process.communicate(timeout=60)
    assert (process.returncode, printed.splitlines()[-1]) == (4, "crpc: cancel: stopped on 1 node")
    pid = int((tmp_path / "pid").read_text())
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), 30)


# -- emergency


def test_a_frozen_node_only_reads(crpc: Crpc, tmp_path: Path) -> None:
    """A frozen node refuses actions at once and after a restart, with who froze it and why, until it is thawed."""
    run = ("shell", "run", f"command=echo x >> {tmp_path}/ran", "-I", "node04.lab")
    assert crpc("freeze", "--reason", "incident 4711", "-I", "node04.lab").returncode == 0
    refused = document(crpc, *run)
    assert [reply["reason"] for reply in refused["replies"]] == ["frozen"]
    assert "incident 4711" in refused["replies"][0]["statusmsg"]
    assert crpc("lab", "node", "node04.lab", "kill").returncode == 0
    assert crpc("lab", "node", "node04.lab", "start").returncode == 0
    assert [reply["reason"] for reply in document(crpc, *run)["replies"]] == ["frozen"]
    assert document(crpc, "control", "status", "-I", "node04.lab")["replies"][0]["data"]["frozen"]["reason"]
    assert crpc("thaw", "-I", "node04.lab").returncode == 0
    assert document(crpc, *run)["exit"] == 0
    assert (tmp_path / "ran").read_text() == "x\n"


def test_revoke_does_not_touch_what_has_begun(crpc: Crpc, tmp_path: Path) -> None:
    """A job that waits for its time is revoked; one that runs goes on, and its node says so."""
    target = ("-I", "node05.lab")
    waiting = job(crpc, "shell", "run", f"command=touch {tmp_path}/no", "--in", "1h", *target)
    running = job(crpc, "shell", "run", f"command=touch {tmp_path}/began; sleep 20", "--background", *target)
    wait_until((tmp_path / "began").exists, 30)
    assert document(crpc, "revoke", waiting, *target)["replies"][0]["data"]["became"] == "cancelled"
    refused = document(crpc, "revoke", running, *target)["replies"][0]
    assert (refused["statuscode"], refused["statusmsg"].startswith("the action has begun")) == (1, True)
    assert (states(crpc, waiting), states(crpc, running)) == (["cancelled"], ["running"])
