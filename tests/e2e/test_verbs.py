"""Tests of the extra verbs of agents in the lab: the Nagios check, the shell command line, and followed jobs."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from pathlib import Path

import pytest
from support.crpc_process import BIN, NODES, Crpc
from support.json_documents import check_document
from support.waiting import wait_until


def test_a_check_on_many_nodes_is_one_line(crpc: Crpc) -> None:
    """`crpc nrpe check` prints one line and exits with the worst state; the last lab node is CRITICAL."""
    counts = (
        r"check_disk: OK: 4 WARNING: 0 CRITICAL: 1 UNKNOWN: 0\|total=5 ok=4 warn=0 crit=1 unknown=0 checktime=[0-9.]+\n"
    )
    done = crpc("nrpe", "check", "check_disk")
    assert (done.returncode, done.stderr) == (2, "")
    assert re.fullmatch(counts, done.stdout)
    assert crpc("nrpe", "check", "check_disk", "-I", "node[01-02].lab").returncode == 0
    assert crpc("nrpe", "check", "no_such_check").returncode == 3
    document = json.loads(crpc("nrpe", "check", "check_disk", "-o", "json").stdout)
    assert check_document(document) == "nrpe-check"
    assert (document["state"], document["counts"]["critical"], document["unknown"]) == ("CRITICAL", 1, [])


@pytest.mark.parametrize(
    ("words", "env", "message"),
    [
        (("check_disk", "-F", "role=mail"), {}, "check_disk: UNKNOWN: no node matches the filter (5 nodes alive)\n"),
        (("check_disk", "-t", "abc"), {}, "check_disk: UNKNOWN: -t/--timeout: "),
        (("check_disk", "-F", "a|b"), {}, "check_disk: UNKNOWN: -F 'a¦b': "),
        ((), {}, "nrpe check: UNKNOWN: the following arguments are required: NAME"),
        (("check]disk",), {}, "check]disk: UNKNOWN: nrpe runcommand: input 'command': "),
        (
            ("check_disk",),
            {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"},
            "check_disk: UNKNOWN: lab_",
        ),
    ],
)
def test_an_error_before_the_check_is_unknown(
    crpc: Crpc, words: tuple[str, ...], env: dict[str, str], message: str
) -> None:
    """Errors are printed on standard output as UNKNOWN, exit code 3: Nagios understands nothing else."""
    done = crpc("nrpe", "check", *words, **env)
    assert done.returncode == 3
    assert done.stdout.startswith(message)


def test_a_shell_command_line_needs_no_key(crpc: Crpc) -> None:
    """Nodes with equal output are shown once under their folded names; in JSON each node has its own reply."""
    done = crpc("shell", "run", "echo hello", "-F", "environment=production")
    assert done.returncode == 0
    assert done.stdout.startswith("node[01,03,05].lab (3)  ")
    assert done.stdout.count("hello") == 1
    assert crpc("shell", "run", "echo hello", "--json", "--yes").stdout.count("hello") == len(NODES)


def test_inputs_of_a_shell_command_can_be_options(crpc: Crpc) -> None:
    """As with other actions, `--cwd /` is `cwd=/`."""
    done = crpc("shell", "run", "pwd", "--cwd", "/", "-I", "node01.lab", "--jmespath", "replies[0].data.stdout")
    assert (done.returncode, done.stdout.strip()) == (0, "/")


def test_jobs_are_followed_until_they_end(crpc: Crpc) -> None:
    """With --tail each line has the name of its node, stderr stays on standard error, and failed jobs are named."""
    done = crpc(
        "shell", "run", "echo one; echo oops >&2; sleep 1; printf two; exit 3", "-I", "node[01-02].lab", "--tail"
    )
    assert done.returncode == 2
    assert sorted(done.stdout.splitlines()) == [
        "node01.lab: one",
        "node01.lab: two",
        "node02.lab: one",
        "node02.lab: two",
    ]
    assert sorted(done.stderr.splitlines()) == [
        "crpc: node[01-02].lab: exited with code 3",
        "node01.lab: oops",
        "node02.lab: oops",
    ]


def test_ctrl_c_kills_the_jobs(environment: dict[str, str], tmp_path: Path) -> None:
    """Ctrl-C kills the jobs on their nodes and shows the rest of their output, exit code 4."""
    line = f"trap 'echo bye; exit 9' TERM; echo $$ >> {tmp_path}/pids; echo hi; while :; do sleep 0.1; done"
    command = [str(BIN / "crpc"), "shell", "run", line, "-I", "node[01-02].lab", "--tail"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as caller:
        assert caller.stdout is not None
        assert sorted(caller.stdout.readline() for _ in range(2)) == ["node01.lab: hi\n", "node02.lab: hi\n"]
        caller.send_signal(signal.SIGINT)
        out, err = caller.communicate(timeout=60)
    assert caller.returncode == 4
    assert sorted(out.splitlines()) == ["node01.lab: bye", "node02.lab: bye"]
    assert err.splitlines()[0] == "crpc: interrupted: killing the jobs (press Ctrl-C again to leave without waiting)"
    pids = (tmp_path / "pids").read_text().split()
    assert len(pids) == 2
    wait_until(lambda: not any(Path("/proc", pid).exists() for pid in pids), 30)
