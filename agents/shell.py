"""Run shell commands and scripts, and shell commands in the background (jobs).

A dry run reports the command, and checks that the user and the folder exist; it starts and downloads nothing.

Output that does not fit into a reply is stored on the node as a job that has ended. The reply has `truncated`, the
number of bytes, and the handle; `crpc shell output HANDLE` fetches it, and `clean` removes it.

Settings: `jobs`, the folder of the jobs (/var/lib/collective/shell, or below the user's XDG state folder), and
`max_output`, the largest output in bytes that is stored (268,435,456).
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from collective.agent import OUTPUT_LIMIT, Aborted, Completed, InvalidInput, Reply, Settings, action, as_user, time_left
from collective.agent import run as run_command  # `run` is the name of an action here
from collective.agents import _jobs, _scripts
from collective.processes import signal_name
from collective.user_folders import user_folder

NO_SETTINGS: Settings = MappingProxyType({})
MAX_OUTPUT = 256 * 1024 * 1024  # bytes of one stream that are stored on the node


@action
def run(
    command: str,
    user: str | None = None,
    timeout: float | None = None,
    cwd: str | None = None,
    environment: Mapping[str, str] | None = None,
    stdin: str = "",
    *,
    deadline: float,
    settings: Settings = NO_SETTINGS,
    dry_run: bool = False,
) -> Reply:
    """Run a command with /bin/sh and wait for it; raise Aborted with its output if its exit code is not 0."""
    line = _jobs.line(command)
    if dry_run:
        return _plan(line, user, cwd)
    allowed = _allowed(timeout, deadline)
    stored = _stored(settings, command, user)
    done = run_command(
        line, stdin=stdin, timeout=allowed, cwd=cwd or "/", env=environment, user=user, store=stored.open
    )
    return _reply(done, allowed, stored)


@action
def script(
    script: str | None = None,
    url: str | None = None,
    args: Sequence[str] | None = None,
    interpreter: str | None = None,
    user: str | None = None,
    timeout: float | None = None,
    *,
    deadline: float,
    settings: Settings = NO_SETTINGS,
    dry_run: bool = False,
) -> Reply:
    """Run a script from the request or from a URL with `interpreter`, with its #! line, or with /bin/sh."""
    if script is not None and url is not None:
        raise InvalidInput("shell script: give either 'script' or 'url'")
    if dry_run and script is None:  # not downloaded: a dry run must not use the credentials of the node
        return _plan([*([interpreter] if interpreter else ()), str(url), *(args or ())], user)
    identity = as_user(user)
    allowed = _allowed(timeout, deadline)
    text = script if script is not None else _downloaded(str(url), allowed)
    if dry_run:
        return _plan([*_scripts.command(text, Path("SCRIPT"), interpreter), *(args or ())], user)
    uid, gid = identity.get("user", os.geteuid()), identity.get("group", os.getegid())
    stored = _stored(settings, f"script {url or ''}".rstrip(), user)
    with _scripts.stored(text, uid, gid) as path:
        command = [*_scripts.command(text, path, interpreter), *(args or ())]
        return _reply(run_command(command, timeout=allowed, cwd="/", user=user, store=stored.open), allowed, stored)


@action
def start(command: str, user: str | None = None, *, settings: Settings, dry_run: bool = False) -> Reply:
    """Start a command with /bin/sh in the background; return the handle for the other actions."""
    if dry_run:
        return _plan(_jobs.line(command), user)
    _scripts.remove_abandoned()
    return {"handle": _jobs.start(_folder(settings), command, user).handle}


@action
def status(handle: str, stdout_offset: int = 0, stderr_offset: int = 0, *, settings: Settings) -> Reply:
    """Return the state of a job and its output from the offsets (in bytes) on."""
    job = _jobs.find(_folder(settings), handle)
    return _progress(job, {"stdout_offset": stdout_offset, "stderr_offset": stderr_offset}, _jobs.CHUNK)


@action
def statuses(jobs: Sequence[Mapping[str, Any]], *, settings: Settings) -> Reply:
    """Return the state and the output of those of the jobs that are on this node, by handle."""
    folder = _folder(settings)
    found = [(entry, job) for entry in jobs if (job := _jobs.find_or_none(folder, entry["handle"])) is not None]
    limit = _jobs.CHUNK // (2 * max(1, len(found)))
    return {"jobs": {job.handle: _progress(job, entry, limit) for entry, job in found}}


