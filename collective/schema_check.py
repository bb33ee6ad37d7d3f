"""Check values against one JSON Schema: quickly, and with jsonschema what that neither accepts nor describes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from collective.quick_check import certainly_valid
from collective.time_limit import CHECK_SECONDS, limited

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator, ValidationError

    from collective.usual_mismatch import UsualMismatch


class SchemaCheck:
    """Checks values against `schema`, which is valid."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._schema = schema

    def first_error(
        self, data: Any, seconds: float = CHECK_SECONDS, part: Mapping[str, Any] | None = None
    ) -> ValidationError | UsualMismatch | None:
        """Return the most relevant error in `data`, or None. Raise CheckTimeout if that takes more than `seconds`.

        With `part`, a schema within the whole one, that is checked.
        """
        schema = self._schema if part is None else part
        if certainly_valid(schema, data, seconds):
            return None
        from collective.usual_mismatch import usual_mismatch  # which most calls do not need

        with limited(seconds):
            usual = usual_mismatch(schema, data)
        if usual is not None:
            return usual
        from collective.json_schema import first_error

        validator = self._validator if part is None else self._validator.evolve(schema=part)
        return first_error(validator, data, seconds)

    @cached_property
    def _validator(self) -> Draft202012Validator:
        from collective.json_schema import validator  # importing jsonschema takes 50 ms, and few checks need it

        return validator(self._schema)
