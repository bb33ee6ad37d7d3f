"""Start, stop and enable services with the node's service manager.

The state in a reply is read after the service has settled. If the service is already in the wanted state, the action
succeeds with `changed: false`. A dry run returns the current state, and whether it would be changed.

Settings: `provider`, the name of one of `MANAGERS`.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from collective.agent import Aborted, Completed, Reply, Settings, action
from collective.agents._services import MARGIN, Manager, OpenRC, State, Systemd, SysV

MANAGERS: dict[str, Manager] = {"systemd": Systemd(), "openrc": OpenRC(), "sysv": SysV()}
SYSTEMD_RUNS = Path("/run/systemd/system")  # exists if systemd is the init system (sd_booted(3))
WATCH_TIME = 1.0  # seconds that a service must stay up after its start
PAUSE = 0.2  # seconds between two state queries


@action
def status(service: str, *, settings: Settings, deadline: float) -> Reply:
    """Return whether a service runs, and whether it starts at boot."""
    return _data(_settled(choose(settings), service, deadline))


@action
def start(service: str, *, settings: Settings, deadline: float, dry_run: bool = False) -> Reply:
    """Start a service; fails if it stops again at once."""
    manager = choose(settings)
    before = _settled(manager, service, deadline)
    if before.status == "running" or dry_run:
        return _data(before) | {"changed": before.status != "running"}
    return _started(manager, "start", service, deadline)


@action
def stop(service: str, *, settings: Settings, deadline: float, dry_run: bool = False) -> Reply:
    """Stop a service."""
    manager = choose(settings)
    before = _settled(manager, service, deadline)
    down = before.status in ("stopped", "failed")
    if down or dry_run:
        return _data(before) | {"changed": not down}
    done = _execute(manager, "stop", service, deadline)
    after = _settled(manager, service, deadline, leaving="running")
    if after.status == "running":
        raise _failure(f"service '{service}' still runs after stop", manager, service, after, done)
    return _data(after) | {"changed": True, "output": done.stdout + done.stderr}


@action
def restart(service: str, *, settings: Settings, deadline: float, dry_run: bool = False) -> Reply:
    """Restart a service; fails if it stops again at once."""
    manager = choose(settings)
    before = _settled(manager, service, deadline)
    if dry_run:
        return _data(before) | {"changed": True}
    return _started(manager, "restart", service, deadline)


@action
def reload(service: str, *, settings: Settings, deadline: float, dry_run: bool = False) -> Reply:
    """Reload the configuration of a service."""
    manager = choose(settings)
    before = _settled(manager, service, deadline)
    if before.status != "running":
        raise Aborted(f"cannot reload service '{service}': it is {before.status} (start it)", data=_data(before))
    if dry_run:
        return _data(before) | {"changed": True}
    return _started(manager, "reload", service, deadline)


@action
def enable(service: str, *, settings: Settings, deadline: float, dry_run: bool = False) -> Reply:
    """Enable a service at boot."""
    return _set_enabled("enable", service, settings, deadline, dry_run)


@action
def disable(service: str, *, settings: Settings, deadline: float, dry_run: bool = False) -> Reply:
    """Have a service no longer started with the node."""
    return _set_enabled("disable", service, settings, deadline, dry_run)


def choose(settings: Settings) -> Manager:
    """Return the manager that the settings force, or the one that runs this node; else raise Aborted."""
    forced = settings.get("provider")
    if forced is not None:
        if forced not in MANAGERS:
            raise Aborted(
                f"settings/service.yaml: provider: unknown provider '{forced}' (providers: {', '.join(MANAGERS)})"
            )
        return MANAGERS[forced]
    if SYSTEMD_RUNS.is_dir() and shutil.which("systemctl"):
        return MANAGERS["systemd"]
    if shutil.which("rc-service"):
        return MANAGERS["openrc"]
    if shutil.which("service"):
        return MANAGERS["sysv"]
    raise Aborted(f"this node has no supported service manager ({', '.join(MANAGERS)})")


def _started(manager: Manager, verb: str, service: str, deadline: float) -> Reply:
    done = _execute(manager, verb, service, deadline)
    after = _watch(manager, service, deadline)
    if after.status != "running" and not after.completed:
        raise _failure(f"service '{service}' is {after.status} after {verb}", manager, service, after, done)
    return _data(after) | {"changed": True, "output": done.stdout + done.stderr}


def _set_enabled(verb: str, service: str, settings: Settings, deadline: float, dry_run: bool) -> Reply:
    manager = choose(settings)
    before = _settled(manager, service, deadline)
    enabled = verb == "enable"
    if before.enabled == enabled or dry_run:
        return _data(before) | {"changed": before.enabled != enabled}
    done = _execute(manager, verb, service, deadline)
    after = manager.state(service, deadline)
    if after.enabled != enabled:
        raise _failure(f"cannot {verb} service '{service}'", manager, service, after, done)
    return _data(after) | {"changed": True, "output": done.stdout + done.stderr}


def _execute(manager: Manager, verb: str, service: str, deadline: float) -> Completed:
    done = manager.execute(verb, service, deadline)
    if done.exitcode != 0:
        after = manager.state(service, deadline)
        raise _failure(
            f"{verb} of service '{service}' failed with exit code {done.exitcode}", manager, service, after, done
        )
    return done


def _settled(manager: Manager, service: str, deadline: float, leaving: str = "") -> State:
    """Wait until the state is neither changing nor `leaving`, at most until the deadline, and return it."""
    while True:
        state = manager.state(service, deadline)
        busy = state.changing or state.status == leaving
        if not busy or time.monotonic() + PAUSE > deadline - MARGIN:
            return state
        time.sleep(PAUSE)


def _watch(manager: Manager, service: str, deadline: float) -> State:
    """Return the state after a short time in which a broken service would fail."""
    until = min(time.monotonic() + WATCH_TIME, deadline - MARGIN)
    while True:
        last = time.monotonic() >= until  # before the query, which can take long on a busy machine
        state = _settled(manager, service, deadline)
        if state.status == "failed" or last:
            return state
        time.sleep(PAUSE)


def _failure(message: str, manager: Manager, service: str, state: State, done: Completed) -> Aborted:
    output = done.stdout + done.stderr + manager.log(service)
    last = next((line.strip() for line in reversed(output.splitlines()) if line.strip()), "no output")
    return Aborted(f"{message}: {last}", data=_data(state) | {"output": output})


def _data(state: State) -> Reply:
    return {"status": state.status, "enabled": state.enabled}
