"""`crpc jobs`: list background jobs and running requests, ask for their results, wait for them, and cancel them."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from collective.clients import options, output, saved_runs
from collective.clients.commands import COMMANDS
from collective.clients.completed_by import completed_by
from collective.clients.job_options import duration
from collective.clients.output import Output
from collective.clients.parser import Parser
from collective.clients.render.formatting import in_words
from collective.clients.results import CallOutput, interruptible, present
from collective.clients.single_call import open_call
from collective.clients.streams import notice
from collective.clients.view_options import add_views, check_fields, read_view
from collective.errors import UsageError
from collective.exit_codes import FAILED, NO_NODES, OK, SILENT
from collective.text import escape_controls, plural

if TYPE_CHECKING:
    from collective.fleet.outcomes import Outcomes
    from collective.fleet.targets import Targets

_COLUMNS = ("node", "id", "agent", "action", "caller", "state", "start", "statuscode", "statusmsg")
_OPEN = frozenset({"scheduled", "running"})
_ID_DIGITS = 32
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 15.0  # seconds between two questions to the nodes


def make_parser() -> Parser:
    """Return the parser of `crpc jobs`."""
    parser = Parser(
        "crpc jobs",
        description=f"{COMMANDS['jobs']}.\n\n--background, --at and --in start a job. Its ID is that of its run: "
        "the full ID, the beginning of one that 'crpc runs' lists, or 'last'.",
        examples=["crpc jobs list", "crpc jobs list --all -F role=web", "crpc jobs wait last"],
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="list|status|result|wait|cancel")
    listing = verbs.add_parser(
        "list", help="list jobs and requests that run", examples=["crpc jobs list", "crpc jobs list --all -o table"]
    )
    status = verbs.add_parser("status", help="show the state of a job on its nodes", examples=["crpc jobs status last"])
    result = verbs.add_parser("result", help="show the results of a job", examples=["crpc jobs result last"])
    wait = verbs.add_parser(
        "wait",
        help="wait until a job has ended everywhere, and show the results",
        examples=["crpc jobs wait last", "crpc jobs wait last --for 30m -o json"],
    )
    wait.add_argument("--for", dest="longest", type=duration, metavar="DURATION", help="wait at most this long (1h)")
    cancel = verbs.add_parser(
        "cancel",
        help="stop a job or a running request, and kill its processes",
        examples=["crpc jobs cancel last", "crpc jobs cancel last -I node01.lab"],
    )
    for verb in (status, result, wait, cancel):
        completed_by(
            "run", verb.add_argument("id", metavar="ID", help="the run or request: an ID, its beginning, or last")
        )
    for verb in (listing, status, result, wait, cancel):
        verb.add_argument("--all", action="store_true", help="also those of other callers, if the policy allows it")
        options.add_targets(verb)
        options.add_running(verb, saves=verb is cancel)  # a question is not saved: `last` stays the job
    add_views(cancel)
    return parser


def run(arguments: Sequence[str]) -> int:
    """Do what the verb says; return the exit code."""
    args = make_parser().parse_args(arguments)
    if args.verb != "cancel":
        check_fields(read_view(args), _COLUMNS)
    if args.verb == "list":
        with open_call(args, "jobs", {"all": args.all}, agent="control") as (call, _):
            return _show(args, _listed(call.wait()), call.outcomes)
    job_id, targets = _job(args)
    data = {"id": job_id, "all": args.all}
    if args.verb == "cancel":
        with open_call(args, "cancel", data, targets, agent="control") as (call, fleet):
            return present(CallOutput(call, args), call, fleet)
    if args.verb == "wait":
        return _wait(args, data, targets)
    with open_call(args, "result", data, targets, agent="control") as (call, _):
        return _show(args, _results(call.wait()), call.outcomes)


def _job(args: argparse.Namespace) -> tuple[str, Targets]:
    """Return the ID of a job and its nodes: those of the options, else those of the saved run."""
    from collective.fleet.targets import EVERY_NODE, Targets

    targets = options.targets(args)
    try:
        found = saved_runs.find(args, args.id)
    except UsageError:
        if len(args.id) != _ID_DIGITS:
            raise
        return args.id, targets
    args.target = args.target or found.begin["collective"]
    return saved_runs.sent_as(found), Targets(nodes=sorted(found.reached)) if targets == EVERY_NODE else targets


def _wait(args: argparse.Namespace, data: dict[str, Any], targets: Targets) -> int:
    """Ask until the job has ended on every node, with growing pauses; then show the results."""
    until = time.monotonic() + (args.longest or 3600.0)
    pause = _FIRST_PAUSE
    with interruptible():
        while True:
            with open_call(args, "result", data, targets, agent="control") as (call, _):
                rows = _results(call.wait())
            left = [row["node"] for row in rows if row["state"] in _OPEN]
            if not left or time.monotonic() + pause >= until:
                if left:
                    notice(f"{plural(len(left), 'node')} not ready: the time to wait is over")
                return _show(args, rows, call.outcomes)
            time.sleep(pause)
            pause = min(_LONGEST_PAUSE, 2 * pause)


def _listed(outcomes: Outcomes) -> list[dict[str, Any]]:
    return [
        {"node": reply.sender, **job}
        for reply in sorted(outcomes.replies.values(), key=lambda reply: reply.sender)
        if reply.ok
        for job in reply.data["jobs"]
    ]


def _results(outcomes: Outcomes) -> list[dict[str, Any]]:
    replies = sorted(outcomes.replies.values(), key=lambda reply: reply.sender)
    return [{"node": reply.sender, **reply.data} for reply in replies if reply.ok]


def _show(args: argparse.Namespace, jobs: list[dict[str, Any]], outcomes: Outcomes) -> int:
    """Print jobs, and the nodes that did not tell; return the exit code."""
    errors = {name: outcomes.replies[name].statusmsg for name in sorted(outcomes.failed)}
    for name, why in errors.items():
        notice(f"{name}: {why}")
    if outcomes.silent:
        notice(f"no response from {plural(len(outcomes.silent), 'node')}: {', '.join(outcomes.silent)}")
    if args.verb == "status":
        jobs = [{name: value for name, value in job.items() if name != "result"} for job in jobs]
    document = {"jobs": jobs, "errors": errors, "silent": outcomes.silent}
    rows = [[_cell(job, column) for column in _COLUMNS] for job in jobs]
    output.show(args, Output("jobs", document, _COLUMNS, rows, lambda: "".join(map(_text, jobs)) or "no jobs\n"))
    return _exit_code(args, jobs, outcomes)


def _exit_code(args: argparse.Namespace, jobs: list[dict[str, Any]], outcomes: Outcomes) -> int:
    results = [job["result"] for job in jobs if job.get("result")]
    if errors_in(results) or outcomes.failed:
        return FAILED
    if outcomes.silent or (args.verb == "wait" and any(job["state"] in _OPEN for job in jobs)):
        return SILENT
    return OK if outcomes.replies else NO_NODES


def errors_in(results: Sequence[dict[str, Any]]) -> bool:
    """Return whether any result is a failure."""
    return any(result["statuscode"] for result in results)


def _cell(job: dict[str, Any], column: str) -> Any:
    return job.get(column, (job.get("result") or {}).get(column))


def _text(job: dict[str, Any]) -> str:
    """Return a job as lines: node, ID, action and state, then its result."""
    started = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(job["start"]))
    action = f"{job['agent']} {job['action']}"
    head = f"{job['node']:<40} {job['id'][:8]}  {action}  {job['state']}  {started}  {job['caller']}"
    result = job.get("result")
    if not result:
        return escape_controls(head) + "\n"
    lines = [f"   {result['statusmsg']}"] if result["statuscode"] else []
    lines += [f"   {name}: {in_words(value).rstrip()}" for name, value in result["data"].items()]
    return "".join(f"{escape_controls(line)}\n" for line in [head, *lines])
