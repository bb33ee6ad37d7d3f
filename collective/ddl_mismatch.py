"""Describe how inputs or outputs do not match a DDL: the text of an error of JSON Schema, without secret values."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from collective.suggestions import suggest

if TYPE_CHECKING:
    from jsonschema import ValidationError

    from collective.usual_mismatch import UsualMismatch

_LONGEST = 300  # characters of the message of the validator


def describe_mismatch(error: ValidationError | UsualMismatch, kind: str, secrets: Collection[str]) -> str:
    """Return the text about an `input` or `output` (the `kind`) that does not match; `secrets` are never quoted."""
    path = list(error.absolute_path)
    where = ".".join(str(step) for step in path)
    if secrets and (not path or path[0] in secrets):
        # The validator's message would quote the secret.
        return f"{kind} '{where}' does not match the DDL" if where else f"{kind} does not match the DDL"
    message = error.message if len(error.message) <= _LONGEST else error.message[:_LONGEST] + "…"
    if error.validator == "enum" and isinstance(error.instance, str):
        hint = suggest(error.instance, [one for one in _schema_value(error) if isinstance(one, str)])
        message += f" ({hint})" if hint else ""
    return f"{kind} '{where}': {message}" if where else f"{kind}: {message}"


def missing_alternatives(error: ValidationError | UsualMismatch) -> list[str]:
    """Return the inputs of which one is required; none if the error is another one."""
    if error.validator != "anyOf" or error.absolute_path or any(one.validator != "required" for one in error.context):
        return []
    return [name for one in error.context for name in _schema_value(one) if name not in _instance(one)]


def _schema_value(error: ValidationError | UsualMismatch) -> Any:
    """Return the value of the keyword that failed; the validator always sets it."""
    return error.validator_value


def _instance(error: ValidationError | UsualMismatch) -> Any:
    """Return the value that failed; the validator always sets it."""
    return error.instance
