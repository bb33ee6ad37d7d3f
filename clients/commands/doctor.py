"""`crpc doctor`: diagnose this caller's setup, and print what to do about each problem."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from collective.clients import options, output
from collective.clients.commands import COMMANDS
from collective.clients.completed_by import completed_by
from collective.clients.output import Output
from collective.clients.parser import Parser
from collective.clients.streams import write
from collective.exit_codes import CONFIGURATION, DENIED, UNAVAILABLE, exit_code
from collective.names import check_identity
from collective.text import escape_controls

if TYPE_CHECKING:
    from collective.clients.render.formatting import Paint
    from collective.fleet.doctor import Finding

_COLUMNS = ("check", "state", "text")
_COLORS = {"ok": "green", "warning": "yellow", "error": "red"}
# A wrong configuration causes many of the other errors, and missing credentials cause many network errors.
_WORST_FIRST = (CONFIGURATION, DENIED, UNAVAILABLE)


def make_parser() -> Parser:
    """Return the parser of `crpc doctor`."""
    parser = Parser(
        "crpc doctor",
        description=f"{COMMANDS['doctor']}.\n\n"
        "Check everything that a call needs, from the configuration to the reply of a node, and print what to"
        " do about each problem. The exit code is that of the worst problem.\n\n"
        "With NODE, explain why that node does not answer.",
        examples=["crpc doctor", "crpc doctor node01.lab", "crpc doctor -o json"],
    )
    completed_by(
        "node",
        parser.add_argument("node", nargs="?", metavar="NODE", help="explain this node instead of pinging any node"),
    )
    options.add_target(parser)
    return parser


def run(arguments: Sequence[str]) -> int:
    """Run every check, print one line for each, and return the exit code of the worst error."""
    args = make_parser().parse_args(arguments)

    from collective.fleet.doctor import examine

    streamed, paint = output.is_plain_text(args, _COLUMNS), output.paint(args)
    findings = examine(args.config, args.target, check_identity(args.node) if args.node else None)
    if streamed:
        found = list(_shown(findings, paint))
    else:
        found = list(findings)
        rows = [(one.check, one.state, one.text) for one in found]
        document = {"findings": [dict(zip(_COLUMNS, row, strict=True)) for row in rows]}
        output.show(
            args, Output("doctor", document, _COLUMNS, rows, lambda: "".join(_line(one, paint) for one in found))
        )
    codes = {exit_code(one.error) for one in found if one.error}
    return next((code for code in _WORST_FIRST if code in codes), max(codes, default=0))


def _shown(findings: Iterator[Finding], paint: Paint) -> Iterator[Finding]:
    """Print each finding as soon as its check ends, and yield it."""
    for one in findings:
        write(_line(one, paint))
        sys.stdout.flush()
        yield one


def _line(one: Finding, paint: Paint) -> str:
    state = paint(_COLORS[one.state], f"{one.state:<7}")
    return f"{one.check:<14} {state}  {escape_controls(one.text)}\n"
