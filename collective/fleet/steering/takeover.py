"""Begin a run that others can steer, take a run whose caller has ended, and order what its caller has to do.

begin(…)           open_run for a new call: its first events, signed
take(…)            the lease, a signed takeover in the record: this caller goes on with the run
order(…)           pause, resume or stop, signed, in the record
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from collective.errors import RunRefused, SignatureError, UntrustedKey
from collective.fleet.runs import events, saved_run
from collective.fleet.runs.saved_run import SavedRun
from collective.fleet.steering import run_plan, statements
from collective.fleet.steering.lease import RunLease, boot_clock
from collective.fleet.steering.run_log import Event, Holder, RunEntry, RunLog, RunStore
from collective.fleet.steering.run_state import RunState
from collective.fleet.steering.steered_record import OpenedRun
from collective.messages import new_id
from collective.signing import SignPayload, unsigned

if TYPE_CHECKING:
    from collective.fleet.call import Call
    from collective.fleet.pace import Pace
    from collective.fleet.plan import CallPlan
    from collective.signing.allowed_signers import AllowedSigners


@dataclass(frozen=True)
class Steerer:
    """A caller that steers runs: its name, what signs its statements, and the callers that it trusts to begin runs.

    `trusted` is None where statements are not signed. `signers` are the lines that the runs it begins accept. `file` is
    the name of its file of allowed signers, for hints.
    """

    caller: str
    sign: SignPayload = unsigned
    trusted: AllowedSigners | None = None
    signers: str = ""
    file: str = "allowed_signers"
    host: str = field(default_factory=socket.gethostname)
    now: Callable[[], float] = time.time
    clock: Callable[[], float] = boot_clock

    def holder(self) -> Holder:
        """Return this caller as the holder of a new lease."""
        return Holder(new_id(), self.caller, self.host, os.getpid())

    def signed(self, statement: Mapping[str, Any]) -> dict[str, Any]:
        """Return a statement that this caller has signed, if it has a key."""
        return statements.signed({**statement, "caller": self.caller, "time": self.now()}, self.sign)

    def check(self, plan: Mapping[str, Any]) -> None:
        """Raise UntrustedKey unless this caller trusts the one that began a run."""
        if self.trusted is not None:
            statements.check_plan(plan, self.trusted, self.file)
        elif plan["signature"] is not None:
            raise UntrustedKey(f"'{plan['caller']}' has signed it, and this caller has no key (client.yaml: key)")


@dataclass(frozen=True)
class ReadRun:
    """A run as it was read: `found` are its events, `state` what the statements among them say."""

    entry: RunEntry
    log: RunLog
    found: list[Event]
    state: RunState

    @property
    def run(self) -> SavedRun:
        """The run with all its events."""
        return saved_run.of_events(self.entry, self.found)

    @property
    def plan(self) -> Mapping[str, Any]:
        """The document that the caller that began it has signed."""
        return plan_of(self.run)

    def add(self, more: list[Event]) -> None:
        """Add further events."""
        self.found.extend(more)
        self.state.apply(more)


def plan_of(run: SavedRun) -> Mapping[str, Any]:
    """Return the signed document of a run; raise RunRefused for a run without one."""
    plan = next((event["document"] for event in run.steering if event["event"] == "plan"), None)
    if not isinstance(plan, dict) or plan.get("type") != run_plan.TYPE or plan.get("run") != run.begin["run"]:
        raise RunRefused(f"{run.source.where} has no plan, so no caller can steer it")
    if not _is_readable(plan):
        raise RunRefused(f"{run.source.where}: its plan cannot be read (was it begun by another version of crpc?)")
    return plan


def _is_readable(plan: Mapping[str, Any]) -> bool:
    """Return whether a document has what is used of it before its signature is verified."""
    call, gates = plan.get("call"), None
    if isinstance(call, dict):
        gates = call.get("gates")
    return (
        isinstance(call, dict)
        and isinstance(plan.get("nodes"), list)
        and {"approvals", "signature", "time"} <= plan.keys()
        and all(isinstance(plan.get(name), str) for name in ("caller", "collective", "signers"))
        and all(isinstance(call.get(name), str) for name in ("agent", "action"))
        and all(isinstance(call.get(name), dict) for name in ("data", "hooks", "pace", "targets"))
        and isinstance(gates, dict)
        and gates.keys() == {"gates", "every", "action"}
        and isinstance(gates["gates"], list)
    )


def begin(
    store: RunStore, steerer: Steerer, plan: CallPlan, retry_of: str | None = None
) -> Callable[[Call, Pace], OpenedRun]:
    """Return what begins the record of a planned call, with a lease for this caller.

    `retry_of` is the ID of the run that the call retries.
    """

    def open_run(call: Call, pace: Pace) -> OpenedRun:
        run, holder = call.request.id, steerer.holder()
        first = {**events.begin(call, retry_of), "steered": True}
        origin = run_plan.Beginning(run, call.collective, steerer.caller, steerer.now(), steerer.signers)
        document = statements.signed(run_plan.document(plan, origin), steerer.sign)
        taken = _taken(steerer, run, holder)
        state = RunState(run, statements.allowed_by(document))
        plan_event = {"event": "plan", "document": document}
        log = store.create([first, events.request(call, pace), plan_event, taken], holder)
        state.apply([taken])
        return OpenedRun(log, RunLease(store, run, holder, steerer.clock), state)

    return open_run


def read(store: RunStore, entry: RunEntry, steerer: Steerer) -> ReadRun:
    """Return a run as it is now. Raises UntrustedKey unless this caller trusts the one that began it."""
    log = store.log(entry)
    found = log.news()
    plan = plan_of(saved_run.of_events(entry, found))
    steerer.check(plan)
    state = RunState(entry.run, statements.allowed_by(plan))
    state.apply(found)
    return ReadRun(entry, log, found, state)


def readable_by(store: RunStore, entry: RunEntry, steerer: Steerer) -> ReadRun:
    """Return a run that a caller may take, before it decides to. Raises RunRefused and UntrustedKey as `take` does."""
    read_run = read(store, entry, steerer)
    _check_key(_taken(steerer, entry.run, steerer.holder()), read_run.state)
    if entry.is_running():
        raise RunRefused(_held(store, entry))
    return read_run


def take(store: RunStore, entry: RunEntry, steerer: Steerer) -> tuple[ReadRun, RunLease]:
    """Take a run whose caller has ended: return its events with the takeover, and the lease.

    Raises RunRefused when it is complete or another caller goes on with it, and UntrustedKey.
    """
    read_run = read(store, entry, steerer)
    holder = steerer.holder()
    taken = _taken(steerer, entry.run, holder)
    _check_key(taken, read_run.state)
    if read_run.run.end and store.take(entry, holder):  # its caller died before it could end its lease
        store.release(entry.run, holder, read_run.run.end)
    _check_open(read_run)
    if read_run.plan["approvals"] and read_run.plan["caller"] != steerer.caller:
        raise RunRefused(f"its approvals are for '{read_run.plan['caller']}' only")
    if not store.take(entry, holder):
        raise RunRefused(_held(store, entry))
    lease = RunLease(store, entry.run, holder, steerer.clock)
    try:
        _append(read_run, taken)
    except BaseException:
        lease.release(None)
        raise
    return read_run, lease


def order(store: RunStore, entry: RunEntry, steerer: Steerer, what: str) -> ReadRun:
    """Append an order (PAUSE, RESUME or STOP) to the record of a run, and return it.

    Raises RunRefused when the run is complete, or is not open to the order, and UntrustedKey.
    """
    read_run = read(store, entry, steerer)
    signed = steerer.signed({"event": "order", "order": what, "run": entry.run, "id": new_id()})
    _check_key(signed, read_run.state)
    _check_open(read_run)
    _append(read_run, signed)
    return read_run


def _append(read_run: ReadRun, statement: dict[str, Any]) -> None:
    """Append a statement after all other events. Raises RunRefused when the run has ended meanwhile."""
    while found := read_run.log.append([statement]):
        read_run.add(found)
        _check_open(read_run)
    read_run.add([statement])


def _taken(steerer: Steerer, run: str, holder: Holder) -> dict[str, Any]:
    """Return the signed statement of a takeover."""
    place = {"host": holder.host, "process": holder.process}
    return steerer.signed({"event": "taken", "run": run, "id": holder.id, **place})


def _check_key(statement: Mapping[str, Any], state: RunState) -> None:
    """Raise UntrustedKey unless the record accepts a statement of this caller."""
    try:
        statements.check(statement, state.allowed)
    except SignatureError as error:
        who = f"'{statement['caller']}' may not steer run {state.run[:8]}: {error}"
        hint = "the caller that began it must have this key in its allowed_signers"
        raise UntrustedKey(f"{who} ({hint})") from None


def _check_open(read_run: ReadRun) -> None:
    """Raise RunRefused for a run that is complete."""
    run = read_run.run
    if run.end:
        raise RunRefused(f"run {run.begin['run'][:8]} is complete ('crpc run show' prints its results)")


def _held(store: RunStore, entry: RunEntry) -> str:
    now = next((one for one in store.runs() if one.run == entry.run), entry)
    if now.end:
        return f"run {entry.run[:8]} is complete ('crpc run show' prints its results)"
    who = f"'{now.holder.caller}' on {now.holder.host}" if now.holder else "another caller"
    ends = f", its lease ends in {now.seconds:.0f} s unless it is renewed" if 0 < now.seconds < float("inf") else ""
    return f"{who} goes on with run {entry.run[:8]}{ends} ('crpc run stop' and 'pause' order it to stop or wait)"
