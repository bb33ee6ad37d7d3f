"""`crpc new agent NAME`: write the code, the DDL and a test of a new agent."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from collective.clients import output
from collective.clients.commands import COMMANDS
from collective.clients.output import Output
from collective.clients.parser import Parser
from collective.text import escape_controls

if TYPE_CHECKING:
    from collective.authoring.skeleton import NewAgent


def make_parser() -> Parser:
    """Return the parser of `crpc new`."""
    parser = Parser(
        "crpc new",
        description=f"{COMMANDS['new']}.",
        examples=["crpc new agent disk_space --action usage --input path:string --output percent:integer"],
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="agent")
    agent = verbs.add_parser(
        "agent",
        help="write the code, the DDL and a test of a new agent",
        description="Write the code, the DDL and a test of a new agent.\n\nThe files are agents/NAME.py, ddl/NAME.json "
        "and tests/test_NAME.py. They work as they are: the action returns fixed values. Existing files are kept.\n\n"
        "Here --output names an output of the action; -o and --json choose the output form.",
        examples=[
            "crpc new agent disk_space --action usage --input path:string --output percent:integer",
            "crpc new agent banner --action show --output text",
        ],
        conflict_handler="resolve",
    )
    agent.add_argument("name", metavar="NAME", help="name of the agent: a-z, 0-9 and '_'")
    agent.add_argument("--action", metavar="NAME", required=True, help="name of its action")
    for option, dest in (("--input", "inputs"), ("--output", "outputs")):
        text = f"an {dest[:-1]} of the action; the type is string unless given"
        agent.add_argument(option, dest=dest, metavar="NAME:TYPE", action="append", default=[], help=text)
    agent.add_argument("--folder", type=Path, default=Path(), metavar="FOLDER", help="where to write (default: here)")
    return parser


def run(arguments: Sequence[str]) -> int:
    """Write the files and print their names."""
    from collective.authoring import skeleton

    args = make_parser().parse_args(arguments)
    made = skeleton.new_agent(args.name, args.action, args.inputs, args.outputs)
    files = made.files(args.folder)
    skeleton.write(files)
    paths = [str(path) for path in files]

    def text() -> str:
        lines = "".join(f"{escape_controls(path)}\n" for path in paths)
        steps = "".join(f"  {step}\n" for step in _next_steps(made, args.folder))
        return f"{lines}\nnext:\n{steps}"

    document = {"agent": args.name, "action": args.action, "files": paths}
    output.show(args, Output("new", document, ["file"], [[path] for path in paths], text))
    return 0


def _next_steps(made: NewAgent, folder: Path) -> Iterator[str]:
    """Yield the commands that check, run and test the new agent."""
    where = escape_controls(str(folder))
    here = where == "."
    yield shlex.join(["crpc", "check", where])
    yield shlex.join(
        ["crpc", "run-local", made.name, made.action, *made.examples(), *([] if here else ["--folder", where])]
    )
    yield shlex.join(["pytest", *([] if here else ["--rootdir", where, where])])
