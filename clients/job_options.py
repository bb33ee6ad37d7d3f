"""The options that run an action as a background job, at once or at a time.

add_options(parser)
background(args) -> Background | None
"""

from __future__ import annotations

import argparse
import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from collective.errors import UsageError

if TYPE_CHECKING:
    from collective.clients.parser import Parser
    from collective.fleet.background import Background

_TIME = re.compile(r"([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?")


def add_options(parser: Parser) -> None:
    """Add the options of jobs."""
    group = parser.add_argument_group("job options")
    group.add_argument(
        "--background", action="store_true", help="run it as a job: nodes accept it, 'crpc jobs' has the results"
    )
    group.add_argument(
        "--cancel-on-interrupt", action="store_true", help="Ctrl-C stops the actions that still run, without a question"
    )
    when = group.add_mutually_exclusive_group()
    when.add_argument(
        "--at", metavar="TIME", help="start the job at a time: 02:30, or 2026-11-28T02:30, by the server's clock"
    )
    when.add_argument("--in", dest="in_", type=duration, metavar="DURATION", help="start the job later: 30m, 2h")
    group.add_argument("--splay", type=duration, metavar="DURATION", help="up to this much later on each node: 10m")
    group.add_argument(
        "--grace", type=duration, metavar="DURATION", help="how late a node that was off may start it (5m)"
    )
    group.add_argument("--keep", type=duration, metavar="DURATION", help="how long nodes keep the result (1d)")


def background(args: argparse.Namespace, now: datetime | None = None) -> Background | None:
    """Return when nodes run the action as a job; None for a usual call. Raise UsageError for options without effect.

    `now` is the local time, with its zone.
    """
    given = {"--at": args.at, "--in": args.in_, "--splay": args.splay, "--grace": args.grace, "--keep": args.keep}
    if not (args.background or args.at or args.in_):
        for option, value in given.items():
            if value:
                raise UsageError(f"{option}: has no effect without a job (add --background, --at or --in)")
        return None
    if args.before or args.after:
        raise UsageError("--before, --after: not allowed for a job, whose end is not waited for")
    from collective.fleet.background import GRACE, KEEP, Background

    start = read_time(args.at, now or datetime.now().astimezone()) if args.at else None
    return Background(start, args.in_ or 0.0, args.splay or 0.0, args.grace or GRACE, args.keep or KEEP)


def read_time(text: str, now: datetime) -> float:
    """Return a time in Unix seconds: `02:30` is the next one, a date without a zone is local. Raise UsageError."""
    if found := _TIME.fullmatch(text):
        try:
            time = now.replace(hour=int(found[1]), minute=int(found[2]), second=int(found[3] or 0), microsecond=0)
        except ValueError:
            raise _invalid(text) from None
        return (time if time > now else time + timedelta(days=1)).timestamp()
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise _invalid(text) from None
    time = time if time.tzinfo else time.replace(tzinfo=now.tzinfo)
    if time <= now:
        raise UsageError(f"--at '{text}': this time is over")
    if time > now + timedelta(days=30):
        raise UsageError(f"--at '{text}': more than 30 days from now")
    return time.timestamp()


def duration(text: str) -> float:
    """Read a duration such as `90s`, `30m`, `2h` or `1d`, at most 30 days, in seconds."""
    from collective import durations
    from collective.messages import MAX_DELAY

    try:
        seconds = durations.read(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if not 0 < seconds <= MAX_DELAY:
        raise argparse.ArgumentTypeError(f"invalid duration '{text}': use more than 0, at most 30d")
    return seconds


def _invalid(text: str) -> UsageError:
    return UsageError(f"--at '{text}': must be a time such as 02:30 or 2026-11-28T02:30")
