"""`crpc shell run 'LINE'`: the action `run` without `command=`; what many nodes say alike is shown once.

With `--tail` the line is started as a job on each node, and followed: see `_following`.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence

from collective.clients.apps import ExtraVerb
from collective.clients.commands import rpc
from collective.errors import UsageError

# KEY=VALUE, of an input that there is, or of one without blanks, which may be misspelt; `A=1 env` is a line.
_INPUT = re.compile(r"(command|user|timeout|cwd|environment|stdin)=|[A-Za-z_][A-Za-z0-9_]*=\S*$")


def run(arguments: Sequence[str]) -> int:
    """Run a line, or follow it; with KEY=VALUE alone it is the action as any other."""
    parser = rpc.make_parser("crpc shell run", "crpc shell run 'LINE' [KEY=VALUE ...] [options]")
    parser.add_argument("--tail", action="store_true", help="show what it says as it says it; Ctrl-C ends it")
    given = parser.parse_args(arguments)
    words = inputs(given.words)
    given.together = words != given.words
    if not given.tail:
        return rpc.perform(given, ["shell", "run", *words])
    _refuse_forms(given)
    from collective.clients.apps._tail import follow

    with rpc.sent(given, ["shell", "start", *words]) as (call, fleet):
        return follow(call, fleet)


def inputs(words: Sequence[str]) -> list[str]:
    """Return the words as KEY=VALUE: a first one that is none is the line."""
    if not words or _INPUT.match(words[0]):
        return list(words)
    line = f"@{words[0]}" if words[0].startswith("@") else words[0]  # it is no file's name
    return [f"command={line}", *words[1:]]


def _refuse_forms(given: argparse.Namespace) -> None:
    form = "no-results" if given.no_results else given.output
    if form != "text":
        raise UsageError(f"--tail: not allowed with --{form}, because it prints lines as they arrive")


VERBS = {"run": ExtraVerb("a line of shell without 'command='; --tail shows its output as it comes", run)}
