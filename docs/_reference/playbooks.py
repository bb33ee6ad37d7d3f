"""Every key of a playbook, from its JSON Schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from collective import schemas
from collective.clients.render import markdown

_SECTIONS = ("step", "call", "targets", "pace", "wait", "for_each", "include", "ask", "notify", "local", "retry")


def playbook_keys() -> str:
    """Return a section for the whole file, and one for each mapping in it."""
    schema = schemas.load("playbook")
    parts = [_section("The file", schema, schema)]
    parts += [_section(name, schema["$defs"][name], schema) for name in _SECTIONS]
    return "\n\n".join(parts)


def _section(name: str, part: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    rows = [
        [markdown.code(key), _kind(one, schema), _meaning(key, one, part)] for key, one in part["properties"].items()
    ]
    about = markdown.plain(part["description"])
    return f"## {name}\n\n{about}.\n\n{markdown.table(['Key', 'Type', 'Meaning'], rows)}"


def _kind(one: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    name = str(one.get("$ref", "")).rpartition("/")[2]
    if name in _SECTIONS:
        return f"[{name}](#{name})"
    words = {"steps": "list of [steps](#step)", "assert": "string, list, or mapping with `that` and `message`"}
    return words.get(name) or markdown.kind(one, schema)


def _meaning(key: str, one: Mapping[str, Any], part: Mapping[str, Any]) -> str:
    required = " (required)" if key in part.get("required", ()) else ""
    return markdown.plain(one.get("description", "")) + required
