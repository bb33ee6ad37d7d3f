"""Service managers: query the state of services and change it.

service.py ── Manager ──┬── Systemd    systemctl
                        ├── OpenRC     rc-service, rc-update
                        └── SysV       service, update-rc.d or chkconfig
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from collective.agent import Aborted, Completed, run, time_left

INIT_SCRIPTS = Path("/etc/init.d")
RUN_LEVELS = Path("/etc")  # contains rc2.d … rc5.d
MARGIN = 1.0  # seconds reserved for the reply
_STARTS_AT_BOOT = (
    "enabled",
    "enabled-runtime",
    "alias",
    "static",
    "indirect",
)  # systemctl(1) is-enabled
_CHANGING = ("activating", "deactivating", "reloading", "refreshing", "maintenance")  # systemctl --state=help
_LOG_LINES = "10"


class State(NamedTuple):
    """The state of a service. `status` is running, stopped, failed or unknown; `changing` is true in between.

    `completed` is whether a stopped service ended successfully (oneshot services of systemd).
    """

    status: str
    enabled: bool
    changing: bool = False
    completed: bool = False


class Manager(Protocol):
    """A service manager. `deadline` is in seconds of time.monotonic(); failures are raised as Aborted."""

    def state(self, service: str, deadline: float) -> State:
        """Return the current state of a service; raise Aborted if it does not exist."""

    def execute(self, verb: str, service: str, deadline: float) -> Completed:
        """Start, stop, restart, reload, enable or disable a service; return the result of the command."""

    def log(self, service: str) -> str:
        """Return the last log lines of the service, or an empty string if the manager has none."""


class Systemd:
    """systemd, with systemctl."""

    _STATUS = {  # noqa: RUF012 - never modified
        "active": "running",
        "reloading": "running",
        "refreshing": "running",
        "activating": "unknown",
        "deactivating": "unknown",
        "inactive": "stopped",
        "failed": "failed",
    }

    def state(self, service: str, deadline: float) -> State:
        """Query `systemctl show`, whose output format is stable."""
        properties = "LoadState,ActiveState,SubState,UnitFileState,Result,ConditionResult"
        done = _run(["systemctl", "show", f"--property={properties}", "--", service], deadline)
        if done.exitcode != 0:
            raise Aborted(f"systemctl show failed: {done.stderr.strip()}", data={"output": done.stderr})
        found = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
        if found.get("LoadState") == "not-found":
            raise _no_service(service)
        active, restarting = found.get("ActiveState", ""), found.get("SubState") == "auto-restart"
        return State(
            "failed" if restarting else self._STATUS.get(active, "unknown"),
            self._starts_at_boot(service, found.get("UnitFileState", ""), deadline),
            changing=active in _CHANGING and not restarting,
            # A unit whose conditions do not hold was not started, and `systemctl start` succeeds (systemd.unit(5)).
            completed=active == "inactive"
            and found.get("Result") == "success"
            and found.get("ConditionResult") != "no",
        )

    def _starts_at_boot(self, service: str, state: str, deadline: float) -> bool:
        """Return whether a unit with this UnitFileState starts at boot.

        Units for init scripts are `generated`, whether they start or not: `systemctl is-enabled` looks at the links.
        """
        if state == "generated":
            return _run(["systemctl", "is-enabled", "--", service], deadline).exitcode == 0
        return state in _STARTS_AT_BOOT

    def execute(self, verb: str, service: str, deadline: float) -> Completed:
        """Run `systemctl VERB`."""
        return _run(["systemctl", verb, "--", service], deadline)

    def log(self, service: str) -> str:
        """Return the last lines of the journal."""
        if not shutil.which("journalctl"):
            return ""
        return run(["journalctl", "--no-pager", "-q", "-n", _LOG_LINES, "-u", service], timeout=5).stdout


class SysV:
    """Init scripts, with `service`; exit codes are those of the Linux Standard Base."""

    _STATUS = {0: "running", 1: "failed", 2: "failed", 3: "stopped"}  # noqa: RUF012 - never modified

    def state(self, service: str, deadline: float) -> State:
        """Query the init script."""
        _require_script(service)
        done = _run(["service", service, "status"], deadline)
        links = RUN_LEVELS.glob(f"rc[2-5].d/S[0-9][0-9]{service}")
        return State(self._STATUS.get(done.exitcode, "unknown"), any(links))

    def execute(self, verb: str, service: str, deadline: float) -> Completed:
        """Run the init script, or change its start links."""
        if verb not in ("enable", "disable"):
            return _run(["service", service, verb], deadline)
        if shutil.which("chkconfig"):
            return _run(["chkconfig", service, "on" if verb == "enable" else "off"], deadline)
        made = _run(["update-rc.d", service, "defaults"], deadline)
        return _run(["update-rc.d", service, verb], deadline) if made.exitcode == 0 else made

    def log(self, service: str) -> str:  # noqa: ARG002 - init scripts have no common log
        """Return an empty string."""
        return ""


class OpenRC:
    """OpenRC (Alpine, Gentoo), with rc-service and rc-update."""

    _STATUS = {0: "running", 3: "stopped", 32: "failed"}  # noqa: RUF012 - never modified

    def state(self, service: str, deadline: float) -> State:
        """Query the init script and the run level `default`."""
        _require_script(service)
        done = _run(["rc-service", service, "status"], deadline)
        enabled = _run(["rc-update", "show", "default"], deadline).stdout.split()
        return State(self._STATUS.get(done.exitcode, "unknown"), service in enabled)

    def execute(self, verb: str, service: str, deadline: float) -> Completed:
        """Run the init script, or change its run levels."""
        if verb in ("enable", "disable"):
            return _run(["rc-update", "add" if verb == "enable" else "del", service, "default"], deadline)
        return _run(["rc-service", service, verb], deadline)

    def log(self, service: str) -> str:  # noqa: ARG002 - init scripts have no common log
        """Return an empty string."""
        return ""


def _run(command: Sequence[str], deadline: float) -> Completed:
    done = run(command, timeout=time_left(deadline, MARGIN))
    if done.timed_out:
        raise Aborted(
            f"'{' '.join(command)}' did not end within the action's timeout (check the service on the node)",
            data={"output": done.stdout + done.stderr},
        )
    return done


def _require_script(service: str) -> None:
    if not (INIT_SCRIPTS / service).is_file():
        raise _no_service(service)


def _no_service(service: str) -> Aborted:
    return Aborted(f"service '{service}' does not exist on this node", data={"status": "unknown"})
