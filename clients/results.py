"""Show a call as it runs and when it is over, in the form that its options ask for."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from typing import TYPE_CHECKING

from collective.clients.render import ordered
from collective.clients.render.console import Console, wants
from collective.clients.render.progress import Progress
from collective.clients.render.text import Paint, color_enabled
from collective.errors import TransportError

if TYPE_CHECKING:
    from collective.fleet.call import Call


def add_showing(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how results look."""
    group = parser.add_argument_group("showing")
    form = group.add_mutually_exclusive_group()
    form.add_argument("-j", "--json", action="store_true", help="one JSON document")
    form.add_argument("--jsonl", action="store_true", help="one JSON line per event, as it happens")
    form.add_argument("--table", action="store_true", help="one row per node")
    form.add_argument("--csv", action="store_true", help="the same, for a spreadsheet")
    group.add_argument("--display", choices=("ok", "failed", "all"), help="which replies (default: as the DDL says)")
    group.add_argument("--sort", action="store_true", help="by identity instead of by arrival")
    group.add_argument("--color", choices=("auto", "always", "never"), default="auto", help="default: %(default)s")
    group.add_argument("-v", "--verbose", action="store_true", help="every reply, and a block of figures")
    group.add_argument("-q", "--quiet", action="store_true", help="nothing but results")


def present(call: Call, options: argparse.Namespace) -> int:
    """Take the replies of `call`, show them, and return its exit code.

    When the transport goes away or somebody interrupts, what is known is shown before that is said.
    """
    fault: BaseException | None = None
    try:
        _receive(call, options)
    except (TransportError, KeyboardInterrupt) as interruption:
        call.outcomes.stopped = True
        fault = interruption
    call.close()
    _show(call, options)
    if isinstance(fault, TransportError):
        raise fault
    return call.outcomes.exit_code()


def _receive(call: Call, options: argparse.Namespace) -> None:
    from collective.clients.render.document import reply_event, write_event

    expected = len(call.outcomes.expected)
    progress = Progress(
        sys.stderr,
        sys.stderr.isatty() and not options.quiet,
        shutil.get_terminal_size().columns,
        paint=Paint(color_enabled(options.color, sys.stderr, os.environ)),
    )
    progress.update(0, expected)
    try:
        for reply in call:
            progress.update(expected - len(call.outcomes.waiting), expected)
            if options.jsonl:
                progress.clear()
                write_event(reply_event(reply, call.action), sys.stdout)
    finally:
        progress.finish()


def _show(call: Call, options: argparse.Namespace) -> None:
    from collective.clients.render import document, rows

    if options.json:
        document.write_document(call, sys.stdout, by_identity=options.sort)
    elif options.jsonl:
        document.write_event(document.end_event(call), sys.stdout)
    elif options.table:
        rows.write_table(call, sys.stdout, by_identity=options.sort)
    elif options.csv:
        rows.write_csv(call, sys.stdout, by_identity=options.sort)
    else:
        _show_console(call, options)
    for name in call.absent:
        sys.stderr.write(f"crpc: {name}: there is no such node: it has no queue in '{call.collective}'\n")


def _show_console(call: Call, options: argparse.Namespace) -> None:
    paint = Paint(color_enabled(options.color, sys.stdout, os.environ))
    console = Console(sys.stdout, paint=paint, width=shutil.get_terminal_size().columns)
    display = options.display or ("all" if options.verbose else call.action.display)
    for reply in ordered(call.outcomes.replies.values(), options.sort):
        if wants(display, reply.statuscode):
            console.show_reply(reply, call.action)
    if not options.quiet:
        console.show_end(call, verbose=options.verbose)
