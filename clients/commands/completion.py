"""`crpc completion SHELL`: print the script that completes command lines in bash, zsh or fish."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources

from collective.clients import output
from collective.clients.commands import COMMANDS
from collective.clients.completion import SHELLS
from collective.clients.output import Output
from collective.clients.parser import Parser

_COLUMNS = ("shell", "script")


def make_parser() -> Parser:
    """Return the parser of `crpc completion`."""
    parser = Parser(
        "crpc completion",
        description=f"{COMMANDS['completion']}.\n\nCommands, options, agents, actions, inputs, facts and nodes are "
        "completed. Names of nodes, facts and classes are those that the last call found in the registry.\n\n"
        "Load the script when the shell starts: in ~/.bashrc 'source <(crpc completion bash)', in ~/.zshrc after "
        "compinit 'source <(crpc completion zsh)', in ~/.config/fish/config.fish 'crpc completion fish | source'.",
        examples=["crpc completion bash", "crpc completion fish"],
    )
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help=", ".join(SHELLS))
    return parser


def run(arguments: Sequence[str]) -> int:
    """Print the script of a shell."""
    args = make_parser().parse_args(arguments)
    script = (resources.files("collective.clients.completion") / f"crpc.{args.shell}").read_text(encoding="utf-8")
    document = {"shell": args.shell, "script": script}
    output.show(args, Output("completion", document, _COLUMNS, [list(document.values())], lambda: script))
    return 0
