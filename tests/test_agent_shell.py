"""The shell agent with the machine's own shell."""

from __future__ import annotations

import os
import pwd
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.agent_cases import files, load, perform

from collective.agent import Aborted
from collective.agents import _jobs, _scripts, shell
from collective.processes import runs

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change the user")


def within(seconds: float = 20.0) -> float:
    return time.monotonic() + seconds


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Return settings with a folder for jobs; at the end kill what a test left running."""
    folder = tmp_path / "jobs"
    yield {"jobs": str(folder)}
    for job in _jobs.every(folder):
        job.kill("KILL")


@pytest.fixture(autouse=True)
def _signals_as_a_worker_has_them() -> Iterator[None]:
    """Reset SIGINT as in a worker: tests started with a shell's `&` ignore it, and their jobs would too."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def until_ended(handle: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Query the job until it has ended, as a client does."""
    deadline = within()
    while time.monotonic() < deadline:
        state = shell.status(handle, settings=settings)
        if state["status"] in ("stopped", "failed"):
            return dict(state)
    raise AssertionError(f"still {state}")


@pytest.mark.parametrize("case", load("shell"), ids=lambda case: case["id"])
def test_case(case: dict[str, Any], tmp_path: Path) -> None:
    """Each case in tests/cases/shell returns the expected reply."""
    perform(shell, {"settings": {"jobs": str(tmp_path / "jobs")}, **case})
    assert not case.get("dry_run") or files(tmp_path) == {}


@as_root
def test_commands_run_as_the_given_user(monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]) -> None:
    """User, groups and environment are those of the user; nothing of the node's environment is passed on."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    line = "id -un; id -Gn; echo $LOGNAME$AWS_SECRET_ACCESS_KEY"
    wanted = "nobody\nnogroup\nnobody\n"
    assert shell.run(line, user="nobody", deadline=within())["stdout"] == wanted
    assert shell.script(line, user="nobody", deadline=within())["stdout"] == wanted
    handle = shell.start(line, user="nobody", settings=settings)["handle"]
    assert until_ended(handle, settings)["stdout"] == wanted


def test_only_root_can_change_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that does not run as root refuses another user and gives the reason."""
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    with pytest.raises(Aborted, match=r"^cannot run as user 'daemon': this node runs as 'nobody', not root"):
        shell.run("id", user="daemon", deadline=within())


def test_output_of_a_job_is_read_incrementally(settings: dict[str, Any]) -> None:
    """Output is returned from the offsets on, the exit code is kept, and the job is listed."""
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


