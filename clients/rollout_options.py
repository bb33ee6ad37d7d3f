"""The options of a rollout: how fast nodes are reached, in which order, and when it stops.

add_rollout(parser)        the options
pace(args) -> Pace         the value that they stand for
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from collective.clients.options import seconds
from collective.errors import UsageError

if TYPE_CHECKING:
    from collective.clients.parser import Parser
    from collective.fleet.pace import Pace

_LONGEST_REASON = 500  # characters; as in schemas/request.json


def add_reason(parser: Parser) -> None:
    """Add `--reason`."""
    parser.add_argument(
        "--reason", type=_reason, metavar="TEXT", help="why, for policies that require it and for the audit log"
    )
    parser.read_variable("reason", "COLLECTIVE_REASON")


def add_rollout(parser: Parser) -> None:
    """Add the options that set the pace of a rollout, and when it stops."""
    group = parser.add_argument_group("rollout options")
    _add_speed(group)
    _add_order(group)
    _add_budgets(group)
    _add_retries(group)
    group.add_argument("--live", action="store_true", help="show the rollout on the whole screen while it runs")
    group.add_argument("--yes", action="store_true", help="do not ask for confirmation")


def _add_speed(group: argparse._ActionsContainer) -> None:
    from collective.fleet.amounts import read_amount, read_count
    from collective.fleet.rate import read_rate
    from collective.fleet.waves import read_sizes

    group.add_argument(
        "--concurrency", type=partial(read_count, "--concurrency"), metavar="N", help="at most N nodes at work at once"
    )
    group.add_argument("--batch", type=partial(read_amount, "--batch"), metavar="N|N%", help="N nodes at a time")
    group.add_argument("--batch-sleep", type=seconds, metavar="DURATION", help="pause between two batches")
    group.add_argument(
        "--waves",
        type=partial(read_sizes, "--waves"),
        metavar="SIZES",
        help="sizes of growing waves, such as 1,5,10%%,rest; the last is repeated",
    )
    group.add_argument("--wave-pause", type=seconds, metavar="DURATION", help="pause between two waves")
    group.add_argument(
        "--rate", type=partial(read_rate, "--rate"), metavar="N/UNIT", help="at most N nodes per s, m, h or d: 30/m"
    )


def _add_order(group: argparse._ActionsContainer) -> None:
    from collective.fleet.grouping import read_limit
    from collective.fleet.waves import read_order

    group.add_argument(
        "--order-by",
        type=partial(read_order, "--order-by"),
        metavar="FACT[=A,B]",
        help="nodes by the value of a fact, one value after the other: role=db,app,web",
    )
    group.add_argument(
        "--per",
        type=partial(read_limit, "--per"),
        action="append",
        default=[],
        metavar="FACT=N|N%",
        help="at most N nodes at work at once with the same value of a fact: az=1; repeated: all must hold",
    )


def _add_budgets(group: argparse._ActionsContainer) -> None:
    from collective.fleet.amounts import read_amount

    def amount(option: str, text: str) -> None:
        group.add_argument(option, type=partial(read_amount, option), metavar="N|N%", help=text)

    amount("--max-fail", "stop after N failed or silent nodes")
    amount("--max-silent", "stop after N silent nodes, which --max-fail then does not count")
    amount("--wave-max-fail", "stop after N failed or silent nodes in one wave")
    amount("--wave-max-silent", "stop after N silent nodes in one wave")
    group.add_argument(
        "--success-threshold",
        type=_share(read_amount),
        metavar="N%",
        help="exit 0 if at least this share of the nodes is OK",
    )


def _add_retries(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        "--retry", type=_retries, metavar="N", help="repeat an idempotent action up to N times on a node that fails"
    )
    group.add_argument(
        "--retry-delay", type=seconds, metavar="DURATION", help="pause before a retry (10); it doubles each time"
    )


def pace(args: argparse.Namespace) -> Pace:
    """Return the pace that the rollout options describe; raise UsageError for options that exclude each other."""
    from collective.fleet.pace import RETRY_DELAY, Pace

    _check(args)
    wanted = Pace(
        args.concurrency,
        args.batch,
        args.batch_sleep or 0.0,
        args.max_fail,
        waves=args.waves or (),
        wave_pause=args.wave_pause or 0.0,
        order_by=args.order_by,
        per=args.per,
        rate=args.rate,
        max_silent=args.max_silent,
        wave_max_fail=args.wave_max_fail,
        wave_max_silent=args.wave_max_silent,
        success_threshold=args.success_threshold,
        retry=args.retry or 0,
        retry_delay=args.retry_delay or RETRY_DELAY,
    )
    if args.no_results and args.live:
        raise UsageError("--no-results: not allowed with --live, which shows the replies")
    if args.no_results and wanted != Pace():
        raise UsageError("--no-results: not allowed with rollout options such as --concurrency, which need the replies")
    return wanted


def _check(args: argparse.Namespace) -> None:
    """Raise UsageError, in the words of the command line, for options that exclude each other or have no effect."""
    if args.batch and args.waves:
        raise UsageError(f"--batch {args.batch}: not allowed with --waves (a batch of 5 is --waves 5)")
    if args.batch_sleep and args.batch is None:
        raise UsageError("--batch-sleep: there is no pause without batches (add --batch)")
    if args.wave_pause and not (args.waves or args.order_by):
        raise UsageError("--wave-pause: there is no pause without waves (add --waves or --order-by)")
    for option, value in (("--wave-max-fail", args.wave_max_fail), ("--wave-max-silent", args.wave_max_silent)):
        if value and not (args.waves or args.batch or args.order_by):
            raise UsageError(f"{option}: has no effect without waves (add --waves, --batch or --order-by)")
    if args.retry_delay and not args.retry:
        raise UsageError("--retry-delay: has no effect without retries (add --retry)")


def _share(read_amount: Callable[[str, str], Any]) -> Callable[[str], Any]:
    """Return a reader of percentages."""

    def read(text: str) -> Any:
        share = read_amount("--success-threshold", text)
        if not share.percent:
            raise UsageError(f"--success-threshold '{text}': must be a percentage from 1% to 100%")
        return share

    return read


def _reason(text: str) -> str:
    if not 1 <= len(text) <= _LONGEST_REASON or not text.isprintable():
        raise argparse.ArgumentTypeError(f"invalid reason '{text}': use 1 to {_LONGEST_REASON} printable characters")
    return text


def _retries(text: str) -> int:
    from collective.fleet.pace import MAX_RETRIES

    if not (text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= MAX_RETRIES):
        raise argparse.ArgumentTypeError(f"invalid number of retries '{text}': use 1 to {MAX_RETRIES}")
    return int(text)
