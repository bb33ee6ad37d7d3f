"""Run a rollout in the background: hand it over to a process of its own, which takes it like any other caller.

    crpc AGENT ACTION --detach ── begin, lease released ──► record ◄── crpc run take ID ── a process without a terminal

The process writes what it prints to a file in the folder `runs` of this caller's state.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collective.clients import output, run_records
from collective.clients.output import Output
from collective.clients.streams import notice
from collective.errors import ConfigError, UsageError
from collective.exit_codes import OK

if TYPE_CHECKING:
    import subprocess

    from collective.config import ClientConfig
    from collective.fleet.confirmation import Confirm
    from collective.fleet.fleet import Fleet
    from collective.fleet.gates import Gates
    from collective.fleet.plan import CallPlan
    from collective.fleet.steering.run_log import RunEntry, RunStore

_PATIENCE = 60.0  # seconds for the process to begin
_LOOK = 0.2  # seconds between two looks at the record
# Not `-m collective`, with which Python imports modules from the current folder: others may be able to write there.
_CODE = "import sys; sys.path[:] = {path!r}; from collective.clients.crpc import main; sys.exit(main())"


@dataclass(frozen=True)
class Handover:
    """What the process that takes a run is given: its secret inputs, and the signature of the plan that was confirmed.

    `confirmed` is None if there was no question.
    """

    secrets: Mapping[str, Any]
    confirmed: str | None = None


def add_option(parser: argparse._ActionsContainer) -> None:
    """Add `--detach`."""
    parser.add_argument(
        "--detach", action="store_true", help="go on in the background: 'crpc run' lists, pauses, stops and takes it"
    )


def check(args: argparse.Namespace) -> None:
    """Raise UsageError for options that need this process, or have no meaning without it."""
    if not getattr(args, "detach", False):
        return
    for option in ("watch", "until", "no_results", "live", "no_save"):
        if getattr(args, option, None) not in (None, False):
            raise UsageError(f"--detach: not allowed with --{option.replace('_', '-')}")


def check_gates(gates: Gates) -> None:
    """Raise UsageError for a gate that asks a person."""
    if not all(gate.unattended for gate in gates.gates):
        raise UsageError("--detach: not allowed with --gate ask, which needs a terminal (pause it: crpc run pause)")


def hand_over(
    args: argparse.Namespace, fleet: Fleet, plan: CallPlan, confirm: Confirm | None, retry_of: str | None = None
) -> int:
    """Write a planned call to a record, and start the process that takes it; return the exit code.

    `retry_of` is the ID of the run that the call retries.
    """
    config = fleet.config
    shared = run_records.is_shared(config, detached=True)
    record = run_records.steered(config, plan, shared=shared, retry_of=retry_of)
    run = fleet.hand_over(plan, record, confirm=confirm)
    secrets = {name: value for name, value in plan.data.items() if name in plan.action.secrets}
    return spawn(args, config, run_records.store(config, shared=shared), run, Handover(secrets))


def spawn(args: argparse.Namespace, config: ClientConfig, store: RunStore, run: str, handover: Handover) -> int:
    """Start the process that takes a run, wait until it has it, and print the ID of the run."""
    log = run_records.folder(config).path / f"{run}.log"
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    passed = {"secrets": dict(handover.secrets), "confirmed": handover.confirmed}
    process = _start(command(args, run), log, {**passed, **_notifying(args)})
    entry = _wait(store, run, process, log)
    document = {"run": run, "process": process.pid, "log": str(log), "state": entry.state}
    output.show(args, Output("run-detached", document, list(document), [list(document.values())], lambda: f"{run}\n"))
    if not getattr(args, "quiet", False):
        notice(f"run {run[:8]} goes on in the background: 'crpc run show {run[:8]}' prints its results")
    return OK


def read_handover(args: argparse.Namespace, config: ClientConfig, call: Mapping[str, Any]) -> Handover:
    """Return the secret inputs of a run: those of the command line, or of the process that has started this one.

    That process has also passed what was confirmed, and where to notify, which becomes the options of this one.
    """
    if args.in_background:
        passed = json.loads(sys.stdin.read() or "{}")
        args.notify = [*args.notify, *passed.get("notify", ())]
        args.notify_template = Path(passed["notify_template"]) if passed.get("notify_template") else None
        return Handover(dict(passed.get("secrets", {})), passed.get("confirmed"))
    if not args.words:
        return Handover({})
    from collective.catalog import Catalog
    from collective.clients.inputs import read_inputs

    return Handover(read_inputs(args.words, Catalog(config.ddls).action(call["agent"], call["action"])))


def command(args: argparse.Namespace, run: str) -> list[str]:
    """Return the command line of the process that takes a run. It imports from where this process does."""
    code = _CODE.format(path=[folder for folder in sys.path if Path(folder).is_absolute()])
    words = [sys.executable, "-c", code, "run", "take", run, "--in-background"]
    words += ["--config", str(args.config)] if args.config else []
    return words + (["--target", args.target] if args.target else [])


def _notifying(args: argparse.Namespace) -> dict[str, Any]:
    """Return where to notify. It is not passed as options, which everyone on this machine can see: URLs hold tokens."""
    template = args.notify_template
    return {"notify": list(args.notify), "notify_template": str(template.absolute()) if template else None}


def _start(words: list[str], log: Path, passed: Mapping[str, Any]) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own, so that the end of this terminal does not end it."""
    import subprocess

    try:
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(f"{log}: {error.strerror} (set 'state' in client.yaml)") from None
    try:
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=file, stderr=file, start_new_session=True)
    finally:
        os.close(file)
    assert process.stdin is not None  # noqa: S101 - because of stdin=PIPE
    with suppress(BrokenPipeError), process.stdin as pipe:  # a process that has already ended is reported by `_wait`
        pipe.write(json.dumps(passed).encode())
    return process


def _wait(store: RunStore, run: str, process: subprocess.Popen[bytes], log: Path) -> RunEntry:
    """Wait until a process has taken a run, or has already ended it. Raises ConfigError when it fails."""
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        has_ended = process.poll() is not None  # before the look at the record, which has its last events then
        entry = next((one for one in store.runs() if one.run == run), None)
        if entry and (entry.end or (entry.holder and entry.holder.process == process.pid and entry.is_running())):
            return entry
        if has_ended:
            break
        time.sleep(_LOOK)
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    why = lines[-1].removeprefix("crpc: ") if lines else f"exit code {process.returncode}"
    raise ConfigError(f"run {run[:8]}: the process in the background has not begun: {why} (crpc run take {run[:8]})")
