"""Values that would do something if they reached a shell, an option parser, a path or a C string."""

from __future__ import annotations

from pathlib import Path

_VALUES = {
    "option": "--now",
    "newline": "a\nb",
    "shell": "; touch {mark}",
    "substitution": "$(touch {mark})",
    "backticks": "`touch {mark}`",
    "climbing": "../../../../../../../../{mark}",
    "link": "{link}",
    "long": "a" * (1024 * 1024),
    "nul": "a\0b",
    "not UTF-8": "a\udcff",
}


def hostile_values(mark: Path, link: Path) -> list[str]:
    """Return the values: those that run a command create the file `mark`, `link` leads out of an allowed folder."""
    return [text.format(mark=mark, link=link) for text in _VALUES.values()]
