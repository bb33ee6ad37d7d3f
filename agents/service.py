"""Look after services, with the service manager that this node has.

The state in an answer is read after the action has settled. Asking for what is so already is success with
`changed: false`. Settings: `provider` forces one of `MANAGERS`.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from collective.agent import Aborted, Completed, Reply, Settings, action
from collective.agents._services import MARGIN, Manager, OpenRC, State, Systemd, SysV

MANAGERS: dict[str, Manager] = {"systemd": Systemd(), "openrc": OpenRC(), "sysv": SysV()}
SYSTEMD_RUNS = Path("/run/systemd/system")  # sd_booted(3): there when systemd is the init of this node
WATCHED = 1.0  # seconds that a service must stay up after its start
PAUSE = 0.2  # seconds between two looks


@action
def status(service: str, *, settings: Settings, deadline: float) -> Reply:
    """Tell whether a service runs, and whether it starts with the node."""
    return _data(_settled(choose(settings), service, deadline))


@action
def start(service: str, *, settings: Settings, deadline: float) -> Reply:
    """Start a service; one that dies at once is a failure."""
    manager = choose(settings)
    before = _settled(manager, service, deadline)
    if before.status == "running":
        return _data(before) | {"changed": False}
    return _started(manager, "start", service, deadline)


@action
def stop(service: str, *, settings: Settings, deadline: float) -> Reply:
    """Stop a service."""
    manager = choose(settings)
    before = _settled(manager, service, deadline)
    if before.status in ("stopped", "failed"):
        return _data(before) | {"changed": False}
    done = _told(manager, "stop", service, deadline)
    after = _settled(manager, service, deadline, leaving="running")
    if after.status == "running":
        raise _failure(f"'{service}' was stopped and still runs", manager, service, after, done)
    return _data(after) | {"changed": True, "output": done.stdout + done.stderr}


@action
def restart(service: str, *, settings: Settings, deadline: float) -> Reply:
    """Stop a service and start it again; one that dies at once is a failure."""
    manager = choose(settings)
    _settled(manager, service, deadline)
    return _started(manager, "restart", service, deadline)


@action
def reload(service: str, *, settings: Settings, deadline: float) -> Reply:
    """Have a service read its configuration again."""
    manager = choose(settings)
    before = _settled(manager, service, deadline)
    if before.status != "running":
        raise Aborted(f"'{service}' is {before.status}: only what runs can reload: start it", data=_data(before))
    return _started(manager, "reload", service, deadline)


@action
def enable(service: str, *, settings: Settings, deadline: float) -> Reply:
    """Have a service started with the node."""
    return _set_enabled("enable", service, settings, deadline)


@action
def disable(service: str, *, settings: Settings, deadline: float) -> Reply:
    """Have a service no longer started with the node."""
    return _set_enabled("disable", service, settings, deadline)


def choose(settings: Settings) -> Manager:
    """Return the manager that the settings force, or the one that runs this node; else raise Aborted."""
    forced = settings.get("provider")
    if forced is not None:
        if forced not in MANAGERS:
            raise Aborted(f"settings: provider: there is no '{forced}': there are {', '.join(MANAGERS)}")
        return MANAGERS[forced]
    if SYSTEMD_RUNS.is_dir() and shutil.which("systemctl"):
        return MANAGERS["systemd"]
    if shutil.which("rc-service"):
        return MANAGERS["openrc"]
    if shutil.which("service"):
        return MANAGERS["sysv"]
    raise Aborted(f"this node has no service manager that collective knows: {', '.join(MANAGERS)}")


def _started(manager: Manager, verb: str, service: str, deadline: float) -> Reply:
    done = _told(manager, verb, service, deadline)
    after = _watched(manager, service, deadline)
    if after.status != "running" and not after.well:
        raise _failure(f"'{service}' was told to {verb} and is {after.status}", manager, service, after, done)
    return _data(after) | {"changed": True, "output": done.stdout + done.stderr}


def _set_enabled(verb: str, service: str, settings: Settings, deadline: float) -> Reply:
    manager = choose(settings)
    before = _settled(manager, service, deadline)
    wanted = verb == "enable"
    if before.enabled == wanted:
        return _data(before) | {"changed": False}
    done = _told(manager, verb, service, deadline)
    after = manager.state(service, deadline)
    if after.enabled != wanted:
        raise _failure(f"'{service}' cannot be {verb}d", manager, service, after, done)
    return _data(after) | {"changed": True, "output": done.stdout + done.stderr}


def _told(manager: Manager, verb: str, service: str, deadline: float) -> Completed:
    done = manager.tell(verb, service, deadline)
    if done.exitcode != 0:
        after = manager.state(service, deadline)
        raise _failure(f"{verb} of '{service}' failed with exit code {done.exitcode}", manager, service, after, done)
    return done


def _settled(manager: Manager, service: str, deadline: float, leaving: str = "") -> State:
    """Return the state once it is neither changing nor `leaving`, or as it is when the time is up."""
    while True:
        state = manager.state(service, deadline)
        busy = state.changing or state.status == leaving
        if not busy or time.monotonic() + PAUSE > deadline - MARGIN:
            return state
        time.sleep(PAUSE)


def _watched(manager: Manager, service: str, deadline: float) -> State:
    """Return the state after the service had time to die."""
    until = min(time.monotonic() + WATCHED, deadline - MARGIN)
    while True:
        last = time.monotonic() >= until  # before the look, which on a busy machine may take as long as the watch
        state = _settled(manager, service, deadline)
        if state.status == "failed" or last:
            return state
        time.sleep(PAUSE)


def _failure(message: str, manager: Manager, service: str, state: State, done: Completed) -> Aborted:
    said = done.stdout + done.stderr + manager.log(service)
    last = next((line.strip() for line in reversed(said.splitlines()) if line.strip()), "it said nothing")
    return Aborted(f"{message}: {last}", data=_data(state) | {"output": said})


def _data(state: State) -> Reply:
    return {"status": state.status, "enabled": state.enabled}
