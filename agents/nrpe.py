"""Run the checks in the node's NRPE configuration, as the NRPE daemon would.

Settings: `config`, the path of NRPE's configuration file (/etc/nagios/nrpe.cfg), and `allow_arguments` (false), whether
callers can set `$ARG1$` and so on. Command lines come from the node and run with /bin/sh; arguments of callers are
quoted.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from collective.agent import Aborted, Reply, Settings, action, run, time_left
from collective.agents import _nrpe

STATES = {0: "OK", 1: "WARNING", 2: "CRITICAL", 3: "UNKNOWN"}
UNKNOWN = 3
PARALLEL_CHECKS = 8  # of runallcommands, so that a hanging check does not delay all others


@action
def runcommand(command: str, args: str | None = None, *, settings: Settings, deadline: float) -> Reply:
    """Run one check; any result but OK is raised as Aborted, so that clients show it."""
    checks = _checks(settings)
    line = checks.get(command)
    if line is None:
        result = _unknown(f"No such command: {command}")
    elif args and settings.get("allow_arguments") is not True:
        result = _unknown("arguments are not allowed on this node (set allow_arguments: true in the settings of nrpe)")
    else:
        result = _checked(line, args.split("!") if args else [], deadline)
    result["command"] = command
    if result["exitcode"] != 0:
        raise Aborted(STATES.get(result["exitcode"], STATES[UNKNOWN]), data=result)
    return result


@action
def runallcommands(*, settings: Settings, deadline: float) -> Reply:
    """Run all checks."""
    checks = _checks(settings)
    with ThreadPoolExecutor(PARALLEL_CHECKS) as pool:
        results = pool.map(lambda line: _checked(line, [], deadline), checks.values())
        return {"commands": dict(zip(checks, results, strict=True))}


def _checks(settings: Settings) -> dict[str, str]:
    return _nrpe.read(Path(settings.get("config", _nrpe.CONFIG)))


def _checked(line: str, values: list[str], deadline: float) -> Reply:
    try:
        filled = _nrpe.fill(line, values)
    except ValueError as error:
        return _unknown(str(error))
    allowed = time_left(deadline)
    done = run(["/bin/sh", "-c", filled], timeout=allowed)
    if done.timed_out:
        return _unknown(f"the check was killed after {allowed:.0f} s")
    output, perfdata = _nrpe.split(done.stdout)
    # For a missing plugin the shell's message is on standard error.
    return {"exitcode": done.exitcode, "output": output or done.stderr.strip(), "perfdata": perfdata}


def _unknown(output: str) -> Reply:
    return {"exitcode": UNKNOWN, "output": output, "perfdata": ""}
