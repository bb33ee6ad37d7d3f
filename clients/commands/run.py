"""`crpc run`: list rollouts with their callers, show them, pause, resume and stop them, and take them over."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from collective import durations
from collective.clients import detached, options, output, run_records, saved_runs
from collective.clients.commands import COMMANDS
from collective.clients.completed_by import completed_by
from collective.clients.output import Output
from collective.clients.parser import Parser
from collective.clients.results import CallOutput, present, show_results
from collective.clients.rollout_checks import read_gates
from collective.clients.streams import notice
from collective.clients.view_options import add_views
from collective.errors import UsageError
from collective.exit_codes import OK
from collective.suggestions import suggest
from collective.text import escape_controls, plural

if TYPE_CHECKING:
    from collective.config import ClientConfig
    from collective.fleet.outcomes import Outcomes
    from collective.fleet.runs.saved_run import SavedRun
    from collective.fleet.steering.run_log import RunEntry, RunStore

_COLUMNS = (
    *("run", "time", "state", "exit", "agent", "action", "inputs", "collective", "caller", "nodes"),
    *("wave", "waves", "counts", "steered_by", "host", "lease_seconds", "shared"),
)
_LOG_COLUMNS = ("time", "event", "caller", "what")
_WIDEST = 50  # columns of the call in the text form
_ID = 32  # digits


def make_parser() -> Parser:
    """Return the parser of `crpc run`."""
    parser = Parser(
        "crpc run",
        description=f"{COMMANDS['run']}.\n\nThe ID is the one that 'crpc run list' shows, its first digits, or 'last'. "
        "--detach and 'runs: shared' in client.yaml keep rollouts in DynamoDB, where every caller with a trusted key "
        "can steer them. Other rollouts can be steered on the machine where they run.",
        examples=["crpc run list", "crpc run pause last", "crpc run take last"],
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="list|show|log|pause|resume|stop|take")
    listing = verbs.add_parser(
        "list", help="list rollouts, the newest first", examples=["crpc run list", "crpc run list --all -o table"]
    )
    listing.add_argument("--all", action="store_true", help="also those that are complete")
    show = verbs.add_parser(
        "show", help="print the results of a rollout so far", examples=["crpc run show last -o table"]
    )
    add_views(show)
    log = verbs.add_parser(
        "log", help="list the waves, gates, orders and takeovers of a rollout", examples=["crpc run log last"]
    )
    pause = verbs.add_parser(
        "pause", help="reach no further node until it is resumed", examples=["crpc run pause last"]
    )
    resume = verbs.add_parser("resume", help="go on with a paused rollout", examples=["crpc run resume last"])
    stop = verbs.add_parser("stop", help="reach no further node, and end", examples=["crpc run stop last"])
    take = verbs.add_parser(
        "take",
        help="go on with a rollout whose caller has ended",
        examples=["crpc run take last", "crpc run take last --detach"],
    )
    take.add_argument("words", nargs="*", metavar="KEY=VALUE", help="secret inputs, which the record does not have")
    add_views(take)
    detached.add_option(take)
    take.add_argument("--in-background", action="store_true", help=argparse.SUPPRESS)
    for verb in (show, log, pause, resume, stop, take):
        completed_by(
            "run", verb.add_argument("id", metavar="ID", help="the rollout: its ID, its first digits, or last")
        )
    for verb in (listing, show, log, pause, resume, stop, take):
        options.add_target(verb)
    return parser


def run(arguments: Sequence[str]) -> int:
    """Do what the verb says; return the exit code."""
    args = make_parser().parse_args(arguments)
    config = options.client_config(args)
    if args.verb == "list":
        return _list(args, config)
    found = _find(config, args.id)
    if args.verb == "show":
        return _show(args, found)
    if args.verb == "log":
        return _log(args, config, found)
    if args.verb == "take":
        return _take(args, config, found)
    return _order(args, config, found)


class _Found:
    """A rollout, and where it is recorded."""

    def __init__(self, store: RunStore, entry: RunEntry, *, shared: bool) -> None:
        self.store = store
        self.entry = entry
        self.shared = shared

    def read(self) -> SavedRun:
        """Return the rollout with its events; nothing in it is verified."""
        from collective.fleet.runs import saved_run

        return saved_run.of_events(self.entry, self.store.log(self.entry).news())


def _find(config: ClientConfig, wanted: str) -> _Found:
    """Return the rollout whose ID begins with `wanted`, or the last one; raise UsageError without exactly one."""
    if wanted == saved_runs.LAST:
        every = _every(config)
        if not every:
            raise UsageError("there is no rollout")
        return max(every, key=lambda one: one.entry.time)
    if not 4 <= len(wanted) <= _ID or set(wanted) - set("0123456789abcdef"):
        hint = suggest(wanted, [saved_runs.LAST], "use an ID, its first 4 or more digits, or last")
        raise UsageError(f"invalid run '{wanted}' ({hint})")
    found: dict[str, _Found] = {}
    for one in reversed(_every(config, wanted)):  # a shared record counts more than the copy on this machine
        found[one.entry.run] = one
    if not found:
        raise UsageError(f"there is no rollout '{wanted}' ('crpc run list --all' lists them)")
    if len(found) > 1:
        raise UsageError(f"run '{wanted}': {plural(len(found), 'run')} begin with it (use more digits)")
    return next(iter(found.values()))


def _every(config: ClientConfig, prefix: str = "") -> list[_Found]:
    """Return all rollouts: first the shared ones, then those of this machine."""
    found = []
    if run_records.is_shared(config, detached=True):
        shared = run_records.store(config, shared=True)
        found += [_Found(shared, entry, shared=True) for entry in _shared_runs(config, shared)]
    local = run_records.store(config, shared=False)
    known = {one.entry.run for one in found}
    found += [_Found(local, entry, shared=False) for entry in local.runs() if entry.run not in known]
    return [one for one in found if one.entry.run.startswith(prefix)]


def _shared_runs(config: ClientConfig, shared: RunStore) -> list[RunEntry]:
    """Return the shared rollouts; none while no table was created and none is needed."""
    from collective.errors import NotFound

    try:
        return shared.runs()
    except NotFound as error:
        if config.runs == "shared":
            raise
        notice(f"{error}: only rollouts of this machine are known (crpc setup)")
        return []


# -- look


def _list(args: argparse.Namespace, config: ClientConfig) -> int:
    every = sorted(_every(config), key=lambda one: -one.entry.time)
    shown = [one for one in every if args.all or not one.entry.end]
    entries = [_entry(one) for one in shown]
    rows = [[entry[name] for name in _COLUMNS] for entry in entries]
    output.show(args, Output("run-list", {"runs": entries}, _COLUMNS, rows, lambda: _text(entries)))
    if len(shown) < len(every):
        notice(f"{plural(len(every) - len(shown), 'complete rollout')} not listed (--all lists all)")
    return OK


def _entry(found: _Found) -> dict[str, Any]:
    entry, progress = found.entry, found.entry.progress
    counts = entry.end.get("outcomes", progress.counts)
    seconds = entry.seconds if entry.seconds < float("inf") else None
    return {
        **{name: entry.begin.get(name) for name in ("agent", "action", "inputs", "collective", "caller", "nodes")},
        "run": entry.run,
        "time": entry.time,
        "state": entry.state,
        "exit": entry.end.get("exit"),
        "wave": progress.wave or None,
        "waves": progress.waves or None,
        "counts": dict(counts),
        "steered_by": entry.holder.caller if entry.holder else None,
        "host": entry.holder.host if entry.holder else None,
        "lease_seconds": None if seconds is None else round(seconds, 1),
        "shared": found.shared,
    }


def _text(entries: Sequence[Mapping[str, Any]]) -> str:
    if not entries:
        return "no rollouts\n"
    now = time.time()
    lines = []
    for entry in entries:
        words = [str(entry[name]) for name in ("agent", "action", "inputs") if entry[name]]
        call = escape_controls(" ".join(words))
        call = call if len(call) <= _WIDEST else f"{call[: _WIDEST - 1]}…"
        counts = ", ".join(f"{count} {name}" for name, count in entry["counts"].items() if count)
        who = (
            f", {entry['steered_by']} on {entry['host']}"
            if entry["steered_by"] and entry["state"] != "complete"
            else ""
        )
        age = f"{durations.in_words(max(0.0, now - entry['time']))} ago"
        result = escape_controls(f"{entry['state']} ({counts or 'nothing sent'}){who}")
        lines.append(f"{saved_runs.short(entry['run'])}  {age:<15} {call}  {result}\n")
    return "".join(lines)


def _show(args: argparse.Namespace, found: _Found) -> int:
    from collective.fleet.runs.saved_call import SavedCall

    run = found.read()
    call = SavedCall(run)
    shown = CallOutput(call, args)
    if args.output == "text" and not args.quiet:
        notice(saved_runs.described(run, whole_id=args.verbose))
    show_results(shown)
    if not run.end and not args.quiet:
        notice(f"{found.entry.state}: {len(call.outcomes.skipped)} not sent to yet")
    elif call.stopped and not args.quiet:
        notice(f"stopped: {call.stopped}")
    return OK


def _log(args: argparse.Namespace, config: ClientConfig, found: _Found) -> int:
    """Print the events of a rollout but for its replies; statements that do not count are marked."""
    from collective.fleet.steering.takeover import read

    steerer = run_records.steerer(config, found.store, shared=found.shared)
    known = read(found.store, found.entry, steerer)
    events = [_logged(event, known.state.refused) for event in known.found if event["event"] in _SHOWN]
    rows = [[event[name] for name in _LOG_COLUMNS] for event in events]
    document = {"run": found.entry.run, "events": events}

    def text() -> str:
        lines = (f"{_clock(event['time']):<8}  {event['event']:<7}  {event['what']}" for event in events)
        return "".join(f"{escape_controls(line)}\n" for line in lines)

    output.show(args, Output("run-log", document, _LOG_COLUMNS, rows, text))
    return OK


_SHOWN = frozenset({"begin", "taken", "order", "sent", "gate", "silent", "end"})


def _logged(event: Mapping[str, Any], refused: Mapping[str, str]) -> dict[str, Any]:
    kind = event["event"]
    nodes = event.get("nodes")
    count = "all nodes" if not isinstance(nodes, list) else plural(len(nodes), "node")
    what = {
        "begin": lambda: f"{event['caller']} begins {event['agent']} {event['action']}",
        "taken": lambda: f"{event['caller']} on {event.get('host')} goes on with it",
        "order": lambda: f"{event['caller']} orders: {event['order']}",
        "sent": lambda: f"{event.get('step') or 'action'} to {count}, request {event['request']}",
        "gate": lambda: f"after wave {event['wave']}: {event['closed'] or 'open'}",
        "silent": lambda: f"{count} silent",
        "end": lambda: f"exit code {event['exit']}" + (f", {event['stopped']}" if event.get("stopped") else ""),
    }[kind]()
    if why := refused.get(str(event.get("id"))):
        what += f" (ignored: {why})"
    return {"time": event.get("time"), "event": kind, "caller": event.get("caller"), "what": what}


def _clock(moment: float | None) -> str:
    return "" if moment is None else time.strftime("%H:%M:%S", time.localtime(moment))


# -- steer


def _order(args: argparse.Namespace, config: ClientConfig, found: _Found) -> int:
    from collective.fleet.steering.takeover import order

    steerer = run_records.steerer(config, found.store, shared=found.shared)
    order(found.store, found.entry, steerer, args.verb)
    name = saved_runs.short(found.entry.run)
    document = {"run": found.entry.run, "order": args.verb, "state": found.entry.state}
    done = {"pause": "is paused", "resume": "goes on", "stop": "stops"}[args.verb]
    text = f"run {name} {done}: no further node is reached\n" if args.verb != "resume" else f"run {name} {done}\n"
    output.show(args, Output("run-order", document, list(document), [list(document.values())], lambda: text))
    if not found.entry.is_running():
        notice(f"no caller goes on with run {name} ('crpc run take {name}' does)")
    return OK


def _take(args: argparse.Namespace, config: ClientConfig, found: _Found) -> int:
    """Go on with a rollout until its end, and print all results; return its exit code."""
    from collective.fleet.steering.takeover import plan_of

    secrets = detached.read_secrets(args, config, plan_of(found.read())["call"])
    if args.detach:
        return detached.spawn(args, config, found.store, found.entry.run, secrets)
    from collective.fleet.fleet import Fleet
    from collective.fleet.steering.continuation import Continuation, SteeringTimes
    from collective.fleet.steering.takeover import take

    steerer = run_records.steerer(config, found.store, shared=found.shared)
    taken, lease = take(found.store, found.entry, steerer)
    lease.keep()
    try:
        with Fleet.connect(config) as fleet:
            times = SteeringTimes(run_records.POLL, found.store.now)
            continuation = Continuation(taken, lease, secrets, times, _warn)
            if not args.quiet:
                _describe(taken.plan)
            plan = continuation.plan(fleet, read_gates(**taken.plan["call"]["gates"]))
            record = continuation.record(run_records.limits(config, shared=found.shared))
            record.leaves = args.in_background
            call = fleet.start(plan, confirm=lambda _: True, record=_mirrored(args, config, found, record))
            return present(CallOutput(call, args), call, fleet)
    finally:
        lease.release(None)


def _mirrored(args: argparse.Namespace, config: ClientConfig, found: _Found, record: Any) -> Any:
    """Return the record with a copy on this machine, if it is shared."""
    args.no_save = False
    if not found.shared or not config.save_runs:
        return record
    from collective.fleet.steering.mirrored_record import MirroredRecord

    return MirroredRecord(record, options.recorder(args, config))


def _describe(plan: Mapping[str, Any]) -> None:
    """Write what goes on to standard error: gates run commands on this machine."""
    from collective.clients.plan_summary import call_line, step_lines

    notice(f"run: {call_line(plan['call'], plan['nodes'])}, begun by {escape_controls(plan['caller'])}")
    for line in step_lines(plan["call"]):
        notice(f"run: {line}")


def _warn(outcomes: Outcomes) -> None:
    """Write which nodes cannot tell what became of a request, and why."""
    for name in sorted(outcomes.failed):
        notice(f"{name}: cannot tell what became of the request: {outcomes.replies[name].statusmsg}")
