"""Write tables, code and cells in Markdown."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from collective.schema_types import target


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; cells are Markdown."""
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join(f"| {' | '.join(cell(text) for text in line)} |" for line in lines)


def cell(text: str) -> str:
    """Return text that fits into one cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def plain(text: str) -> str:
    """Return text that Markdown shows as it is."""
    return re.sub(r"([\\`*_\[\]])", r"\\\1", text).replace("<", "&lt;")


def code(value: Any) -> str:
    """Return a value as inline code: a string as it is, anything else as JSON."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def block(text: str, language: str = "text") -> str:
    """Return a fenced block."""
    return f"```{language}\n{text.rstrip()}\n```"


def kind(part: Any, schema: Mapping[str, Any], seen: Collection[str] = ()) -> str:
    """Return the type of a part of a JSON Schema in words; its `$ref` leads into `schema`.

    `seen` are the references that led here: one that leads back to itself says nothing.
    """
    if not isinstance(part, Mapping):  # true and false are schemas too
        return "any"
    if "$ref" in part:
        reference = part["$ref"]
        return "any" if reference in seen else kind(target(reference, schema), schema, {*seen, reference})
    if "enum" in part:
        return "one of " + ", ".join(code(value) for value in part["enum"])
    if choices := part.get("anyOf", part.get("oneOf")):
        return " or ".join(kind(choice, schema, seen) for choice in choices)
    found = part.get("type", "any")
    if found == "array" and isinstance(part.get("items"), dict):
        return f"list of {kind(part['items'], schema, seen)}"
    return " or ".join(found) if isinstance(found, list) else str(found)
