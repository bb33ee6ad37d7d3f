"""Write the files of a new agent: code, DDL and a test that passes."""

from __future__ import annotations

import json
import keyword
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collective import names
from collective.errors import UsageError

# Per type: its Python annotation, and a value for the first version of the code and for the test.
TYPES: Mapping[str, tuple[str, Any]] = {
    "string": ("str", "text"),
    "integer": ("int", 1),
    "number": ("float", 1.5),
    "boolean": ("bool", True),
    "array": ("list[Any]", []),
    "object": ("dict[str, Any]", {}),
}
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_FIELD = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::([a-z]+))?")
_SUPPLIED = frozenset({"settings", "caller", "facts", "deadline", "dry_run"})


@dataclass(frozen=True)
class NewAgent:
    """The agent to write: its names, and the type of each input and output."""

    name: str
    action: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]

    def files(self, folder: Path) -> dict[Path, str]:
        """Return the content of each file."""
        return {
            folder / "agents" / f"{self.name}.py": self._code(),
            folder / "ddl" / f"{self.name}.json": self._ddl(),
            folder / "tests" / f"test_{self.name}.py": self._test(),
        }

    def examples(self) -> list[str]:
        """Return an example of each input as `crpc` takes it: NAME=VALUE."""
        return [f"{name}={_typed(TYPES[kind][1])}" for name, kind in self.inputs.items()]

    def _code(self) -> str:
        imports = "from typing import Any\n\n" if {"array", "object"} & {*self.inputs.values()} else ""
        parameters = ", ".join(f"{name}: {TYPES[kind][0]}" for name, kind in self.inputs.items())
        data = ", ".join(f'"{name}": {json_as_python(kind)}' for name, kind in self.outputs.items())
        return (
            f'"""{_sentence(self.name)}."""\n\n{imports}from collective.agent import Reply, action\n\n\n'
            f"@action\ndef {self.action}({parameters}) -> Reply:\n"
            f'    """{_sentence(self.action)}."""\n    return {{{data}}}\n'
        )

    def _ddl(self) -> str:
        body = {
            "description": _sentence(self.action),
            "display": "always",
            "timeout": 10,
            "idempotent": False,
            "input": {
                "type": "object",
                "required": list(self.inputs),
                "properties": {name: _input(name, kind) for name, kind in self.inputs.items()},
            },
            "output": {
                "type": "object",
                "properties": {name: _field(name, kind) for name, kind in self.outputs.items()},
            },
        }
        metadata = {"name": self.name, "description": _sentence(self.name), "version": "1.0.0"}
        return json.dumps({"metadata": metadata, "actions": {self.action: body}}, indent=2) + "\n"

    def _test(self) -> str:
        given = ", ".join(f"{name}={json_as_python(kind)}" for name, kind in self.inputs.items())
        data = ", ".join(f'"{name}": {json_as_python(kind)}' for name, kind in self.outputs.items())
        call = f'agent("{self.name}").call("{self.action}"{", " + given if given else ""})'
        return (
            f'"""The agent `{self.name}`."""\n\n\ndef test_{self.action}(agent):\n'
            f'    """The action answers with its outputs."""\n    reply = {call}\n'
            f'    assert (reply.statuscode, reply.statusmsg) == (0, "OK")\n    assert reply.data == {{{data}}}\n'
        )


def new_agent(name: str, action: str, inputs: Sequence[str], outputs: Sequence[str]) -> NewAgent:
    """Return the agent to write; `inputs` and `outputs` are `NAME:TYPE`. Raises UsageError for an invalid name."""
    for kind, given in (("agent", name), ("action", action)):
        if not _NAME.fullmatch(given) or keyword.iskeyword(given):
            raise UsageError(f"invalid {kind} name '{given}': use a-z, 0-9 and '_', beginning with a letter")
    if name in names.RESERVED:
        raise UsageError(f"the name '{name}' is reserved for a crpc command (choose another)")
    made = NewAgent(name, action, _fields("--input", inputs), _fields("--output", outputs))
    for reserved in sorted(_SUPPLIED & made.inputs.keys()):
        raise UsageError(f"--input {reserved}: the node supplies an argument of this name (choose another)")
    return made


def write(files: Mapping[Path, str]) -> None:
    """Write new files. Raises UsageError, and writes none, if one exists or cannot be written."""
    for path in files:
        if path.exists():
            raise UsageError(f"{path}: exists (choose another name or folder; nothing was written)")
    for path, content in files.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                file.write(content)
        except OSError as error:
            raise UsageError(f"{path}: cannot be written: {error.strerror}") from None


def json_as_python(kind: str) -> str:
    """Return the example value of a type as Python source."""
    value = TYPES[kind][1]
    return f'"{value}"' if isinstance(value, str) else repr(value)


def _typed(value: Any) -> str:
    """Return a value as it is written on a command line."""
    return value if isinstance(value, str) else json.dumps(value)


def _fields(option: str, words: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for word in words:
        matched = _FIELD.fullmatch(word)
        if matched is None or keyword.iskeyword(matched[1]):
            raise UsageError(f"{option} '{word}': must be NAME or NAME:TYPE, such as 'count:integer'")
        name, kind = matched[1], matched[2] or "string"
        if kind not in TYPES:
            raise UsageError(f"{option} '{word}': unknown type '{kind}' (types: {', '.join(TYPES)})")
        if name in found:
            raise UsageError(f"{option} '{word}': '{name}' is given more than once")
        found[name] = kind
    return found


def _field(name: str, kind: str) -> dict[str, Any]:
    return {"title": name.replace("_", " ").title(), "description": _sentence(name), "type": kind}


def _input(name: str, kind: str) -> dict[str, Any]:
    bounds = {"maxLength": 100, "pattern": "^[^-\\x00-\\x1f][^\\x00-\\x1f]*$"} if kind == "string" else {}
    return {**_field(name, kind), **bounds}


def _sentence(name: str) -> str:
    return name.replace("_", " ").capitalize()
