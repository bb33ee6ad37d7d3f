"""Read DDLs: the inputs and outputs of an agent's actions as JSON Schema, checked by caller and node.

    read(path) → DDL ── actions ──► Action.check_input    caller, before sending; node, before running
                                    Action.check_output   node, before replying

A DDL file is checked against `schemas/ddl.json`, its input and output schemas against JSON Schema 2020-12, and its
parts against each other when it is read, so an invalid DDL is never used for a call.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from collective import masking
from collective.agent_versions import satisfies
from collective.bundled import DDLS
from collective.ddl_document import check_action, check_document, check_schema, read_file
from collective.ddl_mismatch import describe_mismatch, missing_alternatives
from collective.errors import (
    ConfigError,
    DDLError,
    Failed,
    InvalidInput,
    MissingInput,
    NoDryRun,
    OtherVersion,
    UncheckedInput,
    UnknownAction,
)
from collective.masking import MASK
from collective.names import COMMANDS, RESERVED
from collective.schema_check import SchemaCheck
from collective.suggestions import suggest
from collective.time_limit import CHECK_SECONDS, OUTPUT_SECONDS, CheckTimeout

DEFAULT_TIMEOUT = 60.0  # seconds, for an action without a timeout in its DDL


@dataclass(frozen=True)
class Aggregate:
    """One entry of an action's `aggregate`: a function over one output of all replies."""

    function: str
    output: str
    title: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Action:
    """One action of an agent, as described by its DDL. `timeout` is in seconds.

    `dry_run`: the action can report what it would change without changing it. `read_only`: it changes nothing, so that
    a frozen node runs it, and its reply need not be kept. `demanded` is the version of the agent that a call demands of
    nodes, such as `>=1.2`.
    """

    agent: str
    name: str
    description: str
    display: str
    timeout: float
    idempotent: bool
    input: Mapping[str, Any]
    output: Mapping[str, Any]
    aggregates: tuple[Aggregate, ...]
    dry_run: bool = False
    read_only: bool = False
    demanded: str = ""

    @property
    def reference(self) -> str:
        """The agent as NAME, or as NAME@VERSION with the demanded version."""
        return f"{self.agent}@{self.demanded}" if self.demanded else self.agent

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
        """The names of the required inputs."""
        return tuple(self.input.get("required", ()))

    @property
    def usual(self) -> tuple[str, ...]:
        """The inputs of the usual call: the required ones, and those of the first alternative (`anyOf`, `oneOf`)."""
        alternatives = [self.input[word][0] for word in ("anyOf", "oneOf") if self.input.get(word)]
        more = (name for one in alternatives if isinstance(one, Mapping) for name in one.get("required", ()))
        return tuple(dict.fromkeys([*self.required, *more]))

    @property
    def required_outputs(self) -> tuple[str, ...]:
        """The outputs that an OK reply must have: those in `required`, by default all without a `default`."""
        if "required" in self.output:
            return tuple(self.output["required"])
        return tuple(name for name, schema in self.outputs.items() if "default" not in schema)

    @property
    def volatile(self) -> frozenset[str]:
        """The outputs that the DDL marks `volatile`: they differ in each reply."""
        return frozenset(name for name, schema in self.outputs.items() if schema.get("volatile"))

    @cached_property
    def secrets(self) -> frozenset[str]:
        """The inputs and outputs that the DDL marks `writeOnly`; they are never shown, logged or broadcast."""
        found = {name for name, schema in self.inputs.items() if masking.is_secret(schema, self.input)}
        found |= {name for name, schema in self.outputs.items() if masking.is_secret(schema, self.output)}
        return frozenset(found)

    def title(self, output: str) -> str:
        """Return the title of an output, or its name without one."""
        return str(self.outputs.get(output, {}).get("title", output))

    def with_defaults(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Return `data` with the defaults of missing inputs."""
        defaults = {name: schema["default"] for name, schema in self.inputs.items() if "default" in schema}
        return {**defaults, **data}

    def check_input(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Return `data` with defaults filled in; raise MissingInput or InvalidInput naming the input.

        Raises UncheckedInput if the check takes more than CHECK_SECONDS: a pattern of the DDL is too slow.
        """
        filled = self.with_defaults(data)
        for name in filled:
            if name not in self.inputs:
                hint = suggest(name, self.inputs, self._usage)
                raise InvalidInput(f"{self._label}: unknown input '{name}' ({hint})")
        self._require(self.required, filled)
        try:
            error = self._input_check.first_error(filled)
        except CheckTimeout:
            message = f"{self._label}: the inputs could not be checked within {CHECK_SECONDS:.0f} s"
            raise UncheckedInput(f"{message} (simplify the patterns of the DDL)", reason="unchecked") from None
        if error is None:
            return filled
        if error.validator == "required" and not error.absolute_path:
            self._require(error.validator_value, filled)  # a branch of anyOf may require more than self.required
        if alternatives := missing_alternatives(error):
            names = " or ".join(f"'{name}'" for name in alternatives)
            raise MissingInput(f"{self._label}: required input {names} is missing ({self._usage})")
        raise InvalidInput(f"{self._label}: {describe_mismatch(error, 'input', self.secrets)}")

    def _require(self, names: Any, data: Mapping[str, Any]) -> None:
        """Raise MissingInput for the first of the required inputs `names` that is not in `data`."""
        for name in names:
            if name not in data:
                raise MissingInput(f"{self._label}: required input '{name}' is missing ({self._usage})")

    def require_dry_run(self) -> None:
        """Raise NoDryRun if the action cannot report what it would change."""
        if not self.dry_run:
            raise NoDryRun(f"{self._label}: this action has no dry run (call it without --dry-run)")

    def accepts(self, name: str, value: Any) -> bool:
        """Return whether `value` is valid for the input `name` by itself."""
        try:
            return self._input_check.first_error(value, part=self.inputs[name]) is None
        except CheckTimeout:
            return False

    def check_output(self, data: Any, complete: bool = True) -> dict[str, Any]:
        """Return `data` with defaults filled in; raise Failed naming the output that does not match the DDL.

        A failed action may return a part of its outputs: `complete` is false for these.
        """
        if not isinstance(data, dict):
            message = (
                f"{self._label}: returned {type(data).__name__}, but must return a dict with the outputs of its DDL"
            )
            raise Failed(message, reason="invalid_output")
        filled = {name: value["default"] for name, value in self.outputs.items() if "default" in value}
        filled.update(data)
        missing = [name for name in self.required_outputs if name not in filled] if complete else []
        if missing:
            message = f"{self._label}: output '{missing[0]}' is missing ({self._returned(data)})"
            raise Failed(message, reason="invalid_output")
        try:
            error = self._output_check.first_error(filled, OUTPUT_SECONDS)
        except CheckTimeout:
            message = f"{self._label}: its outputs could not be checked within {OUTPUT_SECONDS:.0f} s"
            raise Failed(message, reason="invalid_output") from None
        if error is not None:
            mismatch = describe_mismatch(error, "output", self.secrets)
            message = f"{self._label}: does not match its DDL: {mismatch} (change what is returned, or the DDL)"
            raise Failed(message, reason="invalid_output")
        return filled

    def undeclared(self, data: Mapping[str, Any]) -> list[str]:
        """Return the names of outputs in `data` that the DDL does not have, in quotes."""
        return [repr(str(name)) for name in data if name not in self.outputs]

    def masked(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Return `data` with secret values replaced by asterisks, for logs and display."""
        return {name: MASK if name in self.secrets else value for name, value in data.items()}

    def secret_texts(self, data: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the strings that messages about the inputs `data` must not contain."""
        return tuple(text for name in self.secrets if name in data for text in masking.texts(data[name]))

    def _returned(self, data: Mapping[str, Any]) -> str:
        """Return a hint for a missing output: the outputs that the DDL does not have, or how to make it optional."""
        if unknown := self.undeclared(data):
            return f"the action returned {', '.join(unknown[:3])}, which the DDL does not have"
        return "return it, or give the output a 'default', or list only the others in 'required'"

    @property
    def _label(self) -> str:
        return f"{self.agent} {self.name}"

    @property
    def _usage(self) -> str:
        """The inputs for a hint, optional ones in brackets: `inputs: service, [signal]`."""
        names = [name if name in self.required else f"[{name}]" for name in self.inputs]
        return f"inputs: {', '.join(names)}" if names else "it takes no inputs"

    @cached_property
    def _input_check(self) -> SchemaCheck:
        return SchemaCheck(self.input)

    @cached_property
    def _output_check(self) -> SchemaCheck:
        # A missing output has a message of its own, and a failed action may return a part of them.
        return SchemaCheck({keyword: value for keyword, value in self.output.items() if keyword != "required"})


@dataclass(frozen=True)
class DDL:
    """The DDL of one agent. `metadata` has name, description, version, author, license, url and timeout.

    `settings` is the JSON Schema of the agent's settings file, None without one: then nodes accept any settings.
    `text` is the document as JSON without spaces, by which `digest` identifies it.
    """

    name: str
    metadata: Mapping[str, Any]
    actions: Mapping[str, Action]
    settings: Mapping[str, Any] | None = None
    text: str = ""

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of the DDL's text, in hexadecimal digits."""
        import hashlib  # loads OpenSSL, which a refused line does not need

        return hashlib.sha256(self.text.encode()).hexdigest()

    def require_version(self, demanded: str) -> None:
        """Raise OtherVersion if a call demands another version than this one."""
        version = str(self.metadata["version"])
        if demanded and not satisfies(version, demanded):
            raise OtherVersion(f"{self.name}: version '{demanded}' demanded, this node has {version}")

    def check_settings(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return `values` with defaults filled in; raise ConfigError naming the key that does not match `settings`."""
        if self.settings is None:
            return dict(values)
        known: Mapping[str, Mapping[str, Any]] = self.settings["properties"]
        for key in values:
            if key not in known and self.settings.get("additionalProperties", False) is False:
                hint = suggest(str(key), known, f"keys: {', '.join(known)}" if known else "it has no settings")
                raise ConfigError(f"unknown key '{key}' ({hint})")
        filled = {key: schema["default"] for key, schema in known.items() if "default" in schema} | dict(values)
        error = SchemaCheck(self.settings).first_error(filled)
        if error is not None:
            path = ".".join(str(step) for step in error.absolute_path)
            raise ConfigError(f"{path}: {error.message[:300]}" if path else error.message[:300])
        return filled

    def action(self, name: str) -> Action:
        """Return the action `name`; raise UnknownAction listing the actions."""
        if name not in self.actions:
            hint = suggest(name, self.actions, f"actions: {', '.join(self.actions)}")
            raise UnknownAction(f"{self.name}: unknown action '{name}' ({hint})")
        return self.actions[name]


def read(path: Path) -> DDL:
    """Read and check the DDL file of an agent; raise DDLError naming the file and the problem.

    The DDLs of the standard agents are not checked again: the tests of each release do that.
    """
    ddl = read_file(path, _parsed if path.parent == DDLS else parse)
    if ddl.name in RESERVED:
        use = "a crpc command" if ddl.name in COMMANDS else "the agent of all data functions in policies"
        raise DDLError(f"{path}: the name '{ddl.name}' is reserved for {use} (rename the agent)")
    return ddl


def parse(document: Any) -> DDL:
    """Check a DDL document and return it as a DDL; raise DDLError naming the place and the problem."""
    check_document(document, "ddl")
    for name, body in document["actions"].items():
        check_action(f"$.actions.{name}", body)
    if document.get("settings") is not None:
        check_schema(document["settings"], "$.settings")
    return _parsed(document)


def _parsed(document: Any) -> DDL:
    """Return a document that is valid as a DDL."""
    metadata = document["metadata"]
    actions = {name: _action(metadata, name, body) for name, body in document["actions"].items()}
    text = json.dumps(document, ensure_ascii=True, separators=(",", ":"))
    return DDL(metadata["name"], metadata, actions, document.get("settings"), text)


def _action(metadata: Mapping[str, Any], name: str, body: Mapping[str, Any]) -> Action:
    where = f"$.actions.{name}"
    outputs = body["output"].get("properties", {})
    aggregates = []
    for entry in body.get("aggregate", ()):
        if entry["output"] not in outputs:
            hint = suggest(entry["output"], outputs, f"outputs: {', '.join(outputs) or 'none'}")
            raise DDLError(f"{where}.aggregate: unknown output '{entry['output']}' ({hint})")
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
        dry_run=body.get("dry_run", False),
        read_only=body.get("read_only", False),
    )
