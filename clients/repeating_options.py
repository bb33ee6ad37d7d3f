"""The options that repeat a call: `--watch`, `--until`, `--every` and `--for`; `repeated_call.py` does the work."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from collective.clients.options import seconds
from collective.errors import UsageError

if TYPE_CHECKING:
    from collective.clients.parser import Parser
    from collective.ddl import Action


def add_repeating(parser: Parser) -> None:
    """Add `--watch`, `--until`, `--every` and `--for`."""
    group = parser.add_argument_group("options to repeat the call (only idempotent actions)")
    group.add_argument(
        "--watch", type=seconds, metavar="5s", help="repeat at this interval and mark what changes, until Ctrl-C"
    )
    group.add_argument("--until", metavar="EXPR", help="ask each node again until its reply matches, as in --where")
    group.add_argument("--every", type=seconds, metavar="5s", help="with --until, the interval (default: 5s)")
    group.add_argument(
        "--for", dest="at_most", type=seconds, metavar="10m", help="end after this time (--until: default 10m)"
    )


def is_repeated(args: argparse.Namespace) -> bool:
    """Return whether the options ask for more than one call."""
    return args.watch is not None or args.until is not None


def check_repeating(args: argparse.Namespace, action: Action) -> None:
    """Raise UsageError for options that exclude each other, and for an action that must not be repeated."""
    if not is_repeated(args):
        for option, value in (("--every", args.every), ("--for", args.at_most)):
            if value is not None:
                raise UsageError(f"{option}: has no effect without --watch or --until")
        return
    option = "--watch" if args.watch is not None else "--until"
    if args.watch is not None and args.until is not None:
        raise UsageError("--until: not allowed with --watch")
    if args.every is not None and args.until is None:
        raise UsageError("--every: has no effect without --until (--watch has the interval)")
    if args.no_results:
        raise UsageError(f"{option}: not allowed with --no-results")
    if args.watch is not None and args.output_file is not None:
        raise UsageError("--output-file: not allowed with --watch, which prints many results (use --log-file)")
    if not action.idempotent:
        raise UsageError(f"{option}: {action.agent} {action.name} is not idempotent, so it is not repeated")
    if args.until is not None:
        from collective.clients.view_options import read_where

        read_where(args.until, "--until", action)
