"""Jobs: shell commands that run in the background, each with its own folder.

    <jobs>/<handle>/   job.json          {command, user, started, pid, born}, written when the command runs
                       stdout  stderr    its output
                       exitcode          written by the wrapping shell when the command ends

Only the node can access the folder (mode 0700); the command only has the open files, whatever its user. It can write
anything into them, so nothing in them is trusted: an exit code that is not a number is none. Jobs survive a restart of
the daemon. A process is identified by its number and its start time, because numbers are reused.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import io
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from collective.agent import Aborted, as_user
from collective.agents._private import private
from collective.processes import MARK

CHUNK = 512 * 1024  # bytes of each stream in one reply
START_TIME = 60.0  # seconds until a job without job.json has failed: the node was killed while it started the job
_HANDLE = re.compile(r"[0-9a-f]{32}")

# Standard input is the file for the exit code, because dash cannot write to descriptors above 9 and Popen chooses the
# number of any other descriptor. With the traps this shell survives signals to the group; the command does not inherit
# them.
_WRAPPER = """trap : TERM INT HUP QUIT USR1 USR2
/bin/sh -c -- "$1" </dev/null
echo $? >&0"""


def line(command: str) -> list[str]:
    """Return what runs a command; with `--` one that begins with `-` is not taken for options of the shell."""
    return ["/bin/sh", "-c", "--", command]


class ShellJob(NamedTuple):
    """A background command. `started` is in Unix seconds, `born` in clock ticks since boot (proc(5)).

    `born` is None if the command had ended before it was read. `mark` is the token of the request that started it,
    which is in the environment of all its processes.
    """

    folder: Path
    command: str
    user: str | None
    started: float
    pid: int | None = None
    born: int | None = None
    mark: str = ""

    @property
    def handle(self) -> str:
        """The name of the job for callers."""
        return self.folder.name

    @property
    def exitcode(self) -> int | None:
        """The exit code, or None while the command runs or if its end was not observed."""
        text = _text(self.folder / "exitcode", 16).strip()
        return int(text) if re.fullmatch(r"[0-9]{1,3}", text) else None

    @property
    def status(self) -> str:
        """`starting`, `running`, `stopped` (exit code 0) or `failed`."""
        # In this order: a command that ends in between has written its exit code by then.
        alive = self.pid is not None and self.born is not None and _born(self.pid) == self.born
        exitcode = self.exitcode
        if exitcode is not None:
            return "stopped" if exitcode == 0 else "failed"
        if alive:
            return "running"
        starting = self.pid is None and time.time() < self.started + START_TIME
        return "starting" if starting else "failed"

    @property
    def ended(self) -> bool:
        """Whether the command has ended."""
        return self.status in ("stopped", "failed")

    def read(self, stream: str, offset: int, limit: int = CHUNK) -> tuple[str, int]:
        """Return the content of `stdout` or `stderr` from byte `offset` on, at most `limit` bytes, and the next offset.

        The offset of a later call is never beyond the end: the command may have truncated its output.
        """
        ended = self.ended
        try:
            with (self.folder / stream).open("rb") as file:
                start = min(int(offset), os.fstat(file.fileno()).st_size)
                file.seek(start)
                chunk = file.read(limit)
                last = ended and not file.read(1)
        except FileNotFoundError:
            return "", 0  # the node was killed before it created the file, or the job has just been removed
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        text = decoder.decode(chunk, final=last)  # an incomplete character is left for the next reply
        return text, start + len(chunk) - len(decoder.getstate()[0])

    def kill(self, name: str) -> None:
        """Send a signal to the processes of the command, also to those that have left its process group."""
        if self.status != "running" or self.pid is None:
            return
        number = signal.Signals[f"SIG{name}"]
        try:
            os.killpg(self.pid, number)
            for pid in _marked(self.mark, self.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
        except ProcessLookupError:
            return  # it has just ended
        except PermissionError:
            raise Aborted(f"cannot send {name} to job '{self.handle}': its processes run as another user") from None
        if name == "KILL":  # the wrapping shell was killed too
            with contextlib.suppress(FileNotFoundError):  # the job has just been removed
                (self.folder / "exitcode").write_text(f"{128 + signal.SIGKILL}\n", encoding="ascii")


def start(folder: Path, command: str, user: str | None) -> ShellJob:
    """Start a shell command and return its job; raise Aborted if it cannot be started."""
    identity = as_user(user)
    place = private(folder) / os.urandom(16).hex()
    place.mkdir(mode=0o700)
    try:
        process = _spawn(place, command, identity)
    except (OSError, ValueError) as error:  # a command beyond the kernel's limit, no further process, a full disk
        shutil.rmtree(place, ignore_errors=True)
        raise Aborted(f"cannot start the command: {getattr(error, 'strerror', None) or error}") from None
    process.returncode = 0  # not waited for: it outlives this action
    mark = os.environ.get(MARK, "")
    job = ShellJob(place, command, user, time.time(), process.pid, _born(process.pid), mark)
    _write(job)
    return job


class StoredOutput:
    """The output of a command that did not fit into its reply: a job that has ended, for `status` and `clean`.

    It has a folder only if a stream was stored. At most `limit` bytes of each stream are stored.
    """

    def __init__(self, folder: Path, command: str, user: str | None, limit: int) -> None:
        self._folder = folder
        self._place = folder / os.urandom(16).hex()
        self._command = command
        self._user = user
        self._limit = limit
        self._lock = threading.Lock()

    def open(self, stream: str) -> IO[bytes]:
        """Open the file of a stream; raises OSError."""
        with self._lock:
            if not self._place.exists():
                try:
                    private(self._folder)
                except Aborted as error:
                    raise OSError(str(error)) from None
                self._place.mkdir(mode=0o700)
        return cast("IO[bytes]", _LimitedFile(self._place / stream, self._limit))

    def finish(self, exitcode: int, kept: Mapping[str, str]) -> str | None:
        """Complete the job, with the streams that were kept whole; return its handle, None if nothing was stored."""
        if not self._place.exists():
            return None
        for name, text in kept.items():
            if not (self._place / name).exists():
                (self._place / name).write_text(text, encoding="utf-8")
        code = exitcode if exitcode >= 0 else 128 - exitcode
        (self._place / "exitcode").write_text(f"{code}\n", encoding="ascii")
        _write(ShellJob(self._place, self._command, self._user, time.time()))
        return self._place.name


class _LimitedFile(io.FileIO):
    """A file that takes a limited number of bytes; further ones raise OSError."""

    def __init__(self, path: Path, limit: int) -> None:
        super().__init__(path, "xb")
        self._left = limit

    def write(self, data: Any) -> int:
        """Write all of `data`."""
        if len(data) > self._left:
            raise OSError(errno.EFBIG, "output limit reached")
        self._left -= len(data)
        view = memoryview(data)
        while view:
            view = view[super().write(view) :]
        return len(data)


def _spawn(place: Path, command: str, identity: dict[str, Any]) -> subprocess.Popen[bytes]:
    with (
        (place / "exitcode").open("wb") as exitcode,
        (place / "stdout").open("wb") as stdout,
        (place / "stderr").open("wb") as stderr,
    ):
        return subprocess.Popen(
            ["/bin/sh", "-c", _WRAPPER, "job", command],
            stdin=exitcode,
            stdout=stdout,
            stderr=stderr,
            cwd="/",
            start_new_session=True,
            **identity,
        )


def find(folder: Path, handle: str) -> ShellJob:
    """Return the job `handle`; raise Aborted if it does not exist. A handle cannot point outside the folder."""
    found = find_or_none(folder, handle)
    if found is None:
        raise Aborted(f"job '{handle}' does not exist on this node (run the action list)")
    return found


def find_or_none(folder: Path, handle: str) -> ShellJob | None:
    """Return the job `handle`; None if it is not on this node."""
    place = folder / handle
    return _load(place) if _HANDLE.fullmatch(handle) and _exists(folder) and place.is_dir() else None


def every(folder: Path) -> list[ShellJob]:
    """Return all jobs, the oldest first."""
    if not _exists(folder):
        return []
    places = [place for place in folder.iterdir() if _HANDLE.fullmatch(place.name) and place.is_dir()]
    return sorted(map(_load, places), key=lambda job: job.started)


def remove(job: ShellJob) -> None:
    """Remove the folder of a job; another call may be doing the same."""
    shutil.rmtree(job.folder, ignore_errors=True)


def _exists(folder: Path) -> bool:
    """Return whether there is a folder of jobs; raise Aborted if other users can access it. Nothing is created."""
    return os.path.lexists(folder) and private(folder) == folder


def _write(job: ShellJob) -> None:
    content = {
        "command": job.command,
        "user": job.user,
        "started": job.started,
        "pid": job.pid,
        "born": job.born,
        "mark": job.mark,
    }
    draft = job.folder / "job.json.new"
    draft.write_text(json.dumps(content), encoding="utf-8")
    draft.replace(job.folder / "job.json")


def _load(place: Path) -> ShellJob:
    try:
        content: dict[str, Any] = json.loads(_text(place / "job.json"))
        return ShellJob(place, **content)
    except (ValueError, TypeError):  # not yet written, or the disk was full
        return ShellJob(place, "", None, _created(place))


def _created(place: Path) -> float:
    try:
        return place.stat().st_mtime
    except FileNotFoundError:
        return 0.0  # the job has just been removed


def _text(path: Path, limit: int = -1) -> str:
    """Return the first `limit` bytes of a file as text, an empty string without the file."""
    try:
        with path.open("rb") as file:
            return file.read(limit).decode("utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _marked(mark: str, group: int) -> list[int]:
    """Return the processes with a mark in their environment that are not in the process group (proc(5): environ)."""
    found = []
    for folder in Path("/proc").iterdir() if mark else ():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):  # it has ended, or belongs to another user
                pid = int(folder.name)
                if f"{MARK}={mark}\0".encode() in (folder / "environ").read_bytes() and os.getpgid(pid) != group:
                    found.append(pid)
    return [pid for pid in found if pid != os.getpid()]


def _born(pid: int) -> int | None:
    """Return the start time of a process in ticks since boot, or None if it has ended (proc(5): stat, field 22)."""
    fields = _text(Path("/proc", str(pid), "stat")).rpartition(")")[2].split()
    return int(fields[19]) if fields and fields[0] != "Z" else None
