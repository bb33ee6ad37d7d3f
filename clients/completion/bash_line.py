r"""Split a line as bash does while it is being typed, and quote what replaces its last word.

bash splits words at COMP_WORDBREAKS too (`=` and `:`), and replaces only what follows the last of them, or what follows
an open quote: `-F role=we` becomes `web`, and `-F 'role=we` becomes `role=web`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from collective.clients.completion import Candidate

_SAFE = re.compile(r"[\w./,:=@%+-]")
_ESCAPED_IN_DOUBLE_QUOTES = re.compile(r'(["\\$`])')


@dataclass(frozen=True)
class TypedLine:
    """The words before the cursor without the command, and the current one, unquoted.

    `quote` is the open quote, if any. `kept` is the number of characters of the current word that bash keeps.
    """

    words: list[str]
    current: str
    quote: str = ""
    kept: int = 0

    def replacements(self, found: Sequence[Candidate]) -> list[str]:
        """Return what bash inserts for each candidate, quoted; a space follows a word that is complete."""
        parts = [(one.word[self.kept :], one.ended) for one in found if len(one.word) >= self.kept]
        if self.quote == '"':  # within double quotes there is no way to write a '!' that bash does not interpret
            return [_ESCAPED_IN_DOUBLE_QUOTES.sub(r"\\\1", text) for text, _ in parts if "!" not in text]
        if self.quote:
            return [text.replace("'", "'\\''") for text, _ in parts]
        return [_escaped(text, self.current) + " " * ended for text, ended in parts]


def read_line(line: str, breaks: str) -> TypedLine:
    """Split the `line` up to the cursor; its first word is the command. `breaks` are bash's COMP_WORDBREAKS."""
    words: list[str] = []
    text: str | None = None  # the current word
    quote, kept, place = "", 0, 0
    while place < len(line):
        char = line[place]
        if quote:
            text, quote, place = _quoted(line, place, text or "", quote)
        elif char in "'\"":
            quote, kept, text = char, len(text or ""), text or ""
        elif char.isspace():
            words, text, kept = ([*words, text] if text is not None else words), None, 0
        else:
            place += char == "\\"
            text = (text or "") + line[place : place + 1]
            kept = len(text) if char in breaks else kept
        place += 1
    return TypedLine(words[1:], text or "", quote, kept)


def _quoted(line: str, place: int, text: str, quote: str) -> tuple[str, str, int]:
    """Read one character within quotes; return the text so far, the quote that is open, and its last place."""
    char, following = line[place], line[place + 1 : place + 2]
    if char == quote:
        return text, "", place
    if quote == '"' and char == "\\" and following and following in '"\\$`':
        return text + following, quote, place + 1
    return text + char, quote, place


def _escaped(text: str, typed: str) -> str:
    """Return `text` so that the shell takes it literally; a leading tilde stays if it was typed."""
    kept = "~" if typed.startswith("~") and text.startswith("~") else ""
    return kept + "".join(char if _SAFE.match(char) else f"\\{char}" for char in text[len(kept) :])
