"""`crpc describe AGENT [ACTION]`: print the documentation of an agent or action from its DDL."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from collective.clients import apps, options, output
from collective.clients.commands import COMMANDS
from collective.clients.completed_by import completed_by
from collective.clients.output import Output
from collective.clients.parser import Parser
from collective.errors import UsageError
from collective.masking import MASK

if TYPE_CHECKING:
    from collective.ddl import DDL, Action

_COLUMNS = ("action", "kind", "name", "type", "required", "title", "description")
_WIDEST = 100  # columns


def make_parser() -> Parser:
    """Return the parser of `crpc describe`."""
    parser = Parser(
        "crpc describe",
        description=f"{COMMANDS['describe']}.\n\nThe documentation comes from the agent's DDL. With -v also the file "
        "that it was read from.",
        examples=[
            "crpc describe package",
            "crpc describe package install",
            "crpc describe package --markdown",
            "crpc describe package -o table",
        ],
    )
    completed_by("agent", parser.add_argument("agent", help="name of an agent ('crpc help' lists them)"))
    completed_by("described", parser.add_argument("action", nargs="?", help="name of an action (default: all)"))
    parser.add_argument("--markdown", action="store_true", help="write the text as Markdown, for documentation")
    return parser


def run(arguments: Sequence[str]) -> int:
    """Print the documentation of an agent or of one of its actions."""
    args = make_parser().parse_args(arguments)
    if args.markdown and args.output != "text" and "output" not in args.from_variables:
        raise UsageError(f"--markdown: not allowed with -o {args.output}")
    catalog = options.catalog(args, args.agent)
    ddl = catalog.ddl(args.agent)
    actions = [catalog.action(args.agent, args.action)] if args.action else list(ddl.actions.values())
    source = f"\nDDL: {catalog.paths[args.agent]}\n" if args.verbose else ""
    document = {"agent": ddl.name, "metadata": ddl.metadata, "actions": {one.name: _action(one) for one in actions}}
    if ddl.settings and not args.action:
        document["settings"] = ddl.settings
    rows = [row for action in actions for row in _rows(action)]
    if args.markdown:
        args.output = "text"
    page = partial(_page, ddl, actions[0] if args.action else None, args.markdown)
    output.show(args, Output("describe", document, _COLUMNS, rows, lambda: page() + source))
    return 0


def _page(ddl: DDL, action: Action | None, as_markdown: bool) -> str:
    """Return the text of an agent, or of one action."""
    verbs = {name: verb.about for name, verb in apps.verbs(ddl.name).items()}
    if as_markdown:
        from collective.clients.render import describe_markdown

        lines = [f"* `crpc {ddl.name} {name}`: {about}" for name, about in verbs.items()]
        page = describe_markdown.action(action) if action else describe_markdown.agent(ddl, "\n".join(lines))
        return f"{page}\n"
    from collective.clients.render.describe import describe_action, describe_agent

    width = text_width()
    return describe_action(action, width) if action else describe_agent(ddl, width, verbs)


def text_width() -> int:
    """Return the width of documentation: that of the terminal, up to a limit."""
    return min(shutil.get_terminal_size().columns, _WIDEST)


def _action(action: Action) -> dict[str, Any]:
    return {
        "description": action.description,
        "display": action.display,
        "timeout": action.timeout,
        "idempotent": action.idempotent,
        "dry_run": action.dry_run,
        "input": {**action.input, "properties": _masked(action, action.inputs)},
        "output": {**action.output, "properties": _masked(action, action.outputs)},
        "aggregate": [
            {"function": one.function, "output": one.output, "title": one.title} for one in action.aggregates
        ],
    }


def _masked(action: Action, schemas: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the schemas of inputs or outputs; the default of a secret is masked."""
    return {
        name: {**schema, "default": MASK} if name in action.secrets and "default" in schema else schema
        for name, schema in schemas.items()
    }


def _rows(action: Action) -> list[list[Any]]:
    rows = []
    for kind, schemas in (("input", action.inputs), ("output", action.outputs)):
        for name, schema in schemas.items():
            required = kind == "input" and name in action.required
            described = (schema.get(key) for key in ("title", "description"))
            rows.append([action.name, kind, name, schema.get("type"), required, *described])
    return rows
