"""Every key of node.yaml and client.yaml: types and defaults from the code, meanings from the example files."""

from __future__ import annotations

import re
import typing
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

from _reference import markdown
from collective import conf, config

CONF = Path(conf.__path__[0])
_KEY = re.compile(r"^#? ?(\w+): .*?\s# (.+)$")
_MORE = re.compile(r"^# {12,}# (.+)$")


def node() -> str:
    """Return the table of node.yaml's keys, and the example file."""
    return _section(config.NodeConfig, "node.yaml")


def client() -> str:
    """Return the table of client.yaml's keys, and the example file."""
    return _section(config.ClientConfig, "client.yaml")


def meanings(example: str) -> dict[str, str]:
    """Return what the comments of an example file say about each key."""
    found: dict[str, str] = {}
    key = ""
    for line in example.splitlines():
        if first := _KEY.match(line):
            key = first[1]
            found[key] = first[2]
        elif key and (more := _MORE.match(line)):
            found[key] += " " + more[1]
        else:
            key = ""
    return found


def _section(kind: type[Any], name: str) -> str:
    example = (CONF / name).read_text(encoding="utf-8")
    said, hints = meanings(example), typing.get_type_hints(kind)
    rows = [
        [markdown.code(key.name), _type(hints[key.name]), _default(key), said.get(key.name, "")] for key in fields(kind)
    ]
    return f"{markdown.table(['Key', 'Type', 'Default', 'Meaning'], rows)}\n\n{markdown.block(example, 'yaml')}"


def _type(hint: Any) -> str:
    given = [part for part in typing.get_args(hint) if part is not type(None)]
    if typing.get_origin(hint) is list:
        return f"list of {'command' if typing.get_origin(given[0]) is list else _type(given[0])}s"
    if typing.get_origin(hint) is dict:
        return f"mapping of names to {_type(given[1])}s"
    if given:  # Path | None
        return _type(given[0])
    return {Path: "path", str: "string", bool: "boolean", int: "integer", float: "number"}[hint]


def _default(key: Field[Any]) -> str:
    if key.default is not MISSING:
        default = key.default
        if default is None:
            return "none"
        return markdown.code(str(default) if isinstance(default, Path) else _short(default))
    if key.default_factory is not MISSING:
        return "see the example"
    return "required"


def _short(default: object) -> object:
    return int(default) if isinstance(default, float) and default.is_integer() else default
