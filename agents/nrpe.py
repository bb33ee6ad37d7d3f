"""Run the checks in the node's NRPE configuration, as the NRPE daemon would.

Checks run as NRPE's user and group, with NRPE's timeout and environment. Command lines come from the node; arguments
of callers are quoted.

Settings: `config`, the path of NRPE's configuration file (/etc/nagios/nrpe.cfg); `allow_arguments`, whether callers can
set `$ARG1$` and so on, by default as `dont_blame_nrpe` in NRPE's configuration; `user`, the user of checks, by default
`nrpe_user`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from collective.agent import Aborted, InvalidInput, Reply, Settings, action, check, run, time_left
from collective.agents import _nrpe, _nrpe_config
from collective.suggestions import suggest

STATES = {0: "OK", 1: "WARNING", 2: "CRITICAL", 3: "UNKNOWN"}
UNKNOWN = 3
PARALLEL_CHECKS = 8  # of runallcommands, so that a hanging check does not delay all others
OUTPUT_LIMIT = 64 * 1024  # bytes of a check's output, as in NRPE


@dataclass(frozen=True)
class Checks:
    """The node's checks, and how they run."""

    config: _nrpe_config.NrpeConfig
    user: str | None
    group: int | None
    arguments_allowed: bool


@action
def runcommand(command: str, args: str | None = None, *, settings: Settings, deadline: float) -> Reply:
    """Run one check; any result but OK is raised as Aborted, so that clients show it."""
    checks = _read(settings)
    if command not in checks.config.checks:
        hint = suggest(command, checks.config.checks)
        result = _unknown(f"No such command: {command}" + (f" ({hint})" if hint else ""))
    elif args and not checks.arguments_allowed:
        hint = "set 'allow_arguments: true' in settings/nrpe.yaml, or dont_blame_nrpe=1 in NRPE's configuration"
        result = _unknown(f"arguments are not allowed on this node ({hint})")
    else:
        result = _run_check(checks, command, args.split("!") if args else [], deadline)
    result["command"] = command
    if result["exitcode"] != 0:
        raise Aborted(STATES.get(result["exitcode"], STATES[UNKNOWN]), data=result)
    return result


@action
def runallcommands(*, settings: Settings, deadline: float) -> Reply:
    """Run all checks."""
    checks = _read(settings)
    names = list(checks.config.checks)
    with ThreadPoolExecutor(min(PARALLEL_CHECKS, checks.config.max_commands or PARALLEL_CHECKS)) as pool:
        results = pool.map(lambda name: _run_check(checks, name, [], deadline), names)
        return {"commands": dict(zip(names, results, strict=True))}


@check
def configuration(settings: Settings) -> Iterator[str]:
    """Yield the lines of NRPE's configuration that have no effect, and what keeps checks from running."""
    path = Path(settings.get("config", _nrpe_config.CONFIG))
    if not path.exists() and "config" not in settings:
        return  # a node without NRPE
    try:
        yield from _nrpe_config.read(path).problems
        _read(settings)
    except Aborted as error:
        yield str(error)


def _read(settings: Settings) -> Checks:
    config = _nrpe_config.read(Path(settings.get("config", _nrpe_config.CONFIG)))
    user, group = _nrpe_config.identity(config, settings.get("user"))
    return Checks(config, user, group, settings.get("allow_arguments", config.allow_arguments) is True)


def _run_check(checks: Checks, name: str, values: list[str], deadline: float) -> Reply:
    config = checks.config
    refused = sorted({character for value in values for character in value if character in config.refused})
    if refused:
        return _unknown(f"an argument contains {refused[0]!r}, which nasty_metachars refuses on this node")
    allowed = min(config.timeout, time_left(deadline))
    kept = {key: value for key, value in os.environ.items() if key.startswith(config.kept_variables or ("NRPE_",))}
    environment = {**kept, "NRPE_MULTILINESUPPORT": "1"}
    try:
        command = _nrpe.command(config.line(name), values)
        done = run(
            command,
            timeout=allowed,
            cwd="/",
            env=environment,
            user=checks.user,
            group=checks.group,
            keep=OUTPUT_LIMIT,
        )
    except (ValueError, Aborted, InvalidInput) as error:
        return _unknown(str(error))
    if done.timed_out:
        return _unknown(f"the check was killed after {allowed:.0f} s")
    output, perfdata = _nrpe.split(done.stdout)
    exitcode = done.exitcode if done.exitcode >= 0 else 128 - done.exitcode  # as a shell shows a signal
    if output or perfdata:
        return {"exitcode": exitcode, "output": output, "perfdata": perfdata}
    # For a missing plugin the shell's message is on standard error. NRPE itself reads standard output only.
    reason = done.stderr.strip()
    message = f"Unable to read output: {reason}" if reason and not exitcode else reason or "Unable to read output"
    return {"exitcode": exitcode or UNKNOWN, "output": message, "perfdata": ""}


def _unknown(output: str) -> Reply:
    return {"exitcode": UNKNOWN, "output": output, "perfdata": ""}
