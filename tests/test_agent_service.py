"""The service agent with fake systemd commands, and with scripts for init scripts and OpenRC."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from support.agent_cases import load, perform

from collective.agent import Aborted
from collective.agents import _services, service
from collective.testing import fake_commands

# An init script as small as can be: `up` beside it is the state; a file `dies` lets it fall over once it is up.
INIT = """#!/bin/sh
here=$(dirname "$0")/state
case $1 in
start) touch "$here/up"; echo starting;;
stop) rm -f "$here/up";;
restart|reload) touch "$here/up";;
status) test -e "$here/up" || exit 3; test ! -e "$here/dies" || rm "$here/up";;
*) exit 2;;
esac
"""


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "WATCH_TIME", 0.05)
    monkeypatch.setattr(service, "PAUSE", 0.01)


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Create the init script `small` with a fake `service` or `rc-service`; return the folder of its state."""
    scripts, commands = tmp_path / "init.d", tmp_path / "bin"
    for folder in (scripts / "state", commands, tmp_path / "rc3.d"):
        folder.mkdir(parents=True)
    (scripts / "small").write_text(INIT)
    (scripts / "small").chmod(0o755)
    for name in ("service", "rc-service"):
        (commands / name).write_text(f'#!/bin/sh\nexec {scripts}/$1 "$2"\n')
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:/usr/bin:/bin")
    monkeypatch.setattr(_services, "INIT_SCRIPTS", scripts)
    monkeypatch.setattr(_services, "RUN_LEVELS", tmp_path)
    return scripts / "state"


def call(action: str, provider: str = "sysv") -> dict[str, Any]:
    deadline = time.monotonic() + 10
    return dict(getattr(service, action)("small", settings={"provider": provider}, deadline=deadline))


@pytest.mark.parametrize("case", load("service"), ids=lambda case: case["id"])
def test_case(case: dict[str, Any]) -> None:
    """Each case in tests/cases/service returns the expected reply."""
    perform(service, case)


@pytest.mark.parametrize("provider", ["sysv", "openrc"])
def test_an_init_script_from_start_to_stop(provider: str, state: Path) -> None:
    """State and `changed` are correct through start, second start, restart, reload and stop."""
    with fake_commands({"rc-update": {"stdout": " small | default\n"}}):
        assert call("status", provider)["status"] == "stopped"
        assert call("start", provider)["changed"] is True
        again = call("start", provider)
        assert (again["status"], again["changed"]) == ("running", False)
        assert call("restart", provider)["changed"] is True
        assert call("reload", provider)["status"] == "running"
        stopped = call("stop", provider)
        assert (stopped["status"], stopped["changed"]) == ("stopped", True)
        assert call("stop", provider)["changed"] is False


def test_a_service_that_stops_at_once_is_a_failure(state: Path) -> None:
    """If a service ends just after a successful start, the reply is a failure with its last output."""
    (state / "dies").touch()
    with pytest.raises(Aborted, match=r"^service 'small' is stopped after start: starting$"):
        call("start")


def test_run_level_links_decide_what_is_enabled(state: Path, tmp_path: Path) -> None:
    """A service with a link S..NAME in a run level is enabled; update-rc.d creates the link."""
    with fake_commands({"update-rc.d": {}}) as calls:
        with pytest.raises(Aborted, match=r"^cannot enable service 'small'"):
            call("enable")
        (tmp_path / "rc3.d" / "S01small").touch()
        assert call("enable") == {"status": "stopped", "enabled": True, "changed": False}
    assert calls() == [["update-rc.d", "small", "defaults"], ["update-rc.d", "small", "enable"]]


def test_a_service_that_cannot_be_stopped_is_a_failure(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a service still runs after a successful stop command, the reply is a failure."""
    (state.parent / "small").write_text("#!/bin/sh\nexit 0\n")
    deadline = time.monotonic() + _services.MARGIN + 0.3
    with pytest.raises(Aborted, match=r"^service 'small' still runs after stop"):
        service.stop("small", settings={"provider": "sysv"}, deadline=deadline)


def test_the_service_manager_is_detected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only as the init system is systemd used, then OpenRC, then init scripts; without any the action fails."""
    monkeypatch.setattr(service, "SYSTEMD_RUNS", tmp_path / "none")
    with fake_commands({"systemctl": {}, "rc-service": {}, "service": {}}, only=True):
        assert service.choose({}) is service.MANAGERS["openrc"]
        monkeypatch.setattr(service, "SYSTEMD_RUNS", tmp_path)
        assert service.choose({}) is service.MANAGERS["systemd"]
    with fake_commands({"true": {}}, only=True), pytest.raises(Aborted, match="no supported service manager"):
        service.choose({})