@action
def list(*, settings: Settings) -> Reply:
    """List the jobs, the oldest first."""
    return {
        "jobs": {
            job.handle: {
                "command": job.command,
                "status": job.status,
                "started": job.started,
                "user": job.user,
            }
            for job in _jobs.every(_folder(settings))
        }
    }


@action
def kill(handle: str, signal: str = "TERM", *, settings: Settings, dry_run: bool = False) -> Reply:
    """Send a signal to a job and its processes."""
    job = _jobs.find(_folder(settings), handle)
    if not dry_run:
        job.kill(signal)
    return {"status": job.status}


@action
def clean(older_than: float = 86400, *, settings: Settings, dry_run: bool = False) -> Reply:
    """Remove the records of finished jobs that were started more than `older_than` seconds ago.

    Also removes scripts that were left by actions that were killed.
    """
    limit = time.time() - older_than
    old = [job for job in _jobs.every(_folder(settings)) if job.ended and job.started <= limit]
    if not dry_run:
        _scripts.remove_abandoned()
        for job in old:
            _jobs.remove(job)
    return {"removed": [job.handle for job in old]}


def _progress(job: _jobs.ShellJob, offsets: Mapping[str, Any], limit: int) -> Reply:
    state = job.status  # before the output: later output is returned by the next call
    stdout, next_stdout = job.read("stdout", offsets.get("stdout_offset", 0), limit)
    stderr, next_stderr = job.read("stderr", offsets.get("stderr_offset", 0), limit)
    return {
        "status": state,
        "stdout": stdout,
        "stderr": stderr,
        "exitcode": job.exitcode,
        "stdout_offset": next_stdout,
        "stderr_offset": next_stderr,
    }


def _stored(settings: Settings, command: str, user: str | None) -> _jobs.StoredOutput:
    return _jobs.StoredOutput(_folder(settings), command, user, settings.get("max_output", MAX_OUTPUT))


def _plan(command: Sequence[str], user: str | None, cwd: str | None = None) -> Reply:
    """Return what a dry run reports; raise Aborted or InvalidInput if the command could not be started."""
    as_user(user)
    if cwd is not None and not Path(cwd).is_dir():
        raise Aborted(f"cannot enter folder '{cwd}': it is not a folder")
    return {"would_run": f"{shlex.join(command)} as {user or 'the user of the node'} in {cwd or '/'}"}


def _allowed(timeout: float | None, deadline: float) -> float:
    left = time_left(deadline)
    return left if timeout is None else min(timeout, left)


def _reply(done: Completed, allowed: float, stored: _jobs.StoredOutput) -> Reply:
    data: Reply = {
        "stdout": done.stdout,
        "stderr": done.stderr,
        "exitcode": done.exitcode,
        "success": done.exitcode == 0 and not done.timed_out,
    }
    handle = stored.finish(done.exitcode, {"stdout": done.stdout, "stderr": done.stderr})
    if handle or max(done.stdout_bytes, done.stderr_bytes) > OUTPUT_LIMIT:
        data |= {"truncated": True, "stdout_bytes": done.stdout_bytes, "stderr_bytes": done.stderr_bytes}
        data |= {"handle": handle} if handle else {}
    if done.timed_out:
        raise Aborted(f"the command was killed after {round(allowed, 1):g} s", data=data)
    if done.exitcode < 0:
        raise Aborted(f"the command was killed by {signal_name(-done.exitcode)}", data=data)
    if done.exitcode:
        raise Aborted(f"the command failed with exit code {done.exitcode}", data=data)
    return data


def _folder(settings: Settings) -> Path:
    if "jobs" in settings:
        return Path(settings["jobs"])
    return Path("/var/lib/collective/shell") if os.geteuid() == 0 else user_folder("STATE") / "shell"


def _downloaded(url: str, seconds: float) -> str:
    from collective.agents import _downloads  # urllib.request is slow to import, and few calls download a script

    return _downloads.script(url, seconds)
