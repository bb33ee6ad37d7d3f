"""The documentation of agents and actions from the DDL."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from support.rendering import make_action

from collective import ddl
from collective.clients.inputs import read_inputs
from collective.clients.render import describe_markdown
from collective.clients.render.describe import describe_action, describe_agent, example

SHIPPED = sorted(
    Path(str(entry)) for entry in resources.files("collective.ddls").iterdir() if entry.name.endswith(".json")
)


def test_action() -> None:
    """The documentation has everything in the DDL, except the default of a secret."""
    action = make_action(
        {"ensure": {"title": "Ensure", "type": ["string", "null"]}, "list": {"type": "array", "items": {}}},
        [{"function": "summary", "output": "ensure", "labels": {"absent": "gone"}}],
        inputs={
            "package": {"title": "Package", "description": "What to install", "pattern": "^[a-z]+$"},
            "mode": {"type": "string", "enum": ["fast", "slow"], "default": "fast", "maxLength": 4},
            "token": {"type": "string", "writeOnly": True, "default": "s3cret"},
        },
        required=["package"],
        display="always",
        timeout=180,
        idempotent=True,
    )
    assert describe_action(action, 80) == (
        "package install\n"
        "===============\n"
        "Install a package\n"
        "\n"
        "     Shown: all replies\n"
        "   Timeout: 180 s\n"
        "Idempotent: yes\n"
        "   Dry run: no\n"
        "\n"
        "Inputs:\n"
        "\n"
        "   package (required)\n"
        "        Title: Package\n"
        "      Meaning: What to install\n"
        "      Pattern: ^[a-z]+$\n"
        "\n"
        "   mode\n"
        "         Type: string\n"
        '       One of: "fast", "slow"\n'
        "       Limits: maxLength 4\n"
        '      Default: "fast"\n'
        "\n"
        "   token\n"
        "         Type: string\n"
        "      Default: ********\n"
        "       Secret: yes: never printed or logged\n"
        "\n"
        "Outputs:\n"
        "\n"
        "   ensure\n"
        "      Title: Ensure\n"
        "       Type: string or null\n"
        "\n"
        "   list\n"
        "      Type: array\n"
        "\n"
        "Summaries:\n"
        "\n"
        "   summary of Ensure (absent = gone)\n"
        "\n"
    )


@pytest.mark.parametrize("write", [describe_markdown.action, lambda action: describe_action(action, 80)])
def test_references_of_a_foreign_ddl(write: Callable[[ddl.Action], str]) -> None:
    """A reference that leads to itself, to the whole or to nothing, and `true` as a schema, are documented as "any"."""
    kinds: dict[str, Any] = {
        "whole": {"$ref": "#"},
        "itself": {"$ref": "#/properties/itself"},
        "part": {"anyOf": [{"$ref": "#/properties/part"}, True]},
        "known": {"$ref": "#/$defs/name"},
    }
    schema = {"type": "object", "properties": kinds, "$defs": {"name": {"type": "string"}}}
    text = write(replace(make_action({}), input=schema, output=schema))
    assert all(name in text for name in kinds)


def test_an_action_without_inputs_and_outputs() -> None:
    """The documentation of an action without inputs and outputs has no such parts, and is not idempotent."""
    text = describe_action(make_action(), 80)
    assert "Idempotent: no" in text
    assert text.endswith("Inputs: none\n\nOutputs: none\n\n")


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_agents(path: Path) -> None:
    """The documentation of each standard agent names all actions, inputs and outputs, and is wrapped."""
    agent = ddl.read(path)
    text = describe_agent(agent, 80)
    words = text.split()
    for action in agent.actions.values():
        assert f"{agent.name} {action.name}\n" in text
        assert {*action.inputs, *action.outputs} <= set(words)
    overlong = [line for line in text.splitlines() if len(line) > 80 and len(line.split()) > 2]
    assert overlong == []


def test_wrapping() -> None:
    """Further lines of a long description are indented to its first line."""
    action = make_action(inputs={"a": {"description": "word " * 30}})
    lines = [line for line in describe_action(action, 50).splitlines() if "word" in line]
    assert len(lines) > 2
    assert all(len(line) <= 50 for line in lines)
    assert {line.index("word") for line in lines} == {len("      Meaning: ")}


STANDARD = [action for path in SHIPPED for action in ddl.read(path).actions.values()]


@pytest.mark.parametrize("action", STANDARD, ids=lambda action: f"{action.agent} {action.name}")
def test_every_standard_action_has_a_valid_example(action: ddl.Action) -> None:
    """The help page ends with a command line that `crpc` accepts, also for actions with required inputs."""
    program, agent, name, *words = shlex.split(example(action))
    assert (program, agent, name, words[-2:]) == ("crpc", action.agent, action.name, ["--limit", "1"])
    action.check_input(read_inputs(words[:-2], action))
