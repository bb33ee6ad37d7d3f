"""What every form of output shares: characters that cannot harm a terminal, colour, and values in words."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from typing import Any, TextIO

from colorama import Fore, Style

_COLORS = {"red": Fore.RED, "green": Fore.GREEN, "yellow": Fore.YELLOW, "bold": Style.BRIGHT}

_DEEPEST = 100  # levels of a value; a reply can have more than the writers of JSON can recurse into

# Control characters (C0 without tab and newline, DEL, C1), separators and overrides that reorder or break
# a line, and halves of surrogate pairs, which no encoding can write.
_HARMFUL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def clean(text: str) -> str:
    r"""Return `text` with harmful characters made visible (`\x1b`); newlines and tabs stay."""
    return _HARMFUL.sub(_visible, text.replace("\r\n", "\n"))


def clean_line(text: str) -> str:
    r"""Return `text` as one harmless line: newlines and tabs become `\n` and `\t`, too."""
    return clean(text).replace("\n", r"\n").replace("\t", r"\t")


def _visible(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")


def write(stream: TextIO, text: str) -> None:
    r"""Write `text`; what the stream's encoding lacks is written as `\u2026`, never an error."""
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))


def write_json(value: Any, stream: TextIO | None = None) -> None:
    """Write `value` as one JSON document, indented for people who look at it all the same."""
    (stream or sys.stdout).write(json.dumps(value, indent=2) + "\n")


def write_yaml(value: Any, stream: TextIO) -> None:
    """Write `value` as one YAML document of ASCII characters."""
    import yaml

    yaml.safe_dump(value, stream, sort_keys=False, width=120)


def in_words(value: Any, indent: int | None = None) -> str:
    """Return a value of a reply as text: text as it is, nothing for null, everything else as JSON."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return to_json(value, indent)


def to_json(value: Any, indent: int | None = None) -> str:
    """Return `value` as JSON for people, in its own characters; what JSON cannot carry is described."""
    try:
        return json.dumps(shallow(value), ensure_ascii=False, indent=indent)
    except (TypeError, ValueError) as error:
        return f"(cannot be shown: {error})"


def shallow(value: Any, levels: int = _DEEPEST) -> Any:
    """Return `value` with arrays and objects below `levels` replaced by a mark, so that it can be written."""
    if not isinstance(value, dict | list):
        return value
    if levels == 0:
        return "(nested too deeply)"
    if isinstance(value, dict):
        return {name: shallow(member, levels - 1) for name, member in value.items()}
    return [shallow(element, levels - 1) for element in value]


class Paint:
    """Colour text for a terminal, or leave it alone when not `enabled`."""

    def __init__(self, enabled: bool) -> None:
        self._enabled = enabled

    def __call__(self, color: str, text: str) -> str:
        """Return `text` in `color`: red, green, yellow, bold."""
        return f"{_COLORS[color]}{text}{Style.RESET_ALL}" if self._enabled and text else text


PLAIN = Paint(False)


def color_enabled(mode: str, stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Return whether to colour text for `stream`.

    `mode` is `always`, `never`, or `auto`: then `NO_COLOR`, `FORCE_COLOR`, `CLICOLOR_FORCE` and `CLICOLOR=0` decide;
    without them text for a terminal is coloured. See https://no-color.org, https://force-color.org and
    https://bixense.com/clicolors.
    """
    if mode != "auto":
        return mode == "always"
    if environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR", "0") not in ("", "0") or environ.get("CLICOLOR_FORCE", "0") not in ("", "0"):
        return True
    return stream.isatty() and environ.get("TERM") != "dumb" and environ.get("CLICOLOR") != "0"
