"""`crpc doctor`: diagnose this caller's setup, and print what to do about each problem."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from collective.clients import options
from collective.clients.render.formatting import Paint, clean_line, color_enabled, write_json
from collective.exit_codes import CONFIGURATION, DENIED, UNAVAILABLE, exit_code

if TYPE_CHECKING:
    from collective.fleet.doctor import Finding

_COLORS = {"ok": "green", "warning": "yellow", "error": "red"}
# A wrong configuration causes many of the other errors, and missing credentials cause many network errors.
_WORST_FIRST = (CONFIGURATION, DENIED, UNAVAILABLE)


def run(arguments: Sequence[str]) -> int:
    """Check everything that a call needs, print one line per check, and return the exit code of the worst error."""
    parser = options.Parser("crpc doctor", description="Diagnose this caller's setup.")
    parser.add_argument("-T", "--target", metavar="NAME", help="another collective from the configuration")
    options.add_json(parser)
    args = parser.parse_args(arguments)

    from collective.fleet.doctor import examine

    findings = examine(args.config, args.target)
    found = list(findings if args.json else _shown(findings))
    if args.json:
        write_json({"findings": [{"check": one.check, "state": one.state, "text": one.text} for one in found]})
    codes = {exit_code(one.error) for one in found if one.error}
    return next((code for code in _WORST_FIRST if code in codes), max(codes, default=0))


def _shown(findings: Iterator[Finding]) -> Iterator[Finding]:
    """Print each finding as soon as its check ends, and yield it."""
    paint = Paint(color_enabled("auto", sys.stdout, os.environ))
    for one in findings:
        state = paint(_COLORS[one.state], f"{one.state:<7}")
        sys.stdout.write(f"{one.check:<14} {state}  {clean_line(one.text)}\n")
        sys.stdout.flush()
        yield one
