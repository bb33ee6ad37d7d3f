"""Every standard agent and data function, from its DDL."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from _reference import markdown
from collective import agents as agents_package
from collective import data_ddl, ddl, ddls

DDLS, AGENTS = Path(ddls.__path__[0]), Path(agents_package.__path__[0])
_KEYWORDS = (
    "pattern",
    "format",
    "minLength",
    "maxLength",
    "minimum",
    "exclusiveMinimum",
    "maximum",
    "exclusiveMaximum",
)
_DISPLAY = {"ok": "replies that succeeded", "failed": "replies that failed", "always": "all replies"}


def agents() -> str:
    """Return one section for each agent, with its actions."""
    return "\n\n".join(_agent(ddl.read(path)) for path in sorted(DDLS.glob("*.json")))


def data_functions() -> str:
    """Return one section for each data function."""
    return "\n\n".join(_data_function(path) for path in sorted((DDLS / "data").glob("*.json")))


def _agent(described: ddl.DDL) -> str:
    about = ast.get_docstring(ast.parse((AGENTS / f"{described.name}.py").read_text(encoding="utf-8"))) or ""
    actions = [_action(action) for action in described.actions.values()]
    return "\n\n".join([f"## {described.name}", f"{described.metadata['description']}.", _text(about), *actions])


def _action(action: ddl.Action) -> str:
    facts = [
        f"Timeout {action.timeout:g} s",
        "idempotent" if action.idempotent else "**not idempotent**",
        *(["has a dry run"] if action.dry_run else []),
        f"shows {_DISPLAY[action.display]}",
    ]
    parts = [f"### {action.agent} {action.name}", f"{action.description}.", f"{', '.join(facts)}."]
    parts.append(_fields("Inputs", action.inputs, action.required))
    parts.append(_fields("Outputs", action.outputs, ()))
    if action.aggregates:
        lines = [f"{entry.function} of {markdown.code(entry.output)}" for entry in action.aggregates]
        parts.append(f"**Aggregates**: {', '.join(lines)}.")
    return "\n\n".join(parts)


def _data_function(path: Path) -> str:
    action = data_ddl.read(path)
    query = action.inputs["query"]
    heading = f"### {action.name}\n\n{action.description}."
    asked = f"**Query**: {_meaning(query)}. Timeout {action.timeout:g} s."
    return "\n\n".join([heading, asked, _fields("Fields", action.outputs, ())])


def _fields(title: str, fields: Mapping[str, Mapping[str, Any]], required: tuple[str, ...]) -> str:
    if not fields:
        return f"**{title}**: none."
    rows = [
        [markdown.code(name) + (" (required)" if name in required else ""), markdown.kind(schema, {}), _meaning(schema)]
        for name, schema in fields.items()
    ]
    return f"**{title}**\n\n{markdown.table(['Name', 'Type', 'Meaning'], rows)}"


def _meaning(schema: Mapping[str, Any]) -> str:
    parts = [markdown.plain(str(schema.get("description") or schema.get("title", "")))]
    parts += [f"{keyword} {markdown.code(schema[keyword])}" for keyword in _KEYWORDS if keyword in schema]
    if "default" in schema:
        parts.append(f"default {markdown.code(schema['default'])}")
    if schema.get("writeOnly"):
        parts.append("secret")
    return "; ".join(part for part in parts if part)


def _text(docstring: str) -> str:
    """Return a module's docstring, without its first line, as paragraphs."""
    return "\n\n".join(docstring.split("\n\n")[1:])
