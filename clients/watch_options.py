"""The options of `crpc watch`, and the values that they stand for."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from collective.clients import options
from collective.errors import UsageError
from collective.watch_settings import KINDS, TIMEOUT

if TYPE_CHECKING:
    from collective.clients.parser import Parser
    from collective.membership.handlers import Command
    from collective.membership.view import MemberView


def add_watching(parser: Parser) -> None:
    """Add the options that say what is watched, and for how long."""
    group = parser.add_argument_group("watch options")
    group.add_argument(
        "--on", type=_kinds, metavar="KIND,…", help=f"only these kinds of events: {', '.join(KINDS)} (default: all)"
    )
    group.add_argument(
        "--state",
        type=options.path,
        metavar="FILE",
        help="keep members and events in FILE, to continue after a restart",
    )
    group.add_argument(
        "--every",
        type=options.seconds,
        metavar="DURATION",
        help="read the registry so often (default: 5s, or a third of the shortest heartbeat)",
    )
    group.add_argument(
        "--settle",
        type=options.seconds,
        default=0.0,
        metavar="DURATION",
        help="ignore changes that last less long (0s)",
    )
    end = group.add_mutually_exclusive_group()
    end.add_argument("--for", dest="for_", type=options.seconds, metavar="DURATION", help="end after this time")
    end.add_argument("--once", action="store_true", help="report what has changed since the last run, and end")
    group.add_argument(
        "--ignore-fact", action="append", default=[], metavar="NAME", help="a fact whose changes are no events"
    )
    group.add_argument(
        "--address", action="append", default=[], metavar="FACT", help="a fact with the address (default: addresses)"
    )
    group.add_argument(
        "--ec2-events",
        action="store_true",
        help="take the events of EC2 that 'crpc setup --ec2-events' collects: terminated instances fail at once",
    )
    group.add_argument(
        "--no-ping", action="store_true", help="do not ask suspected nodes: six missed heartbeats are a failure"
    )


def add_handlers(parser: Parser) -> None:
    """Add the options that name a command to run for events."""
    group = parser.add_argument_group("handler options")
    command = group.add_mutually_exclusive_group()
    command.add_argument(
        "--exec", dest="exec_", metavar="CMD", help="run CMD for each event as serf runs its event handlers"
    )
    command.add_argument(
        "--exec-json", metavar="CMD", help="run CMD for each event, with the event as JSON on its input"
    )
    group.add_argument("--batch", action="store_true", help="run CMD for all waiting events together, one at a time")
    group.add_argument(
        "--exec-timeout", type=options.seconds, metavar="DURATION", help="kill CMD after this time (60s)"
    )


def read_command(args: argparse.Namespace) -> Command | None:
    """Return the command to run for events; None if there is none. Raises UsageError."""
    line = args.exec_ if args.exec_ is not None else args.exec_json
    if line is None:
        for name, given in (("--batch", args.batch), ("--exec-timeout", args.exec_timeout)):
            if given:
                raise UsageError(f"{name}: has no effect without a command (add --exec or --exec-json)")
        return None
    if not line.strip():
        raise UsageError(f"{'--exec' if args.exec_ is not None else '--exec-json'}: the command must not be empty")
    from collective.membership.handlers import JSON, SERF, Command

    return Command(line, SERF if args.exec_ is not None else JSON, args.exec_timeout or TIMEOUT)


def read_view(args: argparse.Namespace) -> MemberView:
    """Return what is watched. Raises UsageError for targets that cannot be watched."""
    from collective.fleet.record_selection import by_record
    from collective.membership.view import ADDRESS_FACTS, MemberView

    if args.expect_all:
        raise UsageError("--expect-all: has no effect here (watch reports each node that fails)")
    return MemberView(by_record(options.targets(args)), args.address or ADDRESS_FACTS, args.ignore_fact)


def state_file(args: argparse.Namespace) -> Path | None:
    """Return the path of the state file, if one is given. Raises UsageError when its folder does not exist."""
    path: Path | None = args.state
    if path is not None and not path.absolute().parent.is_dir():
        raise UsageError(f"--state {path}: the folder {path.absolute().parent} does not exist (create it)")
    return path


def _kinds(text: str) -> tuple[str, ...]:
    kinds = tuple(word.strip() for word in text.split(","))
    for kind in kinds:
        if kind not in KINDS:
            raise argparse.ArgumentTypeError(f"unknown kind of event '{kind}': use {', '.join(KINDS)}")
    return kinds
