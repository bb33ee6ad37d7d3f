"""Review agents and data functions: errors that keep a node from loading them, and advice about what could be better.

    review(folder) ─► Remark(level, path, text) …

A node reports the same errors. Advice is about what works but surprises users: missing titles and timeouts, inputs that
a command could read as options, secrets that are shown, code that prints.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collective import data_ddl, ddl
from collective.authoring.folders import AgentFolder
from collective.ddl import Action
from collective.errors import CollectiveError

ERROR, ADVICE = "error", "advice"
_SECRET = re.compile(r"(?i)pass(word|wd|phrase)|secret|(^|_)(token|pin)($|_)|api_?key|private_?key|credential")
_SHELL_CALLS = frozenset({"os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"})
_TRIES = {"--now": "values that begin with '-', which commands read as options", "a\nb": "newlines"}


@dataclass(frozen=True)
class Remark:
    """One remark. `level` is ERROR or ADVICE, `where` a file or a place in it."""

    level: str
    where: str
    text: str

    @property
    def line(self) -> str:
        """The remark as one line."""
        return f"{self.where}: {self.text}"


def review(folder: Path) -> tuple[list[Remark], int]:
    """Return the remarks about all plugins of a folder, errors first, and the number of DDLs in it."""
    folders = AgentFolder.of(folder)
    loaded = folders.load(standard=False)
    errors = [Remark(ERROR, *_parts(line)) for line in loaded.problems]
    paths = [*sorted(folders.ddl.glob("*.json")), *sorted((folders.ddl / "data").glob("*.json"))]
    advice = [one for path in paths for one in _about_ddl(path)]
    for path in sorted(folders.code.rglob("*.py")):
        advice += _about_code(path)
    return [*errors, *advice], len(paths)


def _parts(line: str) -> tuple[str, str]:
    where, _, text = line.partition(": ")
    return where, text


def _about_ddl(path: Path) -> Iterator[Remark]:
    try:
        if path.parent.name == "data":
            yield from (Remark(ADVICE, str(path), text) for text in about_fields(data_ddl.read(path)))
            return
        described = ddl.read(path)
    except CollectiveError:
        return  # an error already
    document: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    for name, action in described.actions.items():
        where = f"{path}: {name}"
        if "timeout" not in document["metadata"] and "timeout" not in document["actions"][name]:
            yield Remark(ADVICE, where, f"no 'timeout': the action may take {ddl.DEFAULT_TIMEOUT:.0f} s")
        yield from (Remark(ADVICE, where, text) for text in about_fields(action))


def about_fields(action: Action) -> Iterator[str]:
    """Yield advice about the inputs and outputs of an action."""
    for kind, fields in (("input", action.inputs), ("output", action.outputs)):
        for name, schema in fields.items():
            if "title" not in schema:
                yield f"{kind} '{name}' has no 'title', so results show its name"
            if _SECRET.search(name) and name not in action.secrets and schema.get("type") == "string":
                yield f"{kind} '{name}' looks like a secret and is not 'writeOnly': it is shown and logged"
    for name, schema in action.inputs.items():
        if schema.get("type") == "string" and name not in action.secrets:
            yield from _about_string(action, name, schema)


def _about_string(action: Action, name: str, schema: Mapping[str, Any]) -> Iterator[str]:
    if not {"pattern", "enum", "const", "format", "maxLength"} & schema.keys():
        yield f"input '{name}' has no 'pattern', 'enum' or 'maxLength': it accepts any text of any length"
    elif "pattern" in schema:
        for text, meaning in _TRIES.items():
            if action.accepts(name, text):
                yield f"input '{name}': its 'pattern' accepts {meaning}"


def _about_code(path: Path) -> Iterator[Remark]:
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return  # an error already
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and (text := _about_call(node)):
            yield Remark(ADVICE, f"{path}:{node.lineno}", text)


def _about_call(node: ast.Call) -> str | None:
    name = ast.unparse(node.func)
    keywords = {one.arg: one.value for one in node.keywords}
    if name == "print" and "file" not in keywords:
        return "'print': an action that prints to standard output fails (return the data, or use logging)"
    shell = keywords.get("shell")
    if name in _SHELL_CALLS or (isinstance(shell, ast.Constant) and shell.value is True):
        return f"'{name}' runs a shell line: inputs in it could run other commands (use collective.agent.run)"
    return None
