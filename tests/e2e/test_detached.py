"""Rollouts that go on in the background: calls, plans and retries, with notifications."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from support.crpc_process import Crpc
from support.receivers import webhook
from support.rollouts import lines, listed, printed
from support.waiting import wait_until

WAVES = ("--waves", "1,rest", "--yes", "--detach", "-o", "json")


def ended(crpc: Crpc, run: str) -> None:
    """Wait until a rollout is complete."""
    wait_until(lambda: [one["state"] for one in listed(crpc) if one["run"] == run] == ["complete"], 60)


def test_a_detached_rollout_goes_on_without_its_terminal(crpc: Crpc, tmp_path: Path) -> None:
    """The command returns the ID at once, the process in the background ends the run, and its key signs it."""
    ran = tmp_path / "ran"
    found = printed(crpc("shell", "run", f"command=echo x >> {ran}; sleep 1", *WAVES))
    assert len(lines(ran)) < 5
    ended(crpc, found["run"])
    shown = printed(crpc("run", "show", found["run"], "-o", "json"))
    assert (shown["outcomes"]["ok"], len(lines(ran))) == (5, 5)
    assert printed(crpc("show", "last", "-o", "json"))["request_id"] == found["run"]
    assert next(one["shared"] for one in listed(crpc)) is True


def test_a_detached_rollout_that_is_ended_can_be_taken_at_once(crpc: Crpc, tmp_path: Path) -> None:
    """SIGTERM, as at a shutdown, ends the lease; another process goes on with it, and reports the end."""
    ran = tmp_path / "ran"
    words = ("shell", "run", f"command=echo x >> {ran}; sleep 1", "--waves", "1", "--yes", "--detach")
    found = printed(crpc(*words, "-o", "json"))
    wait_until(lambda: len(lines(ran)) >= 2, 60)
    os.kill(found["process"], signal.SIGTERM)
    wait_until(lambda: listed(crpc)[0]["state"] == "unfinished", 30)
    with webhook() as page:
        done = printed(crpc("run", "take", found["run"], "-o", "json", "--notify", page.url))
        assert page.next()["title"] == "shell run on 5 nodes of lab: OK"
    assert (done["outcomes"]["ok"], len(lines(ran))) == (5, 5)


def test_the_end_of_a_detached_rollout_is_reported(crpc: Crpc, tmp_path: Path) -> None:
    """The process in the background notifies, with the template; no other user can see the URL in its command line."""
    (tmp_path / "text.j2").write_text("{{ event }}: {{ failed | length }} failed\n")
    with webhook() as page:
        notify = ("--notify", page.url, "--notify-template", str(tmp_path / "text.j2"))
        found = printed(crpc("shell", "run", f"command=sleep 1; mkdir {tmp_path}/once", *WAVES, *notify))
        command = Path(f"/proc/{found['process']}/cmdline").read_text()
        assert ("--in-background" in command, page.url in command) == (True, False)
        assert page.next()["title"] == "fail: 4 failed"


def test_a_plan_and_a_retry_go_on_in_the_background(crpc: Crpc, tmp_path: Path) -> None:
    """A saved plan is applied there, and the nodes that failed are asked again there, as a run of its own."""
    plan, ran = tmp_path / "plan.json", tmp_path / "ran"
    command = f"command=echo x >> {ran}; test -e {tmp_path}/fixed"
    saved = crpc("shell", "run", command, "--waves", "1,rest", "--max-fail", "1", "--save-plan", str(plan))
    assert saved.returncode == 0, saved.stderr
    first = printed(crpc("apply", str(plan), "--yes", "--detach", "-o", "json"))
    ended(crpc, first["run"])
    assert len(lines(ran)) == 1
    (tmp_path / "fixed").touch()
    second = printed(crpc("retry", first["run"], "--yes", "--detach", "-o", "json"))
    ended(crpc, second["run"])
    assert len(lines(ran)) == 6
    runs = {one["run"]: one for one in printed(crpc("runs", "-o", "json"))["runs"]}
    assert runs[second["run"]]["retry_of"] == first["run"]


def test_a_rollout_that_needs_its_terminal_is_not_detached(crpc: Crpc, tmp_path: Path) -> None:
    """Nothing is sent, and nothing is recorded."""
    plan, before = tmp_path / "plan.json", listed(crpc)
    saved = crpc("rpcutil", "ping", "--waves", "1,rest", "--gate", "ask", "--save-plan", str(plan))
    assert saved.returncode == 0, saved.stderr
    for words, message in (
        (("apply", str(plan)), "--detach: not allowed with --gate ask, which needs a terminal"),
        (
            ("rpcutil", "ping", "--waves", "1,rest", "--gate", "ask"),
            "--detach: not allowed with --gate ask, which needs a terminal",
        ),
        (("rpcutil", "ping", "--watch", "5s"), "--detach: not allowed with --watch"),
        (("retry", "--no-results"), "--detach: not allowed with --no-results"),
        (("apply", str(plan), "--no-save"), "--detach: not allowed with --no-save"),
    ):
        done = crpc(*words, "--detach")
        assert (done.returncode, done.stdout, message in done.stderr) == (64, "", True), done.stderr
    assert listed(crpc) == before
