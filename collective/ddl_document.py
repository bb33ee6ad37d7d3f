"""Read a DDL file as a document, and check the document and its parts against each other.

`ddl.py` makes an agent's DDL of a checked document, `data_ddl.py` that of a data function.
"""

from __future__ import annotations

import keyword
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

from collective import schemas
from collective.bounded_json import strict
from collective.errors import DDLError
from collective.foreign_ddl import choria_problem, ruby_problem
from collective.quick_check import certainly_valid
from collective.schema_types import ambiguity
from collective.suggestions import suggest
from collective.time_limit import SCHEMA_SECONDS, CheckTimeout, limited

_OUTPUT_KEYWORDS = frozenset({"volatile"})  # of outputs, besides those of JSON Schema


class _Named(Protocol):
    @property
    def name(self) -> str: ...


_Parsed = TypeVar("_Parsed", bound=_Named)


def read_file(path: Path, parse: Callable[[Any], _Parsed]) -> _Parsed:
    """Read a DDL file and return it parsed; raise DDLError naming the file, also if its name is not that of the DDL."""
    text = ""
    try:
        text = path.read_text(encoding="utf-8")
        document = strict(text)
    except (OSError, ValueError, RecursionError) as error:
        unreadable = "nested too deeply" if isinstance(error, RecursionError) else f"cannot be read as JSON: {error}"
        raise DDLError(f"{path}: {ruby_problem(text) or unreadable}") from None
    if problem := choria_problem(document):
        raise DDLError(f"{path}: {problem}")
    try:
        parsed = parse(document)
    except DDLError as error:
        raise DDLError(f"{path}: {error}") from None
    if parsed.name != path.stem:
        raise DDLError(f"{path}: metadata.name is '{parsed.name}' (must be the file's name, '{path.stem}')")
    return parsed


def check_document(document: Any, schema: str) -> None:
    """Check a DDL document against the shipped schema `schema`; raise DDLError naming the place and the problem."""
    if certainly_valid(schemas.load(schema), document):
        return
    from jsonschema.exceptions import best_match

    from collective.json_schema import in_json, validator

    error = best_match(validator(schemas.load(schema)).iter_errors(document))
    if error is not None:
        raise DDLError(f"{error.json_path}: {in_json(error).message}")


def check_schema(schema: Mapping[str, Any], where: str, ours: frozenset[str] = frozenset()) -> None:
    """Check a JSON Schema of a document as `json_schema.check_schema` does, within SCHEMA_SECONDS."""
    try:
        with limited(SCHEMA_SECONDS):
            _check_schema(schema, where, ours)
    except CheckTimeout:
        raise DDLError(f"{where}: cannot be checked within {SCHEMA_SECONDS:.0f} s (simplify its patterns)") from None


def _check_schema(schema: Mapping[str, Any], where: str, ours: frozenset[str]) -> None:
    from collective.quick_schema import certainly_a_schema

    if not certainly_a_schema(schema, ours):
        from collective import json_schema  # importing jsonschema takes 50 ms, and few DDLs need it

        json_schema.check_schema(schema, where, ours)


def check_action(where: str, body: Mapping[str, Any]) -> None:
    """Check the inputs and outputs of the action at `where` in a document; raise DDLError naming the place."""
    for part, keywords in (("input", frozenset[str]()), ("output", _OUTPUT_KEYWORDS)):
        try:
            check_schema(body[part], f"{where}.{part}", keywords)
        except RecursionError:
            raise DDLError(f"{where}.{part}: is nested too deeply, or a $ref refers to itself") from None
    _check_inputs(where, body["input"], body["input"].get("properties", {}))
    for part in ("input", "output"):
        _check_required(f"{where}.{part}", body[part].get("required", ()), body[part].get("properties", {}))


def _check_required(where: str, required: Iterable[str], known: Iterable[str]) -> None:
    """Refuse required names that are not in properties."""
    for name in required:
        if name not in known:
            hint = suggest(name, known)
            raise DDLError(f"{where}.required: '{name}' is not in properties" + (f" ({hint})" if hint else ""))


def _check_inputs(where: str, schema: Mapping[str, Any], inputs: Mapping[str, Any]) -> None:
    """Refuse names that Python functions cannot have, and values that have the same text on a command line."""
    for name, described in inputs.items():
        if keyword.iskeyword(name):
            raise DDLError(f"{where}.input: '{name}' is a Python keyword (rename the input)")
        reason = ambiguity(described, schema)
        if reason is not None:
            raise DDLError(f"{where}.input.properties.{name}: {reason}")
