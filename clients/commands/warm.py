"""`crpc warm start|stop|status`: a process of this user that runs command lines without the time that a start takes."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from collective.clients import options, output
from collective.clients.commands import COMMANDS
from collective.clients.output import Output
from collective.clients.parser import Parser
from collective.durations import in_words
from collective.exit_codes import FAILED, OK
from collective.text import plural

_START_SECONDS = 20.0


def make_parser() -> Parser:
    """Return the parser of `crpc warm`."""
    parser = Parser(
        "crpc warm",
        description=f"{COMMANDS['warm']}.\n\n"
        "The process belongs to this user and this environment. It ends when it was not used for some time, and when "
        "the installed files change. With 'warm: 10m' in client.yaml the first call starts it.",
        examples=["crpc warm start --idle 30m", "crpc warm status", "crpc warm stop"],
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="start|stop|status")
    start = verbs.add_parser(
        "start", help="start the process", examples=["crpc warm start", "crpc warm start --idle 30m"]
    )
    start.add_argument(
        "--idle", type=options.seconds, metavar="DURATION", help="end after this time without a call (default: 10m)"
    )
    verbs.add_parser("stop", help="end the process when its calls have ended", examples=["crpc warm stop"])
    verbs.add_parser("status", help="show whether the process runs", examples=["crpc warm status"])
    return parser


def run(arguments: Sequence[str]) -> int:
    """Start, end or show the process; return the exit code."""
    args = make_parser().parse_args(arguments)
    return {"start": _start, "stop": _stop, "status": _status}[args.verb](args)


def _start(args: argparse.Namespace) -> int:
    from collective.clients.warm import launch

    if (found := launch.status()) is None:
        launch.start(args.idle or launch.DEFAULT_IDLE)
        found = launch.wait(_START_SECONDS)
    return _show(args, found)


def _stop(args: argparse.Namespace) -> int:
    from collective.clients.warm import launch

    pid = launch.stop()
    document = {"running": False, **({"pid": pid} if pid else {})}
    text = f"the warm process {pid} ends when its calls have ended" if pid else "no warm process is running"
    output.show(args, Output("warm", document, ("pid",), [[pid]] if pid else [], lambda: f"{text}\n"))
    return OK


def _status(args: argparse.Namespace) -> int:
    from collective.clients.warm import launch

    found = launch.status()
    _show(args, found)
    return OK if found else FAILED


def _show(args: argparse.Namespace, found: Mapping[str, Any] | None) -> int:
    document = {"running": found is not None, **(found or {})}
    rows = [list(found.values())] if found else []
    columns = ("pid", "calls", "active", "idle_s")
    output.show(args, Output("warm", document, columns, rows, lambda: f"{_text(found)}\n"))
    return OK


def _text(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "no warm process is running"
    calls = f"{plural(found['calls'], 'call')}, {found['active']} running"
    return f"warm process {found['pid']}: {calls}, ends after {in_words(found['idle_s'])} without a call"
