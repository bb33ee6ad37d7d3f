"""Tests of what a local user of a node can gain from actions that root's node runs for that user.

The attacker is a real process of another user, and the files are real; only root can run these tests.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.waiting import wait_until

from collective.agent import Aborted, run
from collective.agents import file, shell

USER = "nobody"
UID = pwd.getpwnam(USER).pw_uid
ROUNDS = 150

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change the user")

# Replaces what it can in each new folder of the node by a link to a file of root's.
ATTACK = """
import contextlib, os, sys
folder, target = sys.argv[1:]
print("ready", flush=True)
while True:
    for name in os.listdir(folder):
        if name.startswith("collective-"):
            place = f"{folder}/{name}"
            with contextlib.suppress(OSError):
                os.symlink(target, f"{place}/link")
                os.rename(f"{place}/link", f"{place}/script")
            with contextlib.suppress(OSError):
                os.rename(place, f"{folder}/moved-{name}")
"""


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Create a temporary folder as /tmp is: writable by all users, and sticky."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o1777)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    shutil.rmtree(folder)


def in_30_s() -> float:
    """Return a deadline for an action, 30 s from now."""
    return time.monotonic() + 30


def as_attacker(*command: str, **more: Any) -> subprocess.Popen[bytes]:
    """Start a command as the other user."""
    return subprocess.Popen(command, user=UID, group=UID, extra_groups=[], cwd="/", stdout=subprocess.PIPE, **more)


def test_the_user_of_a_script_cannot_make_root_change_another_file(shared: Path) -> None:
    """While scripts run as a user, a process of this user replaces files by links: root's file stays root's."""
    secret = shared / "secret"
    secret.write_text("root only")
    secret.chmod(0o600)
    python = shutil.which("python3", path="/usr/bin:/bin") or sys.executable
    attacker = as_attacker(python, "-I", "-c", ATTACK, str(shared), str(secret))
    try:
        assert attacker.stdout is not None
        assert attacker.stdout.readline() == b"ready\n"
        for number in range(ROUNDS):
            try:
                reply = shell.script(f"echo {number}", user=USER, deadline=in_30_s())
                assert reply["stdout"] == f"{number}\n"
            except Aborted as error:
                pytest.fail(f"the attacker changed what ran: {error}")
            assert secret.stat().st_uid == 0, f"the file is the user's after {number} scripts"
    finally:
        attacker.kill()
        attacker.communicate()
    assert [path.name for path in shared.iterdir()] == ["secret"]


def test_a_user_cannot_lead_the_agent_file_to_another_folder(shared: Path) -> None:
    """The owner of the parent of an allowed folder replaces it by a link: root reads and writes nothing there."""
    for name in ("home", "home/conf", "private"):
        (shared / name).mkdir()
    (shared / "private" / "secret").write_text("root only")
    os.chown(shared / "home", UID, UID)
    as_attacker("mv", str(shared / "home" / "conf"), str(shared / "home" / "old")).communicate()
    as_attacker("ln", "-s", str(shared / "private"), str(shared / "home" / "conf")).communicate()
    settings = {"read": [], "write": [str(shared / "home" / "conf")]}
    for act in (file.read, file.remove):
        with pytest.raises(Aborted, match=f"not allowed: {shared}/home: writable by user {UID}"):
            act(f"{shared}/home/conf/secret", settings=settings)
    assert (shared / "private" / "secret").read_text() == "root only"


def test_a_script_is_closed_to_other_users(shared: Path) -> None:
    """A script is readable by the user who runs it and by no other; only root can change the folder."""
    reply = shell.script('stat -c "%U %a" "$0" "$(dirname "$0")"', user=USER, deadline=in_30_s())
    assert reply["stdout"] == f"{USER} 500\nroot 711\n"


def test_a_temporary_folder_of_another_user_is_refused(shared: Path) -> None:
    """In a folder that another user can change, scripts are not stored."""
    os.chown(shared, UID, UID)
    with pytest.raises(Aborted, match=f"^cannot store the script in '{shared}': {shared}: writable by user {UID}"):
        shell.script("true", deadline=in_30_s())
    os.chown(shared, 0, 0)


def test_a_folder_that_is_closed_to_the_user_is_not_entered(shared: Path) -> None:
    """`cwd` is entered as the user: root's right to enter a folder is of no use to the user."""
    (shared / "closed" / "open").mkdir(parents=True)
    (shared / "closed" / "open" / "file").write_text("root only")
    (shared / "closed").chmod(0o700)
    folder = str(shared / "closed" / "open")
    with pytest.raises(Aborted, match=f"^cannot enter folder '{folder}' as this user"):
        shell.run("cat file", user=USER, cwd=folder, deadline=in_30_s())
    assert shell.run("pwd", user=USER, cwd=str(shared), deadline=in_30_s())["stdout"] == f"{shared}\n"


