"""Show a call as it runs and when it is over, in the form that its options ask for."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from collective.clients import output
from collective.clients.missing import tell_missing
from collective.clients.parser import Parser
from collective.clients.render import ordered
from collective.clients.render.console import Console, together, wants
from collective.clients.render.formatting import write_yaml
from collective.clients.render.progress import Progress
from collective.errors import TransportError
from collective.exit_codes import OK, SILENT, STOPPED

if TYPE_CHECKING:
    from collective.fleet.call import Call
    from collective.fleet.fleet import Fleet


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
    group.add_argument("-q", "--quiet", action="store_true", help="print results only: no progress, no statistics")


def present(call: Call, options: argparse.Namespace, fleet: Fleet) -> int:
    """Take the replies of `call`, show them, and return its exit code; `fleet` may know more about silent nodes.

    When the transport goes away or somebody interrupts, what is known is shown before that is said: nobody further
    is sent to, and nobody waited for. A second interruption leaves at once.
    """
    error: TransportError | None = None
    with interruptible():
        try:
            _receive(call, options)
        except TransportError as away:
            call.stop(str(away))
            error = away
        except KeyboardInterrupt:
            call.stop("interrupted")
        call.close()
        _show(call, options)
        tell_missing(call, fleet)
    if error is not None:
        raise error
    if call.stopped:
        _tell_stopped(call)
    return call.outcomes.exit_code()


def _tell_stopped(call: Call) -> None:
    """Say why a call ended early, and for how many nodes that matters."""
    unsent, unanswered = len(call.outcomes.skipped), len(call.outcomes.silent)
    parts = [f"{_nodes(unsent)} not sent to"] if unsent else []
    if call.cut_short and unanswered:
        parts.append(f"{_nodes(unanswered)} had not answered yet")
    sys.stderr.write(": ".join(["crpc: stopped", call.stopped, *([", ".join(parts)] if parts else [])]) + "\n")


def show_sent(call: Call, fleet: Fleet) -> int:
    """Print the id of a request whose replies nobody waits for; return the exit code of its sending."""
    call.close()
    sys.stdout.write(f"{call.request_id}\n")
    tell_missing(call, fleet)
    return SILENT if call.absent else OK


@contextmanager
def interruptible() -> Iterator[None]:
    """Have the first Ctrl-C raise KeyboardInterrupt, and the second one leave, whatever is waited for by then."""
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:
        yield  # whoever started us has it ignored, or sees to it himself
        return

    def interrupt(_signal: int, _frame: object) -> None:
        signal.signal(signal.SIGINT, _leave)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        # After an interruption `_leave` stays: what the interpreter waits for at its end can be left as well.
        if signal.getsignal(signal.SIGINT) is interrupt:
            signal.signal(signal.SIGINT, before)


def _leave(_signal: int, _frame: object) -> None:
    os.write(2, b"crpc: interrupted\n")
    os._exit(STOPPED)


def _receive(call: Call, options: argparse.Namespace) -> None:
    from collective.clients.render.json_document import reply_event, write_event

    expected = len(call.outcomes.expected)
    progress = Progress(
        sys.stderr,
        sys.stderr.isatty() and not options.quiet,
        shutil.get_terminal_size().columns,
        paint=output.paint(options, sys.stderr),
    )
    progress.update(0, expected)
    try:
        for reply in call:
            progress.update(call.outcomes.answered, expected)
            if options.output == "jsonl":
                progress.clear()
                write_event(reply_event(reply, call.action), sys.stdout)
    finally:
        progress.finish()


def _show(call: Call, options: argparse.Namespace) -> None:
    from collective.clients.render import json_document, table

    if options.output == "json":
        json_document.write_document(call, sys.stdout, by_identity=options.sort)
    elif options.output == "yaml":
        write_yaml(json_document.document(call, by_identity=options.sort), sys.stdout)
    elif options.output == "jsonl":
        json_document.write_event(json_document.end_event(call), sys.stdout)
    elif options.output == "table":
        table.write_table(call, sys.stdout, by_identity=options.sort)
    elif options.output == "csv":
        table.write_csv(call, sys.stdout, by_identity=options.sort)
    else:
        _show_console(call, options)


def _nodes(count: int) -> str:
    return f"{count} node{'' if count == 1 else 's'}"


def _show_console(call: Call, options: argparse.Namespace) -> None:
    console = Console(sys.stdout, paint=output.paint(options), width=shutil.get_terminal_size().columns)
    display = options.display or ("all" if options.verbose else call.action.display)
    replies = ordered(call.outcomes.replies.values(), options.sort)
    shown = [reply for reply in replies if wants(display, reply.statuscode)]
    for reply in together(shown) if options.together else shown:
        console.show_reply(reply, call.action)
    if options.quiet:
        console.show_missing(call)  # who did not answer is a result, too
    else:
        console.show_end(call, verbose=options.verbose)
