"""Read DDLs: what an agent's actions take and return, in JSON Schema, checked on both sides of the wire.

    read(path) → DDL ── actions ──► Action.check_input    caller, before sending; node, before acting
                                    Action.check_output   node, before answering

A DDL file is checked against `schemas/ddl.json`, its own schemas against JSON Schema (2020-12), and its parts
against each other, when it is read: a wrong one never serves a call.
"""

from __future__ import annotations

import json
import keyword
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, ValidationError
from jsonschema.exceptions import best_match

from collective import masking, schemas
from collective.errors import DDLError, Failed, InvalidInput, MissingInput, UnknownAction
from collective.json_schema import check_schema, first_fault, validator
from collective.masking import MASK
from collective.names import RESERVED
from collective.suggestions import suggest

DEFAULT_TIMEOUT = 60.0  # seconds, for an action whose DDL names none


@dataclass(frozen=True)
class Aggregate:
    """One line of an action's `aggregate`: a function over one output of all replies."""

    function: str
    output: str
    title: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Action:
    """One action of an agent, as its DDL describes it. `timeout` is in seconds."""

    agent: str
    name: str
    description: str
    display: str
    timeout: float
    idempotent: bool
    input: Mapping[str, Any]
    output: Mapping[str, Any]
    aggregates: tuple[Aggregate, ...]

    @property
    def inputs(self) -> Mapping[str, Mapping[str, Any]]:
        """The schema of each input, by name, in the DDL's order."""
        return self.input.get("properties") or {}

    @property
    def outputs(self) -> Mapping[str, Mapping[str, Any]]:
        """The schema of each output, by name, in the DDL's order."""
        return self.output.get("properties") or {}

    @property
    def required(self) -> tuple[str, ...]:
        """The inputs that must be given."""
        return tuple(self.input.get("required", ()))

    @cached_property
    def secrets(self) -> frozenset[str]:
        """The inputs and outputs that the DDL marks `writeOnly`: never shown, logged or broadcast."""
        found = {name for name, schema in self.inputs.items() if masking.is_secret(schema, self.input)}
        found |= {name for name, schema in self.outputs.items() if masking.is_secret(schema, self.output)}
        return frozenset(found)

    def title(self, output: str) -> str:
        """Return the heading under which people see `output`."""
        return str(self.outputs.get(output, {}).get("title", output))

    def with_defaults(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Return the inputs `data`, and the defaults of those that are not given."""
        defaults = {name: schema["default"] for name, schema in self.inputs.items() if "default" in schema}
        return {**defaults, **data}

    def check_input(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Return `data` with defaults filled in; raise MissingInput or InvalidInput, naming the input."""
        filled = self.with_defaults(data)
        for name in filled:
            if name not in self.inputs:
                hint = suggest(name, self.inputs, self._takes)
                raise InvalidInput(f"{self._label}: there is no input '{name}': {hint}")
        error = first_fault(self._input_validator, filled)
        if error is None:
            return filled
        if error.validator == "required" and not error.absolute_path:
            asked: Any = error.validator_value  # not always ours: a branch of anyOf may ask for inputs too
            missing = next(name for name in asked if name not in filled)
            raise MissingInput(f"{self._label}: input '{missing}' is missing: {self._takes}")
        raise InvalidInput(f"{self._label}: {self._describe(error, 'input')}")

    def check_output(self, data: Any) -> dict[str, Any]:
        """Return `data` with defaults filled in; raise Failed, naming the output that breaks the DDL."""
        if not isinstance(data, dict):
            raise Failed(f"{self._label} returned {type(data).__name__}, its DDL promises an object", reason="crashed")
        filled = {name: value["default"] for name, value in self.outputs.items() if "default" in value}
        filled.update(data)
        error = first_fault(self._output_validator, filled)
        if error is not None:
            text = f"{self._label} breaks its own DDL: {self._describe(error, 'output')}"
            raise Failed(text, reason="crashed")
        return filled

    def masked(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Return `data` with its secrets replaced by asterisks, for logs and people."""
        return {name: MASK if name in self.secrets else value for name, value in data.items()}

    def secret_texts(self, data: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the texts that no message about the inputs `data` may show."""
        return tuple(text for name in self.secrets if name in data for text in masking.texts(data[name]))

    def _describe(self, error: ValidationError, kind: str) -> str:
        path = list(error.absolute_path)
        where = ".".join(str(step) for step in path)
        if self.secrets and (not path or path[0] in self.secrets):
            # The message would quote the secret.
            return f"{kind} '{where}' is not what the DDL asks for" if where else f"{kind} is not what the DDL asks for"
        said = error.message if len(error.message) <= 300 else error.message[:300] + "…"
        return f"{kind} '{where}': {said}" if where else f"{kind}: {said}"

    @property
    def _label(self) -> str:
        return f"{self.agent} {self.name}"

    @property
    def _takes(self) -> str:
        if not self.inputs:
            return "it takes none"
        names = [name if name in self.required else f"[{name}]" for name in self.inputs]
        return f"it takes {', '.join(names)}"

    @cached_property
    def _input_validator(self) -> Draft202012Validator:
        return validator(self.input)

    @cached_property
    def _output_validator(self) -> Draft202012Validator:
        return validator(self.output)


@dataclass(frozen=True)
class DDL:
    """What one agent can do. `metadata` is the file's: name, description, version, author, license, url, timeout."""

    name: str
    metadata: Mapping[str, Any]
    actions: Mapping[str, Action]

    def action(self, name: str) -> Action:
        """Return the action `name`; raise UnknownAction, naming those there are."""
        if name not in self.actions:
            hint = suggest(name, self.actions, f"it has {', '.join(self.actions)}")
            raise UnknownAction(f"{self.name} has no action '{name}': {hint}")
        return self.actions[name]


def read(path: Path) -> DDL:
    """Read and check one DDL file; raise DDLError naming the file and the fault."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DDLError(f"{path}: cannot be read as JSON: {error}") from None
    try:
        ddl = parse(document)
    except DDLError as error:
        raise DDLError(f"{path}: {error}") from None
    if ddl.name != path.stem:
        raise DDLError(f"{path}: metadata.name is '{ddl.name}', the file's name says '{path.stem}'")
    if ddl.name in RESERVED:
        raise DDLError(f"{path}: '{ddl.name}' is a word of crpc itself: an agent needs another name")
    return ddl


def parse(document: Any) -> DDL:
    """Check a DDL document and return it as values; raise DDLError naming the place and the fault."""
    error = best_match(validator(schemas.load("ddl")).iter_errors(document))
    if error is not None:
        raise DDLError(f"{error.json_path}: {error.message}")
    metadata = document["metadata"]
    actions = {name: _action(metadata, name, body) for name, body in document["actions"].items()}
    return DDL(metadata["name"], metadata, actions)


def _action(metadata: Mapping[str, Any], name: str, body: Mapping[str, Any]) -> Action:
    where = f"$.actions.{name}"
    for part in ("input", "output"):
        try:
            check_schema(body[part], f"{where}.{part}")
        except RecursionError:
            raise DDLError(f"{where}.{part}: is nested too deeply, or a $ref leads back to itself") from None
    inputs, outputs = body["input"].get("properties", {}), body["output"].get("properties", {})
    for word in inputs:
        if keyword.iskeyword(word):
            raise DDLError(f"{where}.input: '{word}' is a word of Python: no function can take it")
    for word in body["input"].get("required", ()):
        if word not in inputs:
            raise DDLError(f"{where}.input.required: '{word}' is not among the properties")
    aggregates = []
    for entry in body.get("aggregate", ()):
        if entry["output"] not in outputs:
            raise DDLError(f"{where}.aggregate: there is no output '{entry['output']}'")
        title = outputs[entry["output"]].get("title", entry["output"])
        aggregates.append(Aggregate(entry["function"], entry["output"], title, entry.get("labels", {})))
    return Action(
        agent=metadata["name"],
        name=name,
        description=body["description"],
        display=body.get("display", "failed"),
        timeout=float(body.get("timeout", metadata.get("timeout", DEFAULT_TIMEOUT))),
        idempotent=body.get("idempotent", False),
        input=body["input"],
        output=body["output"],
        aggregates=tuple(aggregates),
    )
