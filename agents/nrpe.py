"""Run the checks that NRPE is configured with, as its daemon would.

Settings: `config`, the path of NRPE's own file (/etc/nagios/nrpe.cfg), and `allow_arguments` (false): whether
callers may fill `$ARG1$` and so on. Command lines are the node's own, for /bin/sh; what callers send is
quoted.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from collective.agent import Aborted, Reply, Settings, action, run, time_left
from collective.agents import _nrpe

STATES = {0: "OK", 1: "WARNING", 2: "CRITICAL", 3: "UNKNOWN"}
UNKNOWN = 3
AT_ONCE = 8  # checks of runallcommands; one that hangs takes no other along


@action
def runcommand(command: str, args: str | None = None, *, settings: Settings, deadline: float) -> Reply:
    """Run one configured check; anything but OK aborts, so that clients show it."""
    checks = _checks(settings)
    line = checks.get(command)
    if line is None:
        result = _unknown(f"No such command: {command}")
    elif args and settings.get("allow_arguments") is not True:
        result = _unknown("arguments are not allowed on this node: its settings must say allow_arguments: true")
    else:
        result = _checked(line, args.split("!") if args else [], deadline)
    result["command"] = command
    if result["exitcode"] != 0:
        raise Aborted(STATES.get(result["exitcode"], STATES[UNKNOWN]), data=result)
    return result


@action
def runallcommands(*, settings: Settings, deadline: float) -> Reply:
    """Run every configured check."""
    checks = _checks(settings)
    with ThreadPoolExecutor(AT_ONCE) as pool:
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
        return _unknown(f"the check was ended after {allowed:.0f} s")
    output, perfdata = _nrpe.split(done.stdout)
    # A plugin that is not there says so on standard error only.
    return {"exitcode": done.exitcode, "output": output or done.stderr.strip(), "perfdata": perfdata}


def _unknown(output: str) -> Reply:
    return {"exitcode": UNKNOWN, "output": output, "perfdata": ""}
