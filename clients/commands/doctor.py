"""`crpc doctor`: what is wrong with this caller, and how to mend it."""

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
_GRAVEST_FIRST = (CONFIGURATION, DENIED, UNAVAILABLE)  # what is wrong here is behind much of what is wrong there


def run(arguments: Sequence[str]) -> int:
    """Look at everything that a call needs; print a line for each, and return the code of the gravest fault."""
    parser = options.Parser("crpc doctor", description="Say what is wrong with this caller, and how to mend it.")
    parser.add_argument("-T", "--target", metavar="NAME", help="another collective that the configuration knows")
    options.add_json(parser)
    given = parser.parse_args(arguments)

    from collective.fleet.doctor import examine

    findings = examine(given.config, given.target)
    found = list(findings if given.json else _shown(findings))
    if given.json:
        write_json({"findings": [{"check": one.check, "state": one.state, "text": one.text} for one in found]})
    codes = {exit_code(one.error) for one in found if one.error}
    return next((code for code in _GRAVEST_FIRST if code in codes), max(codes, default=0))


def _shown(findings: Iterator[Finding]) -> Iterator[Finding]:
    """Write each finding as it is found, and pass it on."""
    paint = Paint(color_enabled("auto", sys.stdout, os.environ))
    for one in findings:
        state = paint(_COLORS[one.state], f"{one.state:<7}")
        sys.stdout.write(f"{one.check:<14} {state}  {clean_line(one.text)}\n")
        sys.stdout.flush()
        yield one
