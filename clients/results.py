"""Print the results of a call, while it runs and when it has ended, in the form that the options ask for.

present(CallOutput(call, args), fleet)     the replies of any action
present(PingOutput(call, args), fleet)     a command with its own text form and further members in its document
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from collective import schemas
from collective.clients import output
from collective.clients.interruption import offer_cancel
from collective.clients.output import Output
from collective.clients.parser import Parser
from collective.clients.render import ordered
from collective.clients.render.formatting import write_json, write_yaml
from collective.clients.render.progress import Progress
from collective.clients.streams import notice
from collective.errors import CollectiveError, TransportError
from collective.exit_codes import FAILED, OK, SILENT, STOPPED
from collective.suggestions import suggest
from collective.text import plural

if TYPE_CHECKING:
    from collective.fleet.call import Call
    from collective.fleet.fleet import Fleet
    from collective.messages import Reply


def add_showing(parser: Parser) -> None:
    """Add the options for the results of a call."""
    group = parser.add_argument_group("result options")
    group.add_argument("--display", choices=("ok", "failed", "all"), help="replies to print (default: as in the DDL)")
    group.add_argument("--no-results", action="store_true", help="print the request id, do not wait for replies")
    add_order(group)
    parser.set_defaults(together=False)  # a command may print equal replies of several nodes once


def add_order(group: argparse._ActionsContainer) -> None:
    """Add `--sort` and `-q`."""
    group.add_argument("--sort", action="store_true", help="sort by identity instead of by arrival")
    group.add_argument("-q", "--quiet", action="store_true", help="print results only: no progress, counts or warnings")


class CallOutput:
    """The output of one call in each form; a command overrides what is different for it."""

    schema = "results"
    progress = True  # whether the text form has a progress bar

    def __init__(self, call: Call, args: argparse.Namespace) -> None:
        self.call = call
        self.args = args

    def on_reply(self, reply: Reply) -> None:
        """Take a reply as it arrives; in the text form it may be printed at once."""

    def print_text(self) -> None:
        """Print the text form when the call has ended."""
        from collective.clients.render.console import Console, together, wants

        args, call = self.args, self.call
        console = Console(sys.stdout, paint=output.paint(args), width=shutil.get_terminal_size().columns)
        display = args.display or ("all" if args.verbose else call.action.display)
        replies = ordered(call.outcomes.replies.values(), args.sort)
        shown = [reply for reply in replies if wants(display, reply.statuscode)]
        for reply in together(shown) if args.together else shown:
            console.show_reply(reply, call.action)
        if args.quiet:
            console.show_missing(call)  # a node without a reply is a result, too
        else:
            console.show_end(call, verbose=args.verbose)

    def members(self) -> Mapping[str, Any]:
        """Return the members that the document has besides those of every call."""
        return {}

    def rows(self) -> list[list[Any]]:
        """Return the heading and one row per node, for tables and CSV."""
        from collective.clients.render import table

        return list(table.rows(self.call, by_identity=self.args.sort))


def present(shown: CallOutput, fleet: Fleet) -> int:
    """Receive the replies of a call, print them, and return the call's exit code.

    On a transport error or the first Ctrl-C the call stops: nothing more is sent, and the results so far are printed
    before the error. The second Ctrl-C ends the program at once. `fleet` explains why nodes did not answer.
    """
    call, error, interrupted = shown.call, None, False
    with interruptible():
        try:
            _receive(shown)
        except TransportError as caught:
            call.stop(str(caught))
            error = caught
        except KeyboardInterrupt:
            call.stop("interrupted")
            interrupted = True
        call.close()
        print_results(shown)
        print_missing(call, fleet)
    if error is not None:
        raise error
    if call.stopped:
        _print_stopped(call)
    if interrupted:
        offer_cancel(call, fleet, shown.args)
    if call.request.job is not None:
        notice(f"job {call.request_id}: 'crpc jobs wait {call.request_id[:8]}' shows the results")
    return call.outcomes.exit_code()


def print_sent(call: Call, args: argparse.Namespace, fleet: Fleet) -> int:
    """Print the id of a request without waiting for replies; return the exit code."""
    call.close()
    nodes = sorted(call.outcomes.expected - set(call.absent))
    members = {"request_id": call.request_id, "agent": call.agent, "action": call.action.name}
    document = {**members, "collective": call.collective, "caller": call.caller, "nodes": nodes, "absent": call.absent}
    rows = [list(members.values())]
    output.show(args, Output("sent", document, list(members), rows, lambda: f"{call.request_id}\n"))
    print_missing(call, fleet, waited=False)
    if call.outcomes.not_evaluated:
        return FAILED
    missing = set(call.outcomes.silent) - call.outcomes.expected
    return SILENT if call.absent or missing else OK


def print_missing(call: Call, fleet: Fleet, *, waited: bool = True) -> None:
    """Print on standard error which nodes are missing, and why: those that do not exist, or did not answer."""
    from collective.fleet.silence import not_asked_lines, not_evaluated_lines, silence_lines

    outcomes = call.outcomes
    for line in (*not_asked_lines(outcomes.not_asked), *not_evaluated_lines(outcomes.not_evaluated)):
        notice(line)
    hints = _suggestions(call.absent, fleet)
    for name in call.absent:
        notice(f"{name}: there is no such node: it has no queue in '{call.collective}'{hints[name]}")
    explained = {*call.absent, *outcomes.not_asked, *outcomes.rejected}
    if not waited:  # the nodes that were asked may still answer
        explained |= outcomes.expected
    silent = [name for name in outcomes.silent if name not in explained]
    reasons = {} if call.cut_short else fleet.why_silent(silent)
    for line in silence_lines(reasons):
        notice(line)


def _suggestions(absent: Sequence[str], fleet: Fleet) -> dict[str, str]:
    """Return for each name the registered node that was probably meant, as ` (did you mean …?)`, or nothing."""
    from collective.fleet.targets import Targets

    known: list[str] = []
    if absent and fleet.config.registry != "none":
        try:
            known = list(fleet.find(Targets(method="registry"), verify=True).nodes)
        except CollectiveError:  # without the registry there are no suggestions
            known = []
    hints = {name: suggest(name.lower().rstrip("."), known) for name in absent}
    return {name: f" ({hint})" if hint else "" for name, hint in hints.items()}


def _print_stopped(call: Call) -> None:
    """Print why a call ended early, and how many nodes that affects."""
    unsent, unanswered = len(call.outcomes.skipped), len(call.outcomes.silent)
    parts = [f"{plural(unsent, 'node')} not sent to"] if unsent else []
    if call.cut_short and unanswered:
        parts.append(f"{plural(unanswered, 'node')} had not answered yet")
    details = f" ({', '.join(parts)})" if parts else ""
    notice(f"stopped: {call.stopped}{details}")
    running, seconds = call.still_running()
    if running:
        notice(f"still running on {plural(len(running), 'node')}, for at most {math.ceil(seconds)} s")


@contextmanager
def interruptible() -> Iterator[None]:
    """Let the first Ctrl-C raise KeyboardInterrupt, and the second one end the program at once."""
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:
        yield  # the parent process ignores the signal, or the program has a handler of its own
        return

    def interrupt(_signal: int, _frame: object) -> None:
        signal.signal(signal.SIGINT, _end_at_once)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        # After an interrupt the second handler stays: the interpreter may wait for threads at exit.
        if signal.getsignal(signal.SIGINT) is interrupt:
            signal.signal(signal.SIGINT, before)


def _end_at_once(_signal: int, _frame: object) -> None:
    os.write(2, b"crpc: interrupted\n")
    os._exit(STOPPED)


def _receive(shown: CallOutput) -> None:
    from collective.clients.render.json_document import reply_event, write_event

    call, args = shown.call, shown.args
    expected = len(call.outcomes.expected)
    progress = Progress(
        sys.stderr,
        sys.stderr.isatty() and not args.quiet and (shown.progress or args.output != "text"),
        shutil.get_terminal_size().columns,
        paint=output.paint(args, sys.stderr),
    )
    progress.update(0, expected)
    try:
        for reply in call:
            progress.update(call.outcomes.answered, expected)
            shown.on_reply(reply)
            if args.output == "jsonl":
                progress.clear()
                write_event(reply_event(reply, call.action), sys.stdout)
    finally:
        progress.finish()


def print_results(shown: CallOutput) -> None:
    """Print the results of a call that has ended; with jsonl the last event, because the others were printed before."""
    from collective.clients.render import json_document, table

    form, call = shown.args.output, shown.call
    if form == "text":
        shown.print_text()
    elif form == "jsonl":
        json_document.write_event({**json_document.end_event(call), **shown.members()}, sys.stdout)
    elif form in ("table", "csv"):
        heading, *body = shown.rows()
        writer = table.write_rows if form == "table" else table.write_csv_rows
        writer(heading, body, sys.stdout)
    else:
        document = json_document.document(call, by_identity=shown.args.sort)
        document |= {"schema": schemas.schema_id(shown.schema), **shown.members()}
        (write_json if form == "json" else write_yaml)(document, sys.stdout)
