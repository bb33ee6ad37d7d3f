"""Shell commands that go on when the action has ended, each in a folder of its own.

    <jobs>/<handle>/   job.json          {command, user, started, pid, born}: made when the command runs
                       stdout  stderr    what it says
                       exitcode          written at its end, by the shell around it

The folder is the node's alone (0700); the command, whoever it runs as, holds only the open files. A job
survives a restart of the daemon: a process is told from a later one with the same number by when it was born.
"""

from __future__ import annotations

import codecs
import json
import os
import re
import secrets
import shutil
import signal
import stat
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collective.agent import Aborted, as_user

CHUNK = 512 * 1024  # bytes of each stream that one answer carries

# Standard input is the file for the exit code: dash can write to no descriptor above 9, and which
# number another one would get is not ours to choose. The traps let this shell outlive a signal to the group,
# and are not passed on to the command.
_AROUND = """trap : TERM INT HUP QUIT USR1 USR2
/bin/sh -c "$1" </dev/null
echo $? >&0"""


@dataclass(frozen=True)
class ShellJob:
    """One started command. `started` is in Unix seconds, `born` in clock ticks since boot (proc(5))."""

    folder: Path
    command: str
    user: str | None
    started: float
    pid: int | None = None
    born: int | None = None

    @property
    def handle(self) -> str:
        """What callers name the job by."""
        return self.folder.name

    @property
    def exitcode(self) -> int | None:
        """How the command ended, None while it runs or when nobody saw its end."""
        text = _text(self.folder / "exitcode").strip()
        return int(text) if text else None

    @property
    def status(self) -> str:
        """`starting`, `running`, `stopped` (ended well) or `failed`."""
        # Looked at in this order: a command may end between the two looks, and has its exit code by then.
        alive = self.pid is not None and _born(self.pid) == self.born
        exitcode = self.exitcode
        if exitcode is not None:
            return "stopped" if exitcode == 0 else "failed"
        if alive:
            return "running"
        return "starting" if self.pid is None else "failed"

    @property
    def ended(self) -> bool:
        """Whether the command is over."""
        return self.status in ("stopped", "failed")

    def read(self, stream: str, offset: int) -> tuple[str, int]:
        """Return what `stdout` or `stderr` holds from byte `offset` on, and the offset to go on from."""
        ended = self.ended
        with (self.folder / stream).open("rb") as file:
            file.seek(offset)
            chunk = file.read(CHUNK)
            last = ended and not file.read(1)
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        text = decoder.decode(chunk, final=last)  # half a character stays for the next answer
        return text, offset + len(chunk) - len(decoder.getstate()[0])

    def kill(self, name: str) -> None:
        """Send a signal to the command and all that it has started."""
        if self.status != "running" or self.pid is None:
            return
        os.killpg(self.pid, signal.Signals[f"SIG{name}"])
        if name == "KILL":  # the shell around the command went with it
            (self.folder / "exitcode").write_text(f"{128 + signal.SIGKILL}\n", encoding="ascii")


def start(folder: Path, command: str, user: str | None) -> ShellJob:
    """Start a shell command and return its job; raise Aborted when it cannot be started."""
    identity = as_user(user)
    place = private(folder) / secrets.token_hex(16)
    place.mkdir(mode=0o700)
    with (
        (place / "exitcode").open("wb") as exitcode,
        (place / "stdout").open("wb") as stdout,
        (place / "stderr").open("wb") as stderr,
    ):
        process = subprocess.Popen(
            ["/bin/sh", "-c", _AROUND, "job", command],
            stdin=exitcode,
            stdout=stdout,
            stderr=stderr,
            cwd="/",
            start_new_session=True,
            **identity,
        )
    process.returncode = 0  # nobody here waits for it: it is meant to outlive this action
    job = ShellJob(place, command, user, time.time(), process.pid, _born(process.pid))
    _write(job)
    return job


def find(folder: Path, handle: str) -> ShellJob:
    """Return the job `handle`; raise Aborted when there is none. A handle never leads out of the folder."""
    place = private(folder) / handle
    if not re.fullmatch(r"[0-9a-f]{32}", handle) or not place.is_dir():
        raise Aborted(f"there is no job '{handle}' on this node: see the action list")
    return _load(place)


def every(folder: Path) -> list[ShellJob]:
    """Return all jobs, the oldest first."""
    return sorted(map(_load, private(folder).iterdir()), key=lambda job: job.started)


def remove(job: ShellJob) -> None:
    """Forget a job and what it said."""
    shutil.rmtree(job.folder)


def private(folder: Path) -> Path:
    """Return `folder`, made when it is not there; raise Aborted when others could write into it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise Aborted(f"{folder}: must be a folder of the node's own user that nobody else may enter (mode 0700)")
    return folder


def _write(job: ShellJob) -> None:
    content = {
        "command": job.command,
        "user": job.user,
        "started": job.started,
        "pid": job.pid,
        "born": job.born,
    }
    draft = job.folder / "job.json.new"
    draft.write_text(json.dumps(content), encoding="utf-8")
    draft.replace(job.folder / "job.json")


def _load(place: Path) -> ShellJob:
    text = _text(place / "job.json")
    if not text:
        return ShellJob(place, "", None, place.stat().st_mtime)
    content: dict[str, Any] = json.loads(text)
    return ShellJob(place, **content)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


def _born(pid: int) -> int | None:
    """Return when a process began, in ticks since boot; None when it has ended (proc(5): stat, field 22)."""
    fields = _text(Path("/proc", str(pid), "stat")).rpartition(")")[2].split()
    return int(fields[19]) if fields and fields[0] != "Z" else None