def test_nothing_of_root_is_left_in_a_command_of_a_user() -> None:
    """User, groups, capabilities, session and open files are the user's own."""
    line = 'grep -E "^(Uid|Gid|Groups|Cap(Prm|Eff|Amb))" /proc/self/status; ls /proc/self/fd | wc -w'
    done = run(["/bin/sh", "-c", line], user=USER)
    rows = {row[0]: set(row[1:]) for row in (line.split() for line in done.stdout.splitlines())}
    assert rows["Uid:"] == {str(UID)}
    assert "0" not in rows["Gid:"] | rows["Groups:"]
    assert rows["CapPrm:"] == rows["CapEff:"] == rows["CapAmb:"] == {"0000000000000000"}
    assert done.stdout.splitlines()[-1] == "4"  # three streams, and the folder that ls reads
    assert os.getsid(0) != int(run(["/bin/sh", "-c", "ps -o sid= -p $$"], user=USER).stdout)


def test_secrets_of_a_command_are_closed_to_other_users() -> None:
    """Another user sees the command line of root's command, and neither its environment nor its standard input."""
    other = f"setpriv --reuid={UID} --regid={UID} --clear-groups cat /proc/$$"
    line = f"{other}/cmdline; {other}/environ; {other}/fd/0"
    done = run(["/bin/sh", "-c", line], env={"TOKEN": "hunter2"}, stdin="opensesame")
    assert done.stdout.startswith("/bin/sh")
    assert "hunter2" not in done.stdout
    assert "opensesame" not in done.stdout
    assert done.stderr.count("Permission denied") == 2


def test_the_output_files_of_a_job_cannot_break_the_list_of_jobs(shared: Path) -> None:
    """A job that writes nonsense as its exit code is listed, read and removed as failed."""
    settings = {"jobs": str(shared / "jobs")}
    handle = shell.start("true", user=USER, settings=settings)["handle"]
    while shell.status(handle, settings=settings)["status"] in ("starting", "running"):
        pass
    # The user may write it through the open file of the wrapping shell (pidfd_getfd(2), ptrace(2)).
    (shared / "jobs" / handle / "exitcode").write_text("x" * 10_000_000)
    (shared / "jobs" / "stray").write_text("")
    wait_until(lambda: shell.list(settings=settings)["jobs"][handle]["status"] == "failed", 30)
    assert shell.status(handle, settings=settings)["exitcode"] is None
    assert shell.clean(0, settings=settings) == {"removed": [handle]}


def test_a_script_runs_in_a_temporary_folder_that_is_mounted_noexec(shared: Path) -> None:
    """The interpreter of the first line is started, not the file."""
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "noexec,mode=1777", "tmpfs", str(shared)], check=False).returncode:
        pytest.skip("this machine does not allow mounts")
    try:
        reply = shell.script("#!/bin/sh -e\necho $0 $1", args=["x"], user=USER, deadline=in_30_s())
    finally:
        subprocess.run(["umount", str(shared)], check=True)
    assert reply["stdout"].startswith(f"{shared}/collective-script-")
    assert reply["stdout"].endswith("/script x\n")
