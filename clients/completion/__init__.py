"""Complete command lines in the shell: what the scripts of `crpc completion SHELL` call when Tab is pressed.

    crpc __complete bash WORDBREAKS LINE       the line up to the cursor, as typed
    crpc __complete zsh WORD …                 the words up to the cursor, unquoted; the last one is completed
    crpc __complete fish WORD …                the same; the last one as typed

    shell script ─► run ─► candidates.complete ─► parsers of --help, DDLs, values.py

Prints one candidate per line, in zsh and fish followed by a tab and its description. Nothing is read from the network,
and no error is shown: without an answer there are no candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from collective.clients.streams import write

SHELLS = ("bash", "zsh", "fish")
_LONGEST = 200  # characters of a candidate; longer values are not typed by completing them


@dataclass(frozen=True)
class Candidate:
    """A word that completes the current one. After a word that is not `ended`, more can be typed without a space."""

    word: str
    about: str = ""
    ended: bool = True


def run(arguments: Sequence[str]) -> int:
    """Print the candidates for a command line; return 0, also when it cannot be completed."""
    try:
        lines = _lines(arguments[0], arguments[1:])
        write("".join(f"{line}\n" for line in lines))
    except Exception:  # noqa: S110 - an error message would be printed into the line that is being typed
        pass
    return 0


def _lines(shell: str, given: Sequence[str]) -> list[str]:
    from collective.clients.completion.candidates import complete

    if shell == "bash":
        from collective.clients.completion.bash_line import read_line

        line = read_line(given[1], given[0])
        return line.replacements(usable(complete(line.words, line.current)))
    *words, current = given
    if shell == "fish":
        from collective.clients.completion.bash_line import read_line

        current = read_line(f"crpc {current}", "").current
    return [
        f"{one.word}\t{one.about}" + ("" if one.ended or shell == "fish" else "\t+")
        for one in usable(complete(words, current))
    ]


def usable(found: Sequence[Candidate]) -> list[Candidate]:
    """Return the candidates that a terminal and a shell can show: no control characters, no excessive length."""
    return [
        Candidate(one.word, "".join(filter(str.isprintable, one.about)), one.ended)
        for one in dict.fromkeys(found)
        if one.word.isprintable() and 0 < len(one.word) <= _LONGEST
    ]
