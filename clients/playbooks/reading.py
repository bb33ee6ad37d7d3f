"""Read a playbook and the playbooks that it includes; every problem is a ConfigError that names file and line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from collective import durations, schemas
from collective.clients.playbooks import expressions
from collective.clients.playbooks.definition import (
    CONTINUE,
    KINDS,
    RUN,
    STOP,
    PlaybookDefinition,
    PlaybookStep,
    StepRetry,
)
from collective.clients.playbooks.input_schema import read_inputs_schema
from collective.clients.playbooks.source import SourceFile, SourcePlace, read_source
from collective.errors import UsageError
from collective.json_schema import first_error, validator
from collective.suggestions import suggest
from collective.time_limit import OUTPUT_SECONDS

MOST_STEPS = 1000  # of a playbook with all that it includes
MAX_NESTING = 10  # steps within steps, in one file
MAX_INCLUDES = 10  # playbooks that include each other, one after another
MOST_SECONDS = 604800.0  # of a playbook's `timeout`
MOST_BRANCHES = 20  # steps of one `parallel`
_NAMED = ("inputs", "vars", "steps", "facts", "failure", "playbook")  # in expressions
_REPEATABLE = ("call", "assert", "local")
_LONGEST_NAME = 60  # characters of a name that is made of a step's content


def read_playbook(path: Path) -> PlaybookDefinition:
    """Return the playbook in a file. Raises ConfigError."""
    return _PlaybookReader().read(path, ())


@dataclass
class _PlaybookReader:
    """Reads files; `count` is the number of steps so far, `chain` are the files that include each other."""

    count: int = 0
    files: dict[Path, SourceFile] = field(default_factory=dict)

    def read(self, path: Path, chain: tuple[Path, ...]) -> PlaybookDefinition:
        real = path.resolve()
        file = self.files[real] if real in self.files else read_source(path)
        self.files[real] = file
        top = SourcePlace(file)
        document = file.document()
        if not isinstance(document, Mapping):
            raise top.error("must be a mapping with title and steps")
        schema = schemas.load("playbook")
        _check_keys(document, schema, top)
        _check_steps(document, top, 0)
        error = first_error(validator(schema), document, OUTPUT_SECONDS)
        if error is not None:
            place = top.at(*error.absolute_path)
            raise place.error(f"{_key(place)}{error.message[:300]}")
        chain = (*chain, real)
        root = PlaybookStep(
            number="",
            kind="steps",
            name=str(document["title"]),
            id="",
            place=top,
            on_failure=RUN if "rescue" in document else STOP,
            title=str(document["title"]),
            steps=self.steps(document, "steps", top, "", chain),
            rescue=self.steps(document, "rescue", top, "", chain),
            always=self.steps(document, "always", top, "", chain),
        )
        return PlaybookDefinition(
            file=file,
            title=str(document["title"]),
            description=str(document.get("description", "")),
            inputs=read_inputs_schema(path.stem, document, top),
            timeout=_timeout(document, top),
            root=root,
            files=tuple(self.files.values()),
        )

    def steps(
        self, holder: Mapping[str, Any], part: str, place: SourcePlace, number: str, chain: tuple[Path, ...]
    ) -> tuple[PlaybookStep, ...]:
        """Return the steps in a member of a mapping; `number` is that of the step that has them."""
        prefix = ".".join(piece for piece in (number, part if part in ("rescue", "always") else "") if piece)
        found = []
        for index, entry in enumerate(holder.get(part, ())):
            own = f"{prefix}.{index + 1}" if prefix else str(index + 1)
            found.append(self.step(entry, place.at(part, index), own, chain))
        return tuple(found)

    def step(self, entry: Mapping[str, Any], place: SourcePlace, number: str, chain: tuple[Path, ...]) -> PlaybookStep:
        self.count += 1
        if self.count > MOST_STEPS:
            raise place.error(f"more than {MOST_STEPS} steps, those of included playbooks counted")
        kind = next(name for name in KINDS if name in entry)
        body = entry[kind]
        below = {"parallel": (entry, place), "steps": (entry, place), "for_each": (body, place.at("for_each"))}
        holder, where = below.get(kind, ({}, place))
        name = str(entry.get("name") or _made_name(kind, body))
        return PlaybookStep(
            number=number,
            kind=kind,
            name=name,
            title=expressions.value(name, place.at("name")),
            id=str(entry.get("id", "")),
            place=place,
            body=_compiled(kind, body, place.at(kind)),
            when=expressions.expression(entry["when"], place.at("when")) if "when" in entry else None,
            retry=_retry(entry, kind, place),
            on_failure=_on_failure(entry, place),
            steps=self.steps(holder, "steps" if kind == "for_each" else kind, where, number, chain),
            rescue=self.steps(entry, "rescue", place, number, chain),
            always=self.steps(entry, "always", place, number, chain),
            included=self.include(body, place.at(kind), chain) if kind == "include" else None,
        )

    def include(self, body: Mapping[str, Any], place: SourcePlace, chain: tuple[Path, ...]) -> PlaybookDefinition:
        path = place.file.path.parent / body["file"]
        where = place.at("file")
        if path.resolve() in chain:
            names = " → ".join(one.name for one in (*chain[chain.index(path.resolve()) :], path))
            raise where.error(f"include: a loop: {names}")
        if len(chain) >= MAX_INCLUDES:
            raise where.error(f"include: more than {MAX_INCLUDES} playbooks include each other")
        if not path.exists():
            raise where.error(f"include: there is no file {path}")
        return self.read(path, chain)


def _check_keys(value: Any, schema: Mapping[str, Any], place: SourcePlace) -> None:
    """Refuse keys that are not strings or that the schema does not have, with a suggestion."""
    while "$ref" in schema:
        schema = schemas.load("playbook")["$defs"][schema["$ref"].rpartition("/")[2]]
    if isinstance(value, list):
        for index, part in enumerate(value):
            _check_keys(part, schema.get("items", {}), place.at(index))
    if not isinstance(value, Mapping):
        return
    properties: Mapping[str, Any] = schema.get("properties", {})
    for key, part in value.items():
        if not isinstance(key, str):
            raise place.at(str(key)).error(f"key '{key}': must be a string (put it in quotes)")
        if key not in properties and schema.get("additionalProperties") is False:
            raise place.at(key).error(
                f"unknown key '{key}' ({suggest(key, properties, 'keys: ' + ', '.join(properties))})"
            )
        _check_keys(part, properties.get(key, {}), place.at(key))


def _check_steps(holder: Any, place: SourcePlace, depth: int) -> None:
    """Refuse steps without a kind, with two, and those that are nested too deeply."""
    if not isinstance(holder, Mapping):
        return
    for part in ("steps", "parallel", "rescue", "always"):
        listed = holder.get(part)
        for index, step in enumerate(listed if isinstance(listed, list) else ()):
            where = place.at(part, index)
            if depth >= MAX_NESTING:
                raise where.error(f"nested more than {MAX_NESTING} levels deep (include another playbook)")
            if not isinstance(step, Mapping):
                raise where.error("a step must be a mapping")
            kinds = [kind for kind in KINDS if kind in step]
            if len(kinds) != 1:
                found = f"has {' and '.join(kinds)}" if kinds else "has no kind"
                raise where.error(f"a step {found} (use exactly one of {', '.join(KINDS)})")
            _check_steps(step, where, depth + 1)
            _check_steps(step.get("for_each"), where.at("for_each"), depth + 1)
        if part == "parallel" and isinstance(listed, list) and len(listed) > MOST_BRANCHES:
            raise place.at(part).error(f"parallel: more than {MOST_BRANCHES} steps")


def _on_failure(entry: Mapping[str, Any], place: SourcePlace) -> str:
    given = str(entry.get("on_failure", RUN if "rescue" in entry else STOP))
    if given == RUN and "rescue" not in entry:
        raise place.at("on_failure").error("on_failure: run has no effect without steps to run (add rescue)")
    if given in (STOP, CONTINUE) and "rescue" in entry:
        raise place.at("on_failure").error(f"on_failure: {given} is not allowed with rescue (remove one of them)")
    return given


def _retry(entry: Mapping[str, Any], kind: str, place: SourcePlace) -> StepRetry | None:
    if "retry" not in entry:
        return None
    if kind not in _REPEATABLE:
        raise place.at("retry").error(f"retry: not allowed for {kind} (only for {', '.join(_REPEATABLE)})")
    given = expressions.value(entry["retry"], place.at("retry"))
    return StepRetry(given["times"], given.get("delay", 10))


def _compiled(kind: str, body: Any, place: SourcePlace) -> Any:
    """Return the value of a kind with its expressions compiled; some members must be known when the file is read."""
    if kind in ("parallel", "steps"):
        return None
    if kind == "assert":
        return _conditions(body, place)
    if kind == "for_each":
        name = body.get("as", "item")
        if name in _NAMED:
            raise place.at("as").error(f"as: '{name}' has a meaning in expressions (use another name)")
        return {"in": expressions.value(body["in"], place.at("in")), "as": name}
    if kind == "ask":
        return {**body, "question": expressions.value(body["question"], place.at("question"))}
    found = expressions.value(body, place)
    for keys in (("agent",), ("action",), ("file",), ("call", "agent"), ("call", "action")):
        _refuse_expression(found, keys, place)
    return found


def _conditions(body: Any, place: SourcePlace) -> Any:
    that = body["that"] if isinstance(body, Mapping) else body
    where = place.at("that") if isinstance(body, Mapping) else place
    texts = [that] if isinstance(that, str) else that
    places = [where] if isinstance(that, str) else [where.at(index) for index in range(len(texts))]
    found = {"that": [expressions.expression(text, one) for text, one in zip(texts, places, strict=True)]}
    if isinstance(body, Mapping) and "message" in body:
        found["message"] = expressions.value(body["message"], place.at("message"))
    return found


def _refuse_expression(body: Any, keys: tuple[str, ...], place: SourcePlace) -> None:
    for key in keys:
        body = body.get(key) if isinstance(body, Mapping) else None
    if isinstance(body, expressions.PlaybookExpression):
        raise place.at(*keys).error(f"{keys[-1]}: expressions are not allowed here, it is checked before anything runs")


def _made_name(kind: str, body: Any) -> str:
    """Return a name for a step without one."""
    if kind in ("call", "wait"):
        call = body.get("call", body)
        return f"{call['agent']} {call['action']}" if "agent" in call else f"wait for {body.get('filter')}"
    texts = {
        "set": lambda: f"set {', '.join(body)}",
        "for_each": lambda: f"for each {body.get('as', 'item')}",
        "include": lambda: f"include {body['file']}",
        "ask": lambda: str(body["question"]),
        "local": lambda: " ".join(map(str, body["command"])),
    }
    text = texts[kind]() if kind in texts else kind
    return text if len(text) <= _LONGEST_NAME or "{" in text else f"{text[: _LONGEST_NAME - 1]}…"


def _key(place: SourcePlace) -> str:
    names = [str(key) for key in place.keys if isinstance(key, str)]
    return f"{names[-1]}: " if names else ""


def _timeout(document: Mapping[str, Any], top: SourcePlace) -> float:
    """Return the seconds after which no further step begins; raise ConfigError, naming the line, for another value."""
    try:
        return durations.read_wait(str(document["timeout"]), MOST_SECONDS) if "timeout" in document else MOST_SECONDS
    except UsageError as error:
        raise top.at("timeout").error(f"timeout: {error}") from None
