"""Rollouts over real daemons: limits, concurrency, batches, max-fail, Ctrl-C, and the confirmation."""

from __future__ import annotations

import fcntl
import json
import re
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.crpc_process import BIN, NODES, Crpc, on_a_terminal, suspended
from support.waiting import wait_until

from collective.lab.layout import Layout

SPAN = (
    "command=date +%s.%N; sleep 0.6; date +%s.%N"  # prints the start and end of the action; all nodes share one clock
)


def document(crpc: Crpc, *words: str, **env: str) -> dict[str, Any]:
    """Run crpc with --json; return its document, with the exit code as `exit`."""
    done = crpc(*words, "--json", **env)
    assert done.stdout, done.stderr
    return {**json.loads(done.stdout), "exit": done.returncode, "stderr": done.stderr}


def spans(results: dict[str, Any]) -> list[tuple[float, float]]:
    """Return the start and end of each action, from its output, in the order of the starts."""
    stdout = [reply["data"]["stdout"].split() for reply in results["replies"]]
    return sorted((float(began), float(ended)) for began, ended in stdout)


def most_at_once(times: list[tuple[float, float]]) -> int:
    return max(sum(began <= moment < ended for began, ended in times) for moment, _ in times)


def test_a_limit_reaches_some_of_the_nodes(crpc: Crpc) -> None:
    """20 % of five nodes is one node, and so is -1; the same seed selects the same node."""
    assert len(document(crpc, "rpcutil", "ping", "--limit", "20%")["replies"]) == 1
    assert len(document(crpc, "rpcutil", "ping", "-1")["replies"]) == 1
    chosen = [
        sorted(
            reply["sender"]
            for reply in document(crpc, "rpcutil", "ping", "--limit", "3", "--limit-seed", "7")["replies"]
        )
        for _ in range(2)
    ]
    assert len(chosen[0]) == 3
    assert chosen[0] == chosen[1]


def test_concurrency_limits_the_working_nodes(crpc: Crpc) -> None:
    """By the actions' own times, two actions overlap but never more, and all nodes are reached."""
    results = document(crpc, "shell", "run", SPAN, "--yes", "--concurrency", "2")
    assert (results["exit"], results["outcomes"]["ok"], most_at_once(spans(results))) == (0, 5, 2)


def test_batches_follow_each_other_with_a_pause(crpc: Crpc) -> None:
    """The third action starts after the pause that follows the second, and the fifth after the fourth."""
    times = spans(document(crpc, "shell", "run", SPAN, "--yes", "--batch", "40%", "--batch-sleep", "1"))
    assert len(times) == 5
    assert times[2][0] >= max(times[0][1], times[1][1]) + 1
    assert times[4][0] >= max(times[2][1], times[3][1]) + 1


@pytest.mark.parametrize(("options", "reached"), [((), 1), (("--concurrency", "2"), 2), (("--batch", "3"), 3)])
def test_max_fail_stops_a_rollout(crpc: Crpc, tmp_path: Path, options: tuple[str, ...], reached: int) -> None:
    """After one failure the other nodes are skipped and run nothing; the exit code is 4, and a line has the reason."""
    results = document(
        crpc, "shell", "run", f"command=echo x >> {tmp_path}/ran; sleep 1; exit 1", "--yes", "--max-fail", "1", *options
    )
    assert results["exit"] == 4
    assert (results["outcomes"]["failed"], results["outcomes"]["skipped"]) == (reached, 5 - reached)
    assert sorted([*results["skipped"], *(reply["sender"] for reply in results["replies"])]) == NODES
    assert (tmp_path / "ran").read_text().count("x") == reached
    assert f"max-fail is 1 ({5 - reached} node" in results["stderr"]
    assert results["stderr"].count("\n") == 1


def test_skipped_nodes_are_shown_and_can_be_called_next(crpc: Crpc) -> None:
    """Skipped nodes are shown, folded, after the failed ones."""
    done = crpc("shell", "run", "command=false", "--max-fail", "1", "--yes")
    assert re.search(r"Not sent to: 4 nodes\n\n +node\[02-05\]\.lab\n", done.stdout), done.stdout


