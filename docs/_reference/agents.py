"""Every standard agent and data function, from its DDL."""

from __future__ import annotations

import ast
from pathlib import Path

from collective import agents as agents_package
from collective import data_ddl, ddl, ddls
from collective.clients.render.describe_markdown import agent, fields, meaning

DDLS, AGENTS = Path(ddls.__path__[0]), Path(agents_package.__path__[0])


def agents() -> str:
    """Return one section for each agent, with its actions."""
    return "\n\n".join(_agent(ddl.read(path)) for path in sorted(DDLS.glob("*.json")))


def data_functions() -> str:
    """Return one section for each data function."""
    return "\n\n".join(_data_function(path) for path in sorted((DDLS / "data").glob("*.json")))


def _agent(described: ddl.DDL) -> str:
    about = ast.get_docstring(ast.parse((AGENTS / f"{described.name}.py").read_text(encoding="utf-8"))) or ""
    return agent(described, _text(about), level=2)


def _data_function(path: Path) -> str:
    action = data_ddl.read(path)
    query = action.inputs["query"]
    heading = f"### {action.name}\n\n{action.description}."
    asked = f"**Query**: {meaning(query)}. Timeout {action.timeout:g} s."
    return "\n\n".join([heading, asked, fields("Fields", action.outputs, (), action.output)])


def _text(docstring: str) -> str:
    """Return a module's docstring, without its first line, as paragraphs."""
    return "\n\n".join(docstring.split("\n\n")[1:])
