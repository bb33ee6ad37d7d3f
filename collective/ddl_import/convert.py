"""Convert a DDL of Choria or MCollective into ours."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collective import catalog, data_ddl, ddl
from collective.ddl_import import fields, ruby
from collective.errors import DDLError

_METADATA = ("name", "description", "version", "author", "license", "url", "timeout")
_IGNORED = frozenset({"provider", "service"})  # how Choria runs an agent
_FUNCTIONS = frozenset({"summary", "sum", "average", "min", "max"})
_NAGIOS = {"0": "OK", "1": "WARNING", "2": "CRITICAL", "3": "UNKNOWN"}
_DATA_SECONDS = 60  # the longest timeout of a data function


@dataclass(frozen=True)
class ImportedDDL:
    """A converted DDL. `lost` has a line for each part that was omitted. `data`: of a data function."""

    document: Mapping[str, Any]
    lost: tuple[str, ...]
    data: bool = False

    @property
    def name(self) -> str:
        """The name of the agent or of the data function."""
        return str(self.document["metadata"]["name"])

    @property
    def text(self) -> str:
        """The content of the DDL file."""
        return json.dumps(self.document, indent=2, ensure_ascii=False) + "\n"


def read(path: Path) -> ImportedDDL:
    """Convert the file at `path`. Raises DDLError, naming the file, if it is not a DDL or the result is not valid."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise DDLError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    try:
        given, lost = (_json(text), []) if text.lstrip().startswith("{") else ruby.parse(text)
        return _converted(given, lost)
    except DDLError as error:
        raise DDLError(f"{path}: {error}") from None


def _json(text: str) -> Any:
    try:
        given = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DDLError(f"cannot be read as JSON: {error}") from None
    metadata = given.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(given.get("actions", given.get("query")), list | dict):
        raise DDLError("not a DDL of Choria: 'metadata' and 'actions' are missing")
    if isinstance(given.get("actions"), dict):
        raise DDLError("is a DDL in this format already (copy it)")
    return given


def _converted(given: Mapping[str, Any], lost: list[str]) -> ImportedDDL:
    try:
        if "dataquery" in given or "query" in given:
            document: dict[str, Any] = _data(given, lost)
            data_ddl.parse(document)
            return ImportedDDL(document, tuple(lost), data=True)
        if not given["actions"]:
            raise DDLError("has no action and no data query: only DDLs of agents and data functions can be converted")
        document = _agent(given, lost)
        ddl.parse(document)
    except (TypeError, AttributeError, KeyError) as error:
        raise DDLError(f"not a DDL of Choria or MCollective: {type(error).__name__}: {error}") from None
    if document["metadata"]["name"] in catalog.Catalog().paths:
        lost.append(f"the standard agent '{document['metadata']['name']}' takes precedence over one of the same name")
    return ImportedDDL(document, tuple(dict.fromkeys(lost)))


def _agent(given: Mapping[str, Any], lost: list[str]) -> dict[str, Any]:
    actions = {str(action["action"]): _action(action, lost) for action in given["actions"]}
    return {"metadata": _metadata(given["metadata"], lost), "actions": actions}


def _data(given: Mapping[str, Any], lost: list[str]) -> dict[str, Any]:
    """Return the DDL of a data function. MCollective names its file `service_data.ddl`, and the function `service`."""
    asked = given.get("dataquery") or {"input": {"query": given["query"]}, "output": given.get("output", {})}
    metadata = _metadata(given["metadata"], lost)
    metadata["name"] = metadata["name"].lower().removesuffix("_data")
    if metadata.get("timeout", 0) > _DATA_SECONDS:
        metadata["timeout"] = _DATA_SECONDS
    query: dict[str, Any] = {"title": "Query", "type": "string"}
    if "query" in asked["input"]:
        query |= fields.input_schema("query", asked["input"]["query"], lost.append)
    else:
        lost.append("the function takes no query (a query is accepted and not used)")
    return {"metadata": metadata, "query": query, "output": _outputs(asked["output"], lost.append)}


def _metadata(given: Mapping[str, Any], lost: list[str]) -> dict[str, Any]:
    lost += [f"metadata: '{key}'" for key in given if key not in _METADATA and key not in _IGNORED]
    return {key: given[key] for key in _METADATA if given.get(key) not in (None, "")}


def _action(given: Mapping[str, Any], lost: list[str]) -> dict[str, Any]:
    def lose(line: str) -> None:
        lost.append(f"{given['action']}: {line}")

    properties = {name: fields.input_schema(name, one, lose) for name, one in given.get("input", {}).items()}
    required = [
        name
        for name, one in given.get("input", {}).items()
        if not one.get("optional", True) and "default" not in properties[name]
    ]
    action: dict[str, Any] = {"description": given["description"]}
    if given.get("display") in ("ok", "failed", "always"):
        action["display"] = given["display"]
    elif given.get("display") is not None:
        lose(f"display '{given['display']}'")
    action["input"] = {"type": "object", "required": required, "properties": properties}
    action["output"] = _outputs(given.get("output", {}), lose)
    aggregates = list(_aggregates(given.get("aggregate", ()), action["output"]["properties"], lose))
    return {**action, "aggregate": aggregates} if aggregates else action


def _outputs(given: Mapping[str, Any], lose: fields.Lose) -> dict[str, Any]:
    """Return the schema of outputs, of which all may be missing, as in Choria."""
    properties = {name: fields.output_schema(name, one, lose) for name, one in given.items()}
    return {"type": "object", "required": [], "properties": properties}


def _aggregates(given: Any, outputs: Mapping[str, Any], lose: fields.Lose) -> Iterator[dict[str, Any]]:
    for entry in given:
        function, arguments = entry.get("function"), entry.get("args", [])
        arguments = arguments if isinstance(arguments, list) else [arguments]
        output = str(arguments[0]) if arguments else ""
        options = next((one for one in arguments[1:] if isinstance(one, Mapping)), {})
        labels = {str(key): str(value) for key, value in options.items() if key != "format"}
        if function == "boolean_summary":
            function = "summary"
        elif function == "nagios_states":
            function, labels = "summary", _NAGIOS
        if function not in _FUNCTIONS or output not in outputs:
            lose(f"the aggregate '{function}' of '{output}' (functions: {', '.join(sorted(_FUNCTIONS))})")
            continue
        if "format" in options:
            lose(f"the format '{options['format']}' of the aggregate of '{output}'")
        made = {"function": function, "output": output}
        yield {**made, "labels": labels} if labels else made
