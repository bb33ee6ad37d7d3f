"""`run`, the helper for commands that every agent uses."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from collective.agent import Aborted, run, time_left


def test_output_within_the_limit_is_complete() -> None:
    """A character across the two halves of the kept output is decoded correctly."""
    assert run(["printf", "aé"], keep=4).stdout == "aé"


def test_output_beyond_the_limit_keeps_start_and_end() -> None:
    """The number of omitted bytes is shown."""
    assert run(["printf", "abcdefgh"], keep=4).stdout == "ab\n[… 4 bytes omitted …]\ngh"


def test_a_child_that_holds_the_pipe_is_not_waited_for() -> None:
    """A command that leaves a child running returns when the command itself has ended."""
    began = time.monotonic()
    done = run(["sh", "-c", "sleep 20 & echo done"])
    assert (done.stdout, done.exitcode) == ("done\n", 0)
    assert time.monotonic() - began < 10


def test_output_is_read_after_a_pause_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second that output is waited for may have passed while this process, or its machine, did not run."""
    waited = threading.Event()
    read, join = os.read, threading.Thread.join

    def read_late(descriptor: int, size: int) -> bytes:
        assert size < 65536 or waited.wait(30)
        return read(descriptor, size)

    def join_in_vain(thread: threading.Thread, timeout: float | None = None) -> None:
        if waited.is_set():
            join(thread, timeout)
        waited.set()

    monkeypatch.setattr(os, "read", read_late)
    monkeypatch.setattr(threading.Thread, "join", join_in_vain)
    assert run(["printf", "abc"]).stdout == "abc"


def test_missing_command_and_missing_folder_have_different_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names what is missing, the command or the folder."""
    # execvp(3): with a folder that this user must not read, the error would be "Permission denied".
    monkeypatch.setenv("PATH", os.defpath)
    with pytest.raises(Aborted, match=r"^cannot run 'no-such-command': No such file"):
        run(["no-such-command"])
    with pytest.raises(Aborted, match=r"^cannot enter folder '/no/such': No such file"):
        run(["true"], cwd="/no/such")
    with pytest.raises(Aborted, match=r"^cannot enter folder '/etc/passwd': Not a directory"):
        run(["true"], cwd="/etc/passwd")


@pytest.mark.parametrize(("seconds", "kept"), [(100.0, 1.0), (5.0, 1.0), (2.0, 0.4), (0.5, 0.1)])
def test_little_time_is_not_all_reserved_for_the_reply(
    monkeypatch: pytest.MonkeyPatch, seconds: float, kept: float
) -> None:
    """One second is reserved, but at most a fifth: with `crpc … -t 2` an action has most of its two seconds."""
    monkeypatch.setattr(time, "monotonic", lambda: 1000.0)
    assert time_left(1000.0 + seconds) == pytest.approx(seconds - kept)
    assert time_left(995.0) == 0.1


def test_a_timeout_kills_the_process_group() -> None:
    """A timeout kills child processes too, and output up to then is kept."""
    done = run(["sh", "-c", "echo begun; sleep 60; echo never"], timeout=2.0)
    assert (done.timed_out, done.stdout) == (True, "begun\n")


@pytest.mark.parametrize("user", [None, "nobody"])
def test_a_node_whose_user_has_no_account_runs_commands(monkeypatch: pytest.MonkeyPatch, user: str | None) -> None:
    """In a container the daemon's user need not be in passwd(5): commands run, and another user is refused."""
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    if user:
        with pytest.raises(Aborted, match=r"^cannot run as user 'nobody': this node runs as '54321', not root"):
            run(["true"], user=user)
    else:
        assert run(["sh", "-c", "echo $USER $LOGNAME $HOME"]).stdout == "54321 54321 /\n"


def test_a_script_without_an_interpreter_is_run_by_sh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As execvp(3) and shells do; a binary that the system cannot run is still an error."""
    script = tmp_path / "plain"
    script.write_text('printf "%s," "$0" "$@"\n')
    script.chmod(0o755)
    assert run([str(script), "a b", "*"]).stdout == f"{script},a b,*,"
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.defpath}")
    assert run(["plain"]).stdout == f"{script},"
    script.write_bytes(b"\x7fELF\0\0")
    with pytest.raises(Aborted, match=f"^cannot run '{script}': Exec format error"):
        run([str(script)])