def test_an_incomplete_character_is_returned_later(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A reply never ends in the middle of a character."""
    monkeypatch.setattr(_jobs, "CHUNK", 2)
    handle = shell.start("printf 'aé'", settings=settings)["handle"]
    until_ended(handle, settings)
    first = shell.status(handle, settings=settings)
    assert (first["stdout"], first["stdout_offset"]) == ("a", 1)
    assert shell.status(handle, 1, settings=settings)["stdout"] == "é"


@pytest.mark.parametrize(("name", "exitcode"), [("TERM", 143), ("INT", 130), ("KILL", 137)])
def test_kill_reaches_all_processes_of_a_job(name: str, exitcode: int, settings: dict[str, Any]) -> None:
    """The signal reaches child processes, and the exit code shows which signal it was."""
    # Printed by the child, because a shell that is forking can lose a SIGINT.
    handle = shell.start("sh -c 'echo ready; exec sleep 300'; exit $?", settings=settings)["handle"]
    while not shell.status(handle, settings=settings)["stdout"]:
        pass
    assert shell.status(handle, settings=settings)["status"] == "running"
    shell.kill(handle, name, settings=settings)
    assert until_ended(handle, settings)["exitcode"] == exitcode
    assert shell.kill(handle, name, settings=settings) == {"status": "failed"}


def test_kill_reaches_grandchildren_in_sessions_of_their_own(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    """A grandchild that has left the process group gets the signal too, because its environment names the request."""
    monkeypatch.setenv("COLLECTIVE_REQUEST", "token-of-this-test")
    handle = shell.start("sh -c 'setsid sleep 86398 & echo $!; exec sleep 300'", settings=settings)["handle"]
    while not (text := shell.status(handle, settings=settings)["stdout"]):
        pass
    shell.kill(handle, "KILL", settings=settings)
    until_ended(handle, settings)
    deadline = within()
    while runs(int(text)):
        assert time.monotonic() < deadline


def test_clean_keeps_running_and_recent_jobs(settings: dict[str, Any]) -> None:
    """Only finished jobs of the given age are removed."""
    ended = shell.start("true", settings=settings)["handle"]
    runs = shell.start("sleep 300", settings=settings)["handle"]
    until_ended(ended, settings)
    assert shell.clean(3600, settings=settings) == {"removed": []}
    assert shell.clean(0, settings=settings) == {"removed": [ended]}
    assert set(shell.list(settings=settings)["jobs"]) == {runs}
    with pytest.raises(Aborted, match=f"^job '{ended}' does not exist on this node"):
        shell.status(ended, settings=settings)


def test_a_reused_process_number_is_not_the_job(settings: dict[str, Any]) -> None:
    """After a reboot another process can have the number: the job has failed, and no signal is sent."""
    handle = shell.start("sleep 300", settings=settings)["handle"]
    job = _jobs.find(Path(settings["jobs"]), handle)
    other = _jobs.ShellJob(job.folder, job.command, None, job.started, os.getpid(), 1)
    assert other.status == "failed"
    other.kill("TERM")
    assert job.status == "running"


def test_a_command_that_ends_at_once_is_not_running(settings: dict[str, Any]) -> None:
    """A command may end before its start time is read; without a readable exit code it has failed."""
    handle = shell.start("true", settings=settings)["handle"]
    until_ended(handle, settings)
    job = _jobs.find(Path(settings["jobs"]), handle)._replace(born=None)
    assert job.status == "stopped"
    (job.folder / "exitcode").write_text("?")
    assert job.status == "failed"


def test_a_folder_accessible_to_others_is_refused(settings: dict[str, Any]) -> None:
    """Jobs are only kept in a private folder."""
    folder = Path(settings["jobs"])
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    with pytest.raises(Aborted, match="owned by the node's user with mode 0700"):
        shell.start("true", settings=settings)
    folder.chmod(0o700)


@pytest.mark.parametrize("handle", ["../jobs", "/etc", "", "0" * 31 + "g", "0" * 32 + "\n"])
def test_a_handle_cannot_point_outside_the_folder(handle: str, settings: dict[str, Any]) -> None:
    """Whatever the handle is, only the folder of a job is accessed."""
    with pytest.raises(Aborted, match=r"(?s)^job '.*' does not exist"):
        shell.status(handle, settings=settings)


@pytest.mark.parametrize("offset", [2**63, 10**30, 7, 3.0])
def test_an_odd_offset_is_not_a_crash(offset: Any, settings: dict[str, Any]) -> None:
    """An offset beyond the end gives no output and the end; JSON Schema accepts 3.0 as an integer."""
    handle = shell.start("echo hello", settings=settings)["handle"]
    until_ended(handle, settings)
    state = shell.status(handle, offset, settings=settings)
    assert (state["stdout"], state["stdout_offset"]) == ("lo\n" if offset == 3.0 else "", 6)


def test_what_a_killed_node_left_is_listed_and_removed(settings: dict[str, Any]) -> None:
    """A job whose node was killed while starting it has failed after a minute, and is removed like others."""
    old, new, torn = (Path(settings["jobs"]) / (digit * 32) for digit in "abc")
    for folder in (old, new, torn):
        folder.mkdir(mode=0o700, parents=True)
    old.parent.chmod(0o700)
    (torn / "job.json").write_text('{"command": "x')
    for folder in (old, torn):
        os.utime(folder, (0, 0))
    states = {handle: job["status"] for handle, job in shell.list(settings=settings)["jobs"].items()}
    assert states == {old.name: "failed", new.name: "starting", torn.name: "failed"}
    assert shell.status(old.name, settings=settings)["stdout"] == ""
    assert sorted(shell.clean(0, settings=settings)["removed"]) == [old.name, torn.name]


def test_scripts_of_killed_actions_are_removed(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next script, job or clean removes a script that was left; one that runs is kept."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(_scripts, "_UNLOCKED", -1.0)
    left = tmp_path / f"{_scripts.PREFIX}left"
    calls: list[Any] = [
        lambda: shell.script("true", deadline=within()),
        lambda: shell.clean(settings=settings),
        lambda: shell.start("true", settings=settings),
    ]
    with _scripts.stored("exit 0", os.geteuid(), os.getegid()) as running:
        for call in calls:
            left.mkdir()
            (left / "script").write_text("a secret")
            call()
            assert not left.exists()
            assert running.read_text() == "exit 0"
    assert not running.parent.exists()


def test_a_signal_to_a_job_that_has_just_ended_is_not_a_crash(settings: dict[str, Any]) -> None:
    """Between the check of the status and the signal the process may end."""
    handle = shell.start("true", settings=settings)["handle"]
    until_ended(handle, settings)
    job = _jobs.find(Path(settings["jobs"]), handle)
    (job.folder / "exitcode").write_text("")
    racing = _jobs.ShellJob(job.folder, job.command, None, job.started, job.pid, _jobs._born(job.pid or 0))  # noqa: SLF001
    racing.kill("TERM")
    assert racing.status in ("running", "failed")


def test_a_command_beyond_the_limit_of_the_kernel_is_not_a_crash(settings: dict[str, Any]) -> None:
    """One argument has at most 128 KiB on Linux (execve(2)): the message says so, and no job is left."""
    with pytest.raises(Aborted, match=r"^cannot start the command: Argument list too long$"):
        shell.start("true " + "x" * 200_000, settings=settings)
    assert shell.list(settings=settings)["jobs"] == {}
    with pytest.raises(Aborted, match=r"^cannot run '/bin/sh': Argument list too long$"):
        shell.run("true " + "x" * 200_000, deadline=within())


# -- output that does not fit into a reply


def fetched(handle: str, settings: dict[str, Any]) -> str:
    """Fetch the whole output of a job in pieces, as `crpc shell output` does."""
    text, last = "", -1
    job: dict[str, Any] = {"handle": handle, "stdout_offset": 0}
    while job["stdout_offset"] != last:
        last = job["stdout_offset"]
        progress = shell.statuses([job], settings=settings)["jobs"][handle]
        text += progress["stdout"]
        job["stdout_offset"] = progress["stdout_offset"]
    return text


@pytest.mark.parametrize(
    "size",
    [
        2_000_000,
        pytest.param(
            100 * 1024 * 1024,
            marks=pytest.mark.skipif("BIG_FILES" not in os.environ, reason="takes minutes: make files"),
        ),
    ],
)
def test_oversized_output_is_stored_and_fetched_in_pieces(size: int, settings: dict[str, Any]) -> None:
    """The reply has the start, the end and the number of bytes; all of it can be fetched, and `clean` removes it."""
    line = f"head -c {size} /dev/zero | tr '\\0' x; echo; echo end; exit 3"
    with pytest.raises(Aborted, match="exit code 3") as failed:
        shell.run(line, settings=settings, deadline=within(120))
    data = failed.value.data
    assert (data["truncated"], data["stdout_bytes"], data["stderr_bytes"]) == (True, size + 5, 0)
    assert data["stdout"].endswith("x\nend\n")
    assert fetched(data["handle"], settings) == "x" * size + "\nend\n"
    assert shell.status(data["handle"], settings=settings)["exitcode"] == 3
    assert shell.clean(older_than=0, settings=settings) == {"removed": [data["handle"]]}


def test_output_beyond_the_limit_of_the_settings_is_cut(settings: dict[str, Any]) -> None:
    """A stream that is larger than `max_output` is stored up to the limit, and the command is not disturbed."""
    limited = {**settings, "max_output": 1_000_000}
    done = shell.run("head -c 3000000 /dev/zero; echo end >&2", settings=limited, deadline=within())
    assert (done["exitcode"], done["stdout_bytes"], done["stderr"]) == (0, 3_000_000, "end\n")
    assert len(fetched(done["handle"], settings)) <= 1_000_000


def test_output_that_fits_is_not_stored(settings: dict[str, Any]) -> None:
    """A reply that has the whole output has neither a handle nor byte counts, and leaves nothing on the node."""
    done = shell.run("echo small", settings=settings, deadline=within())
    assert done == {"stdout": "small\n", "stderr": "", "exitcode": 0, "success": True}
    assert shell.list(settings=settings) == {"jobs": {}}


def test_statuses_returns_the_jobs_of_this_node(settings: dict[str, Any]) -> None:
    """Of many handles those of this node are answered, with the output from their offsets on."""
    handle = shell.start("printf 0123456789", settings=settings)["handle"]
    until_ended(handle, settings)
    found = shell.statuses([{"handle": "0" * 32}, {"handle": handle, "stdout_offset": 4}], settings=settings)["jobs"]
    assert list(found) == [handle]
    assert (found[handle]["stdout"], found[handle]["stdout_offset"], found[handle]["exitcode"]) == ("456789", 10, 0)


@as_root
def test_a_command_of_another_user_has_only_the_groups_of_that_user(settings: dict[str, Any]) -> None:
    """The groups of the node's user are dropped: `id` shows only those that the user has."""
    done = shell.run("id -G", user="nobody", settings=settings, deadline=within())
    group = pwd.getpwnam("nobody").pw_gid
    assert sorted(map(int, done["stdout"].split())) == sorted(set(os.getgrouplist("nobody", group)))
    assert 0 not in map(int, done["stdout"].split())
