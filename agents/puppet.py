"""Run the Puppet agent of a node, and show its state and its last run.

`runonce` starts a run in the background and returns at once: a run takes minutes. `status` tells when it has ended.
`crpc puppet runall N` runs all nodes, N at a time.

Settings: `command`, the path of puppet (default: the one in PATH, or /opt/puppetlabs/bin/puppet).
A dry run of `runonce`, `enable` or `disable` reports what would be done; `noop=true` of `runonce` is Puppet's own.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from collective.agent import Aborted, Reply, Settings, action, run, time_left
from collective.agents import _puppet
from collective.agents._puppet import PuppetState, number
from collective.run_as import as_user

PACKAGED = "/opt/puppetlabs/bin/puppet"
_MOST = 500  # resources in one reply
_SETTLE = 0.5  # seconds in which a run that cannot start has failed
_COUNTS = {
    "total_resources": ("resources", "total"),
    "changed_resources": ("resources", "changed"),
    "failed_resources": ("resources", "failed"),
    "out_of_sync_resources": ("resources", "out_of_sync"),
    "corrected_resources": ("resources", "corrective_change"),
    "config_retrieval_time": ("time", "config_retrieval"),
    "total_time": ("time", "total"),
}


@action
def status(*, settings: Settings, deadline: float) -> Reply:
    """Return whether runs are enabled, whether one is going on, and when the last one was."""
    return _status(_state(settings, deadline))


@action
def runonce(
    noop: bool = False,
    environment: str | None = None,
    tags: str | None = None,
    server: str | None = None,
    splay: bool = False,
    *,
    settings: Settings,
    deadline: float,
    dry_run: bool = False,
) -> Reply:
    """Start a run in the background."""
    state = _state(settings, deadline)
    if state.applying:
        raise Aborted("Puppet is applying a catalog already", data=_status(state))
    if state.disabled is not None:
        raise Aborted(f"Puppet is disabled: {state.disabled}", data=_status(state))
    host, port = _puppet.address(server)  # masterport: known to old versions, and to new ones as an alias
    options = {"noop": noop, "environment": environment, "tags": tags, "server": host, "masterport": port}
    options["splay"] = splay
    line = [_command(settings), "agent", "--onetime", "--no-daemonize", "--color=false", *_puppet.arguments(options)]
    if dry_run:
        return {"would_run": shlex.join(line)}
    began = int(time.time())
    _start(line)
    return {"initiated_at": began, "summary": f"started in the background: {shlex.join(line)}"}


@action
def enable(*, settings: Settings, deadline: float, dry_run: bool = False) -> Reply:
    """Allow runs again."""
    return _set_disabled(None, settings, deadline, dry_run)


@action
def disable(message: str, *, settings: Settings, deadline: float, dry_run: bool = False) -> Reply:
    """Prevent runs, with a reason."""
    return _set_disabled(message, settings, deadline, dry_run)


@action
def last_run_summary(*, settings: Settings, deadline: float) -> Reply:
    """Return the counts and the duration of the last run."""
    found = _state(settings, deadline).last_run()
    if not found:
        raise Aborted("Puppet has not run yet on this node (there is no summary of a run)")
    last = int(number(found, "time", "last_run"))
    version = found.get("version")
    return {
        **{name: round(number(found, *keys), 3) for name, keys in _COUNTS.items()},
        "config_version": str(version.get("config", "")) if isinstance(version, dict) else "",
        "lastrun": last,
        "since_lastrun": max(0, int(time.time()) - last),
    }


@action
def resources(only: str = "changed", *, settings: Settings, deadline: float) -> Reply:
    """List the resources of the last run that changed, failed, or were out of sync."""
    found = sorted(name for name, status in _state(settings, deadline).resources() if status.get(only) is True)
    return {"count": len(found), "resources": found[:_MOST], "truncated": len(found) > _MOST}


def _status(state: PuppetState) -> Reply:
    disabled, applying = state.disabled, state.applying
    last = int(number(state.last_run(), "time", "last_run"))
    words = "applying a catalog" if applying else "idling" if disabled is None else f"disabled: {disabled}"
    return {
        "enabled": disabled is None,
        "disable_message": disabled or "",
        "applying": applying,
        "lastrun": last,
        "since_lastrun": max(0, int(time.time()) - last) if last else None,
        "status": words,
    }


def _set_disabled(message: str | None, settings: Settings, deadline: float, dry_run: bool) -> Reply:
    state = _state(settings, deadline)
    before = state.disabled
    changed = before != message
    if changed and not dry_run:
        option = ["--enable"] if message is None else ["--disable", message]
        done = run([_command(settings), "agent", *option], timeout=time_left(deadline))
        if state.disabled != message:
            output = (done.stderr + done.stdout).strip() or f"exit code {done.exitcode}"
            raise Aborted(f"puppet agent {option[0]} failed: {output.splitlines()[-1]}", data=_status(state))
    return _status(state) | {"changed": changed}


def _start(line: list[str]) -> None:
    """Start a run that outlives this action; raise Aborted if it ends at once with an error."""
    try:
        process = subprocess.Popen(
            line,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
            **as_user(None),
        )
    except OSError as error:
        raise Aborted(f"cannot run '{line[0]}': {error.strerror}") from None
    try:
        code = process.wait(_SETTLE)
    except subprocess.TimeoutExpired:
        process.returncode = 0  # not waited for: it outlives this action
        return
    if code not in (0, 2):  # 2: changes were applied (puppet-agent(8), --detailed-exitcodes)
        raise Aborted(f"puppet agent ended at once with exit code {code}")


def _state(settings: Settings, deadline: float) -> PuppetState:
    return PuppetState.find(_command(settings), time_left(deadline))


def _command(settings: Settings) -> str:
    found: Any = settings.get("command") or shutil.which("puppet") or PACKAGED
    if not Path(str(found)).is_file():
        raise Aborted("this node has no Puppet (settings/puppet.yaml: command)")
    return str(found)
