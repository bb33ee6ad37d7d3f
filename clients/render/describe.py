"""Document an agent or one of its actions as text, from the DDL.

    service status
    ==============
    Return whether a service is running

         Shown: all replies
       Timeout: 60 s
    Idempotent: yes

    Inputs:

       service (required)
            Title: Service
             Type: string
          Pattern: ^[a-z]+$

Outputs and summaries follow in the same form.
"""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from collective.clients.render.formatting import in_words, to_json
from collective.ddl import DDL, Action, Aggregate
from collective.text import escape_controls, escape_lines

_INDENT = "   "
_NARROWEST = 40  # columns; narrower text is hard to read
_METADATA = {"author": "Author", "license": "License", "url": "URL"}
_SHOWN = {"ok": "replies that are OK", "failed": "replies that failed", "always": "all replies"}
_BOUNDS = (
    *("minLength", "maxLength", "minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum", "multipleOf"),
    *("minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties", "format"),
)


def usage(action: Action) -> str:
    """Return the command line of an action: `crpc package status package=STRING [options]`."""
    words = [f"{name}={_placeholder(schema)}" for name, schema in action.inputs.items() if name in action.required]
    words += [
        f"[{name}={_placeholder(schema)}]" for name, schema in action.inputs.items() if name not in action.required
    ]
    return escape_controls(" ".join(["crpc", action.agent, action.name, *words, "[options]"]))


def example(action: Action) -> str:
    """Return a command line that runs an action; empty if the DDL has no value for a required input."""
    required = {name: _typical(schema) for name, schema in action.inputs.items() if name in action.usual}
    if None in required.values():
        return ""
    words = [shlex.quote(f"{name}={in_words(value)}") for name, value in required.items()]
    return escape_controls(" ".join(["crpc", action.agent, action.name, *words, "--limit 1"]))


def _placeholder(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return "|".join(map(in_words, schema["enum"]))
    kinds = schema.get("type", "value")
    names = [kinds] if isinstance(kinds, str) else [kind for kind in kinds if kind != "null"]
    return "|".join("true|false" if name == "boolean" else name.upper() for name in names)


def _typical(schema: Mapping[str, Any]) -> Any:
    """Return a valid value from a schema: an example, the default or a member of the enum; None if it has none."""
    values = [
        *schema.get("examples", ()),
        *([schema["default"]] if "default" in schema else ()),
        *schema.get("enum", ()),
    ]
    return values[0] if values else None


def describe_agent(ddl: DDL, width: int, verbs: Mapping[str, str] = MappingProxyType({})) -> str:
    """Return the documentation of an agent, its actions and extra verbs, wrapped to `width` columns."""
    metadata = ddl.metadata
    lines = [
        *_heading(f"{ddl.name} {metadata['version']}", metadata["description"], width),
        *_fields([(label, metadata.get(word)) for word, label in _METADATA.items()], width),
        *_wrapped("Actions: ", ", ".join(ddl.actions), width),
        *(line for verb, about in verbs.items() for line in _wrapped(f"crpc {ddl.name} {verb}: ", about, width)),
    ]
    if ddl.settings:
        heading = f"Settings on a node (settings/{ddl.name}.yaml)"
        lines += ["", *_values(heading, ddl.settings["properties"], width)]
    return "\n".join([_text(lines), *(describe_action(action, width) for action in ddl.actions.values())])


def describe_action(action: Action, width: int) -> str:
    """Return the documentation of one action, wrapped to `width` columns."""
    facts = [
        ("Shown", _SHOWN[action.display]),
        ("Timeout", f"{action.timeout:g} s"),
        ("Idempotent", "yes" if action.idempotent else "no"),
        ("Dry run", "yes" if action.dry_run else "no"),
    ]
    inputs = {
        name + (" (required)" if name in action.required else ""): schema for name, schema in action.inputs.items()
    }
    lines = [
        *_heading(f"{action.agent} {action.name}", action.description, width),
        *_fields(facts, width),
        *_values("Inputs", inputs, width),
        *_values("Outputs", action.outputs, width),
        *_summaries(action.aggregates, width),
    ]
    return _text(lines)


def _heading(title: str, description: str, width: int) -> list[str]:
    return [title, "=" * len(title), *_wrapped("", description, width), ""]


def _values(heading: str, schemas: Mapping[str, Mapping[str, Any]], width: int) -> list[str]:
    """Return the lines about the inputs or outputs."""
    if not schemas:
        return [f"{heading}: none", ""]
    lines = [f"{heading}:", ""]
    for name, schema in schemas.items():
        lines += [_INDENT + name, *_fields(_properties(schema), width, _INDENT * 2)]
    return lines


def _properties(schema: Mapping[str, Any]) -> list[tuple[str, str | None]]:
    """Return the properties of a value as pairs of label and text; None for what its schema does not have."""
    secret = bool(schema.get("writeOnly"))
    default = "********" if secret else to_json(schema.get("default"))
    bounds = [f"{word} {to_json(schema[word])}" for word in _BOUNDS if word in schema]
    return [
        ("Title", schema.get("title")),
        ("Meaning", schema.get("description")),
        ("Type", _type(schema)),
        ("One of", ", ".join(map(to_json, schema["enum"])) if "enum" in schema else None),
        ("Pattern", schema.get("pattern")),
        ("Limits", ", ".join(bounds) or None),
        ("Default", default if "default" in schema else None),
        ("Secret", "yes: never printed or logged" if secret else None),
    ]


def _type(schema: Mapping[str, Any]) -> str | None:
    kind = schema.get("type")
    if isinstance(kind, list):
        return " or ".join(kind)
    items = schema.get("items")
    inner = _type(items) if kind == "array" and isinstance(items, Mapping) else None
    return f"array of {inner}" if inner else kind


def _summaries(found: Sequence[Aggregate], width: int) -> list[str]:
    if not found:
        return []
    lines = ["Summaries:", ""]
    for aggregate in found:
        labels = ", ".join(f"{value} = {label}" for value, label in aggregate.labels.items())
        text = f"{aggregate.function} of {aggregate.title}" + (f" ({labels})" if labels else "")
        lines += _wrapped(_INDENT, text, width)
    return [*lines, ""]


def _fields(pairs: Iterable[tuple[str, str | None]], width: int, indent: str = "") -> list[str]:
    """Return labelled lines, aligned at the colons, and an empty line; pairs with None are omitted."""
    given = [(label, text) for label, text in pairs if text is not None]
    column = max((len(label) for label, _ in given), default=0)
    lines = [line for label, text in given for line in _wrapped(f"{indent}{label:>{column}}: ", text, width)]
    return [*lines, ""]


def _wrapped(head: str, text: str, width: int) -> list[str]:
    """Return `text` after `head`, wrapped to `width`; further lines are indented to the first."""
    wrapped = textwrap.wrap(
        text,
        max(width, _NARROWEST),
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_long_words=False,
        break_on_hyphens=False,
    )
    return wrapped or [head.rstrip()]


def _text(lines: Iterable[str]) -> str:
    return escape_lines("".join(f"{line}\n" for line in lines))
