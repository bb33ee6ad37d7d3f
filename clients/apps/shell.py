"""`crpc shell run 'LINE'`: the action `run` without typing `command=`.

With `--tail`, each node runs the line as a job whose output is shown while it runs: see `_tail`.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence

from collective.clients import options
from collective.clients.apps import ExtraVerb
from collective.clients.input_options import as_words
from collective.clients.output import require_text
from collective.clients.parser import Parser
from collective.errors import UsageError

_INPUTS = ("command", "user", "timeout", "cwd", "environment", "stdin")
# KEY=VALUE where KEY is an input, or may be a misspelt one because no space follows. `A=1 env` is a command line.
_INPUT = re.compile(rf"({'|'.join(_INPUTS)})=|[A-Za-z_][A-Za-z0-9_]*=\S*$")
_HANDLE = re.compile("[0-9a-f]{32}")


def make_parser() -> Parser:
    """Return the parser of `crpc shell run`."""
    from collective.clients.request_parser import make_parser as request_parser

    parser = request_parser(
        "crpc shell run",
        "crpc shell run 'LINE' [KEY=VALUE ...] [options]",
        "Run a command line on many nodes.\n\nThe inputs are those of 'crpc describe shell run'.",
        [
            "crpc shell run uptime",
            "crpc shell run 'df -h /' -F role=web",
            "crpc shell run 'ping -c 5 my.net' --tail",
        ],
    )
    parser.add_argument("--tail", action="store_true", help="show the output while it runs; Ctrl-C kills the jobs")
    return parser


def run(arguments: Sequence[str]) -> int:
    """Run a command line on all matching nodes, with `--tail` as a job; return the exit code."""
    from collective.clients.commands import rpc

    parser = make_parser()
    args = parser.parse_args(as_words(arguments, parser, lambda: _INPUTS))
    words = inputs(args.words)
    if not args.tail:
        return rpc.perform(args, ["shell", "run", *words])
    _refuse_forms(args)
    if args.dry_run:
        raise UsageError("--tail: not allowed with --dry-run, which starts nothing")
    from collective.clients.apps._tail import follow

    with rpc.sent(args, ["shell", "start", *words]) as (call, fleet):
        return follow(call, fleet)


def make_output_parser() -> Parser:
    """Return the parser of `crpc shell output`."""
    parser = Parser(
        "crpc shell output",
        description="Print the whole output of a command.\n\n"
        "HANDLE is that of a job, or of a reply that is truncated. Standard output and standard error of the command "
        "are printed on standard output and standard error; the exit code is 0 if all of it was printed.",
        examples=["crpc shell output 0c6f6e1b8d2a4f0e9b7c5a3d1e2f4a6b"],
    )
    parser.add_argument("handle", metavar="HANDLE", help="handle of the command on one of the nodes")
    options.add_targets(parser)
    options.add_running(parser)
    return parser


def output(arguments: Sequence[str]) -> int:
    """Print the whole output of a command; return the exit code."""
    args = make_output_parser().parse_args(arguments)
    _refuse_other_forms(args, "output", "because it prints the output as it is")
    if not _HANDLE.fullmatch(args.handle):
        raise UsageError(f"invalid handle '{args.handle}': use the 32 characters that 'crpc shell list' prints")
    from collective.clients.apps._output import fetch
    from collective.clients.commands import rpc
    from collective.clients.prepared_call import connected

    with connected(*rpc.configuration(args, ["shell", "statuses"])) as fleet:
        return fetch(fleet, args.handle, options.targets(args), args.timeout)


def inputs(words: Sequence[str]) -> list[str]:
    """Return the arguments as KEY=VALUE; a first one that is not KEY=VALUE is the command line."""
    if not words or _INPUT.match(words[0]):
        return list(words)
    line = f"@{words[0]}" if words[0].startswith("@") else words[0]  # '@@' escapes '@', which would name a file
    return [f"command={line}", *words[1:]]


def _refuse_forms(args: argparse.Namespace) -> None:
    if args.no_results:
        raise UsageError("--tail: not allowed with --no-results, because it prints lines as they arrive")
    if args.live:
        raise UsageError("--tail: not allowed with --live, because it prints lines as they arrive")
    _refuse_other_forms(args, "--tail", "because it prints lines as they arrive")


def _refuse_other_forms(args: argparse.Namespace, what: str, reason: str) -> None:
    if args.output != "text":
        raise UsageError(f"{what}: not allowed with --{args.output}, {reason}")
    require_text(args, what, reason.removeprefix("because "))


_ABOUT = "Run a command line (no 'command=' needed); --tail shows its output while it runs"
VERBS = {
    "run": ExtraVerb(_ABOUT, run, make_parser),
    "output": ExtraVerb("Print the whole output of a job, or of a truncated reply", output, make_output_parser),
}
