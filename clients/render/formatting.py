"""Format values for every form of output: colour, JSON and YAML."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TextIO

from collective.clients.streams import COLORS, RESET, write

_DEEPEST = 100  # levels of a value; a reply may have more than the JSON encoder can recurse into


def write_json(value: Any, stream: TextIO | None = None) -> None:
    """Write `value` as one indented JSON document."""
    write(json.dumps(value, indent=2) + "\n", stream)


def write_yaml(value: Any, stream: TextIO | None = None) -> None:
    """Write `value` as one YAML document of ASCII characters; text of several lines is a literal block."""
    import yaml

    # libyaml is twenty times faster than PyYAML's own emitter, and refuses halves of surrogate pairs.
    try:
        text = _yaml(value, yaml.CSafeDumper if yaml.__with_libyaml__ else yaml.SafeDumper)
    except UnicodeEncodeError:
        text = _yaml(value, yaml.SafeDumper)
    write(text, stream)


def _yaml(value: Any, base: Any) -> str:
    import yaml

    dumper: Any = type("Dumper", (base,), {})
    dumper.add_representer(str, _represent)
    return str(yaml.dump(value, Dumper=dumper, sort_keys=False, width=120))


def _represent(dumper: Any, text: str) -> Any:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


def in_words(value: Any, indent: int | None = None) -> str:
    """Return a value as text: a string unchanged, an empty string for null, everything else as JSON."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return to_json(value, indent)


def to_json(value: Any, indent: int | None = None) -> str:
    """Return `value` as JSON with non-ASCII characters; a value that JSON cannot represent is described."""
    try:
        return json.dumps(shallow(value), ensure_ascii=False, indent=indent)
    except (TypeError, ValueError) as error:
        return f"(cannot be printed: {error})"


def shallow(value: Any, levels: int = _DEEPEST) -> Any:
    """Return `value` with lists and objects deeper than `levels` replaced by a note, so that it can be encoded."""
    if not isinstance(value, dict | list):
        return value
    if levels == 0:
        return "(nested too deeply)"
    if isinstance(value, dict):
        return {name: shallow(member, levels - 1) for name, member in value.items()}
    return [shallow(element, levels - 1) for element in value]


class Paint:
    """Colours text for a terminal if `enabled`."""

    def __init__(self, enabled: bool) -> None:
        self._enabled = enabled

    def __call__(self, color: str, text: str) -> str:
        """Return `text` in `color`: red, green, yellow, bold."""
        return f"{COLORS[color]}{text}{RESET}" if self._enabled and text else text


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