def test_a_document_names_every_request_of_a_rollout(crpc: Crpc) -> None:
    """Each wave has its own request ID, which is also in the audit log of its nodes."""
    results = document(crpc, "shell", "run", "command=true", "--yes", "--batch", "2")
    assert (results["request_id"], len(set(results["request_ids"]))) == (results["request_ids"][0], 3)
    assert results["stopped"] is None


def test_quiet_still_shows_silent_nodes(crpc: Crpc) -> None:
    """Silent nodes are a result; summaries and statistics are omitted."""
    done = crpc("rpcutil", "daemon_stats", "-I", "node99.lab", "-q")
    assert (done.returncode, done.stdout) == (3, "No response from: 1 node\n\n   node99.lab\n\n")


def test_a_hanging_node_makes_room(crpc: Crpc, lab: Layout) -> None:
    """A node that hangs is found by its unread queue, long before the timeout of 180 s, and others take its place."""
    with suspended(lab, "node02.lab"):
        results = document(crpc, "shell", "run", "command=true", "--yes", "--concurrency", "1")
    assert (results["exit"], results["silent"], results["outcomes"]["ok"]) == (3, ["node02.lab"], 4)
    assert results["timing_ms"]["total"] < 60_000


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_ctrl_c_stops_a_rollout_and_shows_the_results(
    environment: dict[str, str], lab: Layout, tmp_path: Path, form: tuple[str, ...]
) -> None:
    """Ctrl-C exits with 4 at once and names the replied, working and skipped nodes; skipped nodes run nothing."""
    words = ["shell", "run", f"command=echo x >> {tmp_path}/ran; test $(wc -l < {tmp_path}/ran) = 1 || sleep 60"]
    with caller(environment, *words, "--concurrency", "1", "--yes", *form) as process:
        wait_until(lambda: (tmp_path / "ran").exists() and (tmp_path / "ran").read_text() == "x\nx\n", 30)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert time.monotonic() - began < 10
    assert process.returncode == 4
    stopped, running = err.splitlines()
    assert stopped == "crpc: stopped: interrupted (3 nodes not sent to, 1 node had not answered yet)"
    assert re.fullmatch(r"crpc: still running on 1 node, for at most \d+ s", running)
    if form:
        assert json.loads(out)["stopped"] == "interrupted"
        assert json.loads(out)["outcomes"] | {"rejected": 0} == {
            "ok": 1, "failed": 0, "silent": 1, "skipped": 3, "unexpected": 0, "rejected": 0
        }  # fmt: skip
    else:
        assert re.search(
            r"No response yet from: 1 node\n\n +node02\.lab\n\n.*Not sent to: 3 nodes\n\n +node\[03-05\]", out, re.S
        )
    assert (tmp_path / "ran").read_text() == "x\nx\n"


def test_a_second_ctrl_c_exits_at_once(environment: dict[str, str], tmp_path: Path) -> None:
    """The second Ctrl-C exits with 4 even when the first one waits, here for a reader that does not read."""
    ran = tmp_path / "ran"
    line = f"head -c 50000 /dev/zero | tr '\\0' y; echo x >> {ran}; test $(wc -l < {ran}) -lt 5 || sleep 60"
    with caller(environment, "shell", "run", f"command={line}", "--concurrency", "1", "--yes", "--json") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        wait_until(lambda: ran.exists() and ran.read_text() == 5 * "x\n", 30)
        process.send_signal(signal.SIGINT)
        pipe = process.stdout.fileno()
        wait_until(lambda: _unread(pipe) == fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ), 30)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 4
        assert process.stderr.read() == "crpc: interrupted\n"


def _unread(pipe: int) -> int:
    """Return the number of bytes in a pipe."""
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


