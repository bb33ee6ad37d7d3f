"""The inputs of a playbook: a JSON Schema, with the checks and errors of an action's inputs in a DDL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from collective.clients.playbooks.source import SourcePlace
from collective.ddl import Action
from collective.ddl_document import check_action
from collective.errors import DDLError

_LABEL = "playbook"  # the agent that errors name


def read_inputs_schema(name: str, document: Mapping[str, Any], place: SourcePlace) -> Action:
    """Return the inputs of a playbook as those of an action; raise ConfigError, naming the line."""
    return schema_action(name, document.get("inputs", {}), place.at("inputs"))


def schema_action(name: str, schema: Mapping[str, Any], place: SourcePlace) -> Action:
    """Return an action, which is never called, with this schema of its inputs. Raises ConfigError."""
    whole = {"type": "object", "additionalProperties": False, **schema}
    try:
        check_action("inputs", {"input": whole, "output": {"type": "object"}})
    except DDLError as error:
        raise place.error(str(error).replace("inputs.input", "inputs")) from None
    return Action(_LABEL, name, "", "failed", 0.0, False, whole, {"type": "object"}, ())
