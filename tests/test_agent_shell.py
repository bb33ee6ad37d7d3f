"""The shell agent, with the machine's own shell."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.agent_cases import load, perform

from collective.agent import Aborted
from collective.agents import _jobs, shell

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


def within(seconds: float = 20.0) -> float:
    return time.monotonic() + seconds


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Give the jobs a folder, and end what a test has left running."""
    folder = tmp_path / "jobs"
    yield {"jobs": str(folder)}
    for job in _jobs.every(folder):
        job.kill("KILL")


@pytest.fixture(autouse=True)
def _signals_as_a_worker_has_them() -> Iterator[None]:
    """Tests that a shell's `&` has started ignore SIGINT, and so would their jobs."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def until_ended(handle: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Ask until the job is over, as a client does."""
    deadline = within()
    while time.monotonic() < deadline:
        state = shell.status(handle, settings=settings)
        if state["status"] in ("stopped", "failed"):
            return dict(state)
    raise AssertionError(f"still {state}")


@pytest.mark.parametrize("case", load("shell"), ids=lambda case: case["id"])
def test_case(case: dict[str, Any], tmp_path: Path) -> None:
    """What tests/cases/shell describes is what comes back."""
    perform(shell, {"settings": {"jobs": str(tmp_path / "jobs")}, **case})


@as_root
def test_a_user_is_really_become(monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]) -> None:
    """Who runs it, their groups and their environment are the user's: nothing of the node's is passed on."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    line = "id -un; id -Gn; echo $LOGNAME$AWS_SECRET_ACCESS_KEY"
    wanted = "nobody\nnogroup\nnobody\n"
    assert shell.run(line, user="nobody", deadline=within())["stdout"] == wanted
    assert shell.script(line, user="nobody", deadline=within())["stdout"] == wanted
    handle = shell.start(line, user="nobody", settings=settings)["handle"]
    assert until_ended(handle, settings)["stdout"] == wanted


def test_only_root_becomes_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that is not root refuses another user, and says why."""
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    with pytest.raises(Aborted, match=r"^cannot run as user 'daemon': this node runs as 'nobody', not root"):
        shell.run("id", user="daemon", deadline=within())


def test_a_job_goes_on_and_is_read_bit_by_bit(settings: dict[str, Any]) -> None:
    """A started command's output is read from offsets on, its exit code is kept, and it is listed."""
    handle = shell.start("echo first; echo oops >&2; exit 5", settings=settings)["handle"]
    ended = until_ended(handle, settings)
    assert ended == {
        "status": "failed",
        "stdout": "first\n",
        "stderr": "oops\n",
        "exitcode": 5,
        "stdout_offset": 6,
        "stderr_offset": 5,
    }
    assert shell.status(handle, 6, 5, settings=settings)["stdout"] == ""
    listed = shell.list(settings=settings)["jobs"][handle]
    assert (listed["status"], listed["user"]) == ("failed", None)


def test_half_a_character_waits_for_the_rest(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer never ends in the middle of a character."""
    monkeypatch.setattr(_jobs, "CHUNK", 2)
    handle = shell.start("printf 'aé'", settings=settings)["handle"]
    until_ended(handle, settings)
    first = shell.status(handle, settings=settings)
    assert (first["stdout"], first["stdout_offset"]) == ("a", 1)
    assert shell.status(handle, 1, settings=settings)["stdout"] == "é"


@pytest.mark.parametrize(("name", "exitcode"), [("TERM", 143), ("INT", 130), ("KILL", 137)])
def test_a_job_is_killed_with_all_it_started(name: str, exitcode: int, settings: dict[str, Any]) -> None:
    """A signal reaches the command's children, and the exit code says which it was."""
    # Said by the child: a shell that is just forking one can lose a SIGINT.
    handle = shell.start("sh -c 'echo ready; exec sleep 300'; exit $?", settings=settings)["handle"]
    while not shell.status(handle, settings=settings)["stdout"]:
        pass
    assert shell.status(handle, settings=settings)["status"] == "running"
    shell.kill(handle, name, settings=settings)
    assert until_ended(handle, settings)["exitcode"] == exitcode
    assert shell.kill(handle, name, settings=settings) == {"status": "failed"}


def test_clean_keeps_what_runs_and_what_is_young(settings: dict[str, Any]) -> None:
    """Only jobs that have ended, and are old enough, are forgotten."""
    ended = shell.start("true", settings=settings)["handle"]
    runs = shell.start("sleep 300", settings=settings)["handle"]
    until_ended(ended, settings)
    assert shell.clean(3600, settings=settings) == {"removed": []}
    assert shell.clean(0, settings=settings) == {"removed": [ended]}
    assert set(shell.list(settings=settings)["jobs"]) == {runs}
    with pytest.raises(Aborted, match=f"^job '{ended}' does not exist on this node"):
        shell.status(ended, settings=settings)


def test_a_later_process_with_the_number_is_not_the_job(settings: dict[str, Any]) -> None:
    """After a reboot the number belongs to somebody else: the job has failed, and no signal is sent."""
    handle = shell.start("sleep 300", settings=settings)["handle"]
    job = _jobs.find(Path(settings["jobs"]), handle)
    stranger = _jobs.ShellJob(job.folder, job.command, None, job.started, os.getpid(), 1)
    assert stranger.status == "failed"
    stranger.kill("TERM")
    assert job.status == "running"


def test_a_folder_that_others_may_enter_is_refused(settings: dict[str, Any]) -> None:
    """Jobs are kept in a private folder only."""
    folder = Path(settings["jobs"])
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    with pytest.raises(Aborted, match="owned by the node's user with mode 0700"):
        shell.start("true", settings=settings)
    folder.chmod(0o700)


@pytest.mark.parametrize("handle", ["../jobs", "/etc", "", "0" * 31 + "g", "0" * 32 + "\n"])
def test_a_handle_never_leaves_the_folder(handle: str, settings: dict[str, Any]) -> None:
    """Whatever is asked for, only a job's own folder is looked into."""
    with pytest.raises(Aborted, match=r"(?s)^job '.*' does not exist"):
        shell.status(handle, settings=settings)
