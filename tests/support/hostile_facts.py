"""Values of facts that try to run a command, expand a prompt or control a terminal; `{mark}` is a file to create."""

from __future__ import annotations

HOSTILE_FACTS = [
    "\x1b]0;title\x07\x1b[2J",
    "$(touch {mark})",
    "`touch {mark}`",
    "${{IFS}}touch",
    "\\$(touch {mark})\\u\\h",
    "%F{{red}}%n%(!.a.b)%{{\x1b[31m%}}",
    "%$(touch {mark})",
    "!!; touch {mark}",
    "a\nb\rc\u2028d",
    "\u202eevil\u200b",
    "é" * 50,
    "';touch {mark};'",
]
