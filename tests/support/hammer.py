"""A DDL with one action, for tests of schemas."""

from __future__ import annotations

from typing import Any

from collective import ddl

TEXT = {"type": "string"}


def document(
    inputs: dict[str, Any] | None = None, outputs: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    """Return a DDL with one action, `hammer swing`; `more` are members of the action."""
    action = {
        "description": "Swing it",
        "input": {"type": "object", "properties": inputs or {}},
        "output": {"type": "object", "properties": outputs or {}},
        **more,
    }
    metadata = {"name": "hammer", "description": "Hits", "version": "1.0"}
    return {"metadata": metadata, "actions": {"swing": action}}


def swing(inputs: dict[str, Any] | None = None, outputs: dict[str, Any] | None = None, **more: Any) -> ddl.Action:
    """Return the action of `document`."""
    return ddl.parse(document(inputs, outputs, **more)).action("swing")


def with_input(properties: dict[str, Any], **more: Any) -> ddl.Action:
    """Return the action whose input schema has `properties` and the keywords `more`."""
    return swing(input={"type": "object", "properties": properties, **more})