@contextmanager
def caller(environment: dict[str, str], *words: str) -> Iterator[subprocess.Popen[str]]:
    """Run crpc in the background."""
    with subprocess.Popen(
        [BIN / "crpc", *words],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell starts background processes with SIGINT ignored, which child processes inherit.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        try:
            yield process
        finally:
            process.kill()


# -- confirmation


def test_on_a_terminal_confirmation_is_required(environment: dict[str, str], tmp_path: Path) -> None:
    """For a non-idempotent action on all nodes, no answer or a no sends nothing and exits 4, and a yes continues."""
    run = ("shell", "run", f"command=echo x >> {tmp_path}/ran")
    for answer in ("n\n", "\n", "\x04"):
        code, shown = on_a_terminal(environment, answer, *run)
        assert f"shell run 'echo x >> {tmp_path}/ran"[:50] in shown
        assert "on 5 nodes (node[01-05].lab)? [y/N]" in shown
        assert (code, "crpc: 5 nodes matched: not confirmed: nothing was sent" in shown) == (4, True)
    assert not (tmp_path / "ran").exists()
    code, shown = on_a_terminal(environment, "y\n", *run)
    assert (code, "5 / 5" in shown) == (0, True), shown
    assert (tmp_path / "ran").read_text() == "x\n" * 5


@pytest.mark.parametrize(
    "words",
    [
        ("shell", "run", "command=true", "--yes"),
        ("shell", "run", "command=true", "-F", "role=web"),
        ("shell", "run", "command=true", "--limit", "2"),
        ("rpcutil", "ping"),
    ],
)
def test_confirmation_is_not_required(environment: dict[str, str], words: tuple[str, ...]) -> None:
    """With --yes, a filter, a limit or an idempotent action there is no question."""
    code, shown = on_a_terminal(environment, "", *words)
    assert code == 0, shown
    assert "[y/N]" not in shown


def test_in_scripts_max_targets_applies(crpc: Crpc, lab: Layout, tmp_path: Path) -> None:
    """More nodes are one line with both numbers and a hint, exit 4, and nothing is sent; --yes does not change it."""
    text = (lab.folder / "client.yaml").read_text().replace("key: key", f"key: {lab.folder}/key")
    (tmp_path / "client.yaml").write_text(f"{text}\nmax_targets: 3\n")
    environment = {"COLLECTIVE_CONFIG": str(tmp_path)}
    run = ("shell", "run", f"command=echo x >> {tmp_path}/ran")
    for more in ((), ("--yes",)):
        done = crpc(*run, *more, **environment)
        assert (done.returncode, done.stdout) == (4, "")
        assert done.stderr == (
            "crpc: 5 nodes matched: max_targets allows 3: narrow the targets, or raise it in client.yaml:"
            " nothing was sent\n"
        )
    assert not (tmp_path / "ran").exists()
    assert crpc(*run, "--limit", "3", **environment).returncode == 0
    assert crpc("rpcutil", "ping", **environment).returncode == 0


# -- without waiting


def test_without_results_the_id_is_printed(crpc: Crpc, lab: Layout, tmp_path: Path) -> None:
    """The request ID is printed at once; the action runs with it, and the next call is not disturbed."""
    line = f"until [ -e {tmp_path}/go ]; do sleep 0.1; done; echo x > {tmp_path}/ran"
    done = crpc("shell", "run", f"command={line}", "-I", "node01.lab", "--no-results")
    (tmp_path / "go").touch()
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"[0-9a-f]{32}\n", done.stdout)
    wait_until((tmp_path / "ran").exists, 30)
    assert done.stdout.strip() in (lab.node("node01.lab") / "audit.jsonl").read_text()
    assert document(crpc, "rpcutil", "ping")["outcomes"]["ok"] == 5


def test_without_results_unknown_nodes_are_still_reported(crpc: Crpc) -> None:
    """A node without a queue is known at once."""
    done = crpc("rpcutil", "ping", "-I", "node99.lab", "--no-results")
    assert (done.returncode, "node99.lab: there is no such node" in done.stderr) == (3, True)
