"""Make the command of a check from its line and the caller's arguments, and split the output of plugins.

    command line ── fill: each $ARGn$ quoted for its place in the line ──► command ──► list of arguments, or /bin/sh -c

A line is run by the shell only if it uses the shell. Then no argument can change what the shell does.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator, Sequence

from collective.run_as import STANDARD_PATH

# The parts of a shell line: a macro, an escaped character, a quote, or text.
_MACRO = r"\$ARG[0-9]+\$"
_PARTS = re.compile(
    rf"\$ARG(?P<number>[0-9]+)\$|\\(?!{_MACRO}).|['\"]|(?:(?!{_MACRO})[^\\'\"])+|\\",
    re.DOTALL,
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_NEEDS_NO_QUOTING = re.compile(r"[A-Za-z0-9_@%+=:,./-]*")  # as in shlex.quote, but ASCII only
# Places where quoting a value for the shell is not enough or not certain: comments, here-documents, substitutions, the
# $'…' of bash, a backslash before a macro, a macro as the command.
_UNCERTAIN = re.compile(r"[`#]|<<|\$[({'\"\[]|\\MACRO|(?:^|[|&;({!]|\b(?:do|then|else))\s*(?:\w+=\S*\s+)*MACRO")
# Programs that evaluate their arguments as code, again.
_EVALUATES = re.compile(
    r"(?:^|[\s/;|&('\"=])(?:eval|exec|source|\.|(?:ba|da|a|k|z|c|tc|fi|mk|pdk)?sh|busybox|ssh|rsh|su|runuser|xargs|find"
    r"|watch|script|parallel|env|[gmn]?awk|sed|perl|python[0-9.]*|ruby|php|node|lua|tclsh|expect|psql|mysql|mariadb"
    r"|sqlite3|mongosh?|redis-cli|sqlplus|osql|isql|bc|dc|jq)(?=$|[\s'\")])"
)
_SHELL_BARE = re.compile(r"[|&;<>()$`*?\[\]{}~#!]")
_SHELL_IN_DOUBLE_QUOTES = re.compile(r"[$`]")


def command(line: str, values: Sequence[str]) -> list[str]:
    """Return the command of a check: a list of arguments.

    Raises ValueError if a value cannot be put into the line safely.
    """
    filled = fill(line, values)
    return ["/bin/sh", "-c", filled] if _needs_shell(line) else shlex.split(filled)


def fill(line: str, values: Sequence[str]) -> str:
    """Return `line` with each `$ARGn$` replaced by the n-th value, quoted, or by nothing without a value.

    The value of a macro that is a word by itself is split into words as a shell would, each of which is quoted:
    `$ARG1$` can carry several options. Inside quotes, or next to other text, it stays a part of its word. Where quoting
    would not be safe, only values that need none are accepted.

    Raises ValueError for other values, and for control characters.
    """
    without_macros = re.sub(_MACRO, "MACRO", line)
    uncertain = _UNCERTAIN.search(without_macros) or _EVALUATES.search(without_macros)
    scanned = list(_scan(line))
    parts = []
    for place, (kind, text) in enumerate(scanned):
        if kind.startswith("macro"):
            number = int(text)
            value = values[number - 1] if 1 <= number <= len(values) else ""
            alone = kind == "macro" and _is_a_word(scanned, place)
            parts.append(_quoted(number, value, kind.removeprefix("macro"), alone, uncertain is not None))
        else:
            parts.append(text)
    return "".join(parts)


def _is_a_word(scanned: Sequence[tuple[str, str]], place: int) -> bool:
    """Return whether the part has white space or nothing on both sides."""
    before = scanned[place - 1] if place else ("", " ")
    after = scanned[place + 1] if place + 1 < len(scanned) else ("", " ")
    escaped = before[1].startswith("\\")
    return before[0] == after[0] == "" and before[1][-1:].isspace() and not escaped and after[1][:1].isspace()


def split(text: str) -> tuple[str, str]:
    """Return a plugin's output and its performance data.

    Monitoring Plugins guidelines: the first line is text, `|`, data; the following lines are long text, `|`, data.
    """
    first, _, rest = text.partition("\n")
    summary, _, data = first.partition("|")
    long_text, _, more_data = rest.partition("|")
    output = "\n".join(part for part in (summary.strip(), long_text.strip()) if part)
    perfdata = " ".join(part.strip() for part in (data, *more_data.splitlines()) if part.strip())
    return output, perfdata


def _scan(line: str) -> Iterator[tuple[str, str]]:
    """Yield the parts of a shell line: `("macro" + open quote, number)`, `(open quote or "", text)`, `("quote", …)`."""
    quote = ""
    for part in _PARTS.finditer(line):
        text = part[0]
        if part["number"]:
            yield f"macro{quote}", part["number"]
        elif text in ("'", '"') and quote in ("", text):
            quote = "" if quote else text
            yield "quote", text
        elif quote == "'" and text == "\\'":  # no escape inside single quotes: a backslash, and the end
            quote = ""
            yield "quote", text
        else:
            yield quote, text


def _quoted(number: int, value: str, quote: str, alone: bool, uncertain: bool) -> str:
    if _CONTROL.search(value):
        raise ValueError(f"argument {number} contains a control character")
    if uncertain:
        if not _NEEDS_NO_QUOTING.fullmatch(value):
            raise ValueError(
                f"argument {number} needs quoting, but the command line of the check evaluates it in another way "
                "(use letters, digits and _@%+=:,./- only)"
            )
        return value
    if quote:
        return f"{quote}{shlex.quote(value)}{quote}" if value else ""  # closes the quote, and opens it again
    if not alone:
        return shlex.quote(value) if value else ""
    try:
        return " ".join(map(shlex.quote, shlex.split(value)))
    except ValueError as error:
        raise ValueError(f"argument {number}: {str(error).lower()}") from None


def _needs_shell(line: str) -> bool:
    """Return whether a line uses the shell: operators, variables, patterns, assignments, built-in commands."""
    for kind, text in _scan(line):
        if kind == "" and not text.startswith("\\") and _SHELL_BARE.search(text):
            return True
        if kind == '"' and _SHELL_IN_DOUBLE_QUOTES.search(text):
            return True
    try:
        words = shlex.split(line)
    except ValueError:
        return True  # the shell will say what is wrong
    return not words or "=" in words[0] or "$" in words[0] or shutil.which(words[0], path=STANDARD_PATH) is None
