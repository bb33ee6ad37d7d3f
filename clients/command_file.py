"""A command in a YAML file: an action with fixed and prompted inputs, a filter, and help text.

    # commands/restart-web.yaml
    summary: Restart a service on the web servers
    agent: service
    action: restart
    inputs: {signal: HUP}           fixed inputs
    ask: [service]                  inputs that are asked for on a terminal if the command line does not have them
    filter: role=web                as -S; options of the command line narrow it
    nodes: "@web-prod"              as -I
    display: all
    options: --batch 25% --max-fail 1

`crpc restart-web service=nginx` is then `crpc service restart service=nginx signal=HUP -S role=web …`.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collective.clients.confirmation import ask
from collective.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from collective.clients.parser import Parser


@dataclass(frozen=True)
class CommandFile:
    """The content of a command's file; see the module."""

    name: str
    path: Path
    summary: str
    agent: str
    action: str
    description: str = ""
    examples: list[str] = field(default_factory=list)
    inputs: dict[str, Any] = field(default_factory=dict)
    ask: list[str] = field(default_factory=list)
    filter: str | None = None
    nodes: str | None = None
    display: str | None = None
    options: str = ""


def read(path: Path) -> CommandFile:
    """Return the content of a file; raise ConfigError, naming file and key, for a wrong one."""
    from collective import schemas
    from collective.json_schema import first_error, validator
    from collective.yaml_file import read_yaml

    values = read_yaml(path)
    error = first_error(validator(schemas.load("command")), values)
    if error is not None:
        where = ".".join(str(step) for step in error.absolute_path)
        raise ConfigError(f"{path}: {where}: {error.message}" if where else f"{path}: {error.message}")
    found = CommandFile(path.stem, path, **values)
    if both := sorted({*found.inputs} & {*found.ask}):
        raise ConfigError(f"{path}: ask: '{both[0]}' is a fixed input")
    return found


def summary(path: Path) -> str:
    """Return the summary of a file; only a file without one is checked. Raises ConfigError."""
    from collective.yaml_file import read_yaml

    values = read_yaml(path)
    found = values.get("summary") if isinstance(values, dict) else None
    return str(found or read(path).summary)


def stands_for(path: Path) -> list[str]:
    """Return the agent, the action and the fixed inputs of a file, without checking it. Raises ConfigError."""
    from collective.yaml_file import read_yaml

    values = read_yaml(path)
    return [values["agent"], values["action"], *(f"{name}=" for name in values.get("inputs", {}))]


def make_parser(command: CommandFile) -> Parser:
    """Return the parser of the command: that of a request, with the file's help text."""
    from collective.clients.commands import rpc

    call = " ".join([command.agent, command.action, *_fixed(command)])
    parts = [f"{command.summary}.", command.description.strip(), f"Runs: crpc {call} ({command.path})"]
    return rpc.make_parser(
        f"crpc {command.name}",
        f"crpc {command.name} [KEY=VALUE ...] [options]",
        "\n\n".join(part for part in parts if part),
        command.examples or [f"crpc {command.name}"],
        f"inputs, as KEY=VALUE ('crpc describe {command.agent} {command.action}' lists them)",
    )


def run(path: Path, arguments: Sequence[str]) -> int:
    """Run the command; return the exit code of the call."""
    from collective.clients.commands import rpc

    command = read(path)
    args = make_parser(command).parse_args([*_options(command), *arguments])
    given = {word.partition("=")[0] for word in args.words}
    if fixed := sorted(given & {*command.inputs}):
        raise UsageError(f"crpc {command.name}: '{fixed[0]}' is fixed by the command (in {path})")
    _narrow(args, command)
    words = [command.agent, command.action, *_fixed(command), *args.words, *_asked(command, given)]
    return rpc.perform(args, words)


def _options(command: CommandFile) -> list[str]:
    try:
        return shlex.split(command.options)
    except ValueError as error:
        raise ConfigError(f"{command.path}: options: {error}") from None


def _narrow(args: argparse.Namespace, command: CommandFile) -> None:
    """Add the targets of the file to those of the command line: nodes must match both."""
    if command.filter is not None:
        args.select = command.filter if args.select is None else f"({command.filter}) and ({args.select})"
    if command.nodes is not None:
        _refuse_expressions(args, command)
        args.with_identity = [f"{command.nodes}&{text}" for text in args.with_identity] or [command.nodes]
    if args.output == "text":  # other forms have all replies, unless the command line asks for less
        args.display = args.display or command.display


def _refuse_expressions(args: argparse.Namespace, command: CommandFile) -> None:
    """Raise UsageError for a value of `-I` that cannot be combined with the nodes of the file."""
    for text in args.with_identity:
        if text.startswith("/") or any(character in text for character in ",&!"):
            raise UsageError(f"-I {text!r}: use one name, range or group with crpc {command.name}, which has nodes")


def _fixed(command: CommandFile) -> list[str]:
    """Return the fixed inputs as words; a string that begins with '@' does not name a file."""
    return [f"{name}={_word(value)}" for name, value in command.inputs.items()]


def _word(value: Any) -> str:
    if not isinstance(value, str):
        return json.dumps(value)
    return f"@{value}" if value.startswith("@") else value


def _asked(command: CommandFile, given: set[str]) -> list[str]:
    """Return the inputs that were typed on the terminal, as words."""
    missing = [name for name in command.ask if name not in given]
    if not sys.stdin.isatty():
        return []
    answers = {name: ask(f"{name}: ") for name in missing}
    return [f"{name}={_word(answer)}" for name, answer in answers.items() if answer]
