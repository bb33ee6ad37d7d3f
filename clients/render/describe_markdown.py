"""Document an agent or one of its actions in Markdown, from the DDL."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from collective.clients.render import markdown
from collective.ddl import DDL, Action

_KEYWORDS = (
    *("pattern", "format", "minLength", "maxLength", "minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"),
    *("multipleOf", "minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties"),
)
_SHOWN = {"ok": "replies that succeeded", "failed": "replies that failed", "always": "all replies"}


def agent(ddl: DDL, about: str = "", level: int = 1) -> str:
    """Return the section of an agent with its actions; `about` is Markdown that follows the description.

    `level` is that of the section's heading.
    """
    parts = [f"{'#' * level} {ddl.name}", f"{markdown.plain(ddl.metadata['description'])}.", about]
    if ddl.settings and level == 1:
        title = f"Settings on a node (settings/{ddl.name}.yaml)"
        parts.append(fields(title, ddl.settings["properties"], (), ddl.settings))
    return "\n\n".join([*filter(None, parts), *(action(one, level + 1) for one in ddl.actions.values())])


def action(described: Action, level: int = 1) -> str:
    """Return the section of an action."""
    facts = [
        f"Timeout {described.timeout:g} s",
        "idempotent" if described.idempotent else "**not idempotent**",
        *(["has a dry run"] if described.dry_run else []),
        f"shows {_SHOWN[described.display]}",
    ]
    heading = f"{'#' * level} {described.agent} {described.name}"
    parts = [heading, f"{markdown.plain(described.description)}.", f"{', '.join(facts)}."]
    parts.append(fields("Inputs", described.inputs, described.required, described.input))
    parts.append(fields("Outputs", described.outputs, (), described.output))
    if described.aggregates:
        lines = [f"{entry.function} of {markdown.code(entry.output)}" for entry in described.aggregates]
        parts.append(f"**Aggregates**: {', '.join(lines)}.")
    return "\n\n".join(parts)


def fields(
    title: str, schemas: Mapping[str, Mapping[str, Any]], required: Collection[str], whole: Mapping[str, Any]
) -> str:
    """Return a table of inputs, outputs or settings; `whole` is the schema that has them, where a `$ref` leads."""
    if not schemas:
        return f"**{title}**: none."
    rows = [
        [
            markdown.code(name) + (" (required)" if name in required else ""),
            markdown.kind(schema, whole),
            meaning(schema),
        ]
        for name, schema in schemas.items()
    ]
    return f"**{title}**\n\n{markdown.table(['Name', 'Type', 'Meaning'], rows)}"


def meaning(schema: Mapping[str, Any]) -> str:
    """Return what a value means, its limits and its default; the default of a secret is not shown."""
    parts = [markdown.plain(str(schema.get("description") or schema.get("title", "")))]
    parts += [f"{keyword} {markdown.code(schema[keyword])}" for keyword in _KEYWORDS if keyword in schema]
    if "default" in schema and not schema.get("writeOnly"):
        parts.append(f"default {markdown.code(schema['default'])}")
    if schema.get("writeOnly"):
        parts.append("secret")
    return "; ".join(filter(None, parts))
