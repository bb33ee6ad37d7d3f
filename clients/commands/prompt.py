"""`crpc prompt`: print customer, environment and role of this node, or the lines that show them in a shell's prompt."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from importlib import resources

from collective.clients import node_files, output
from collective.clients.commands import COMMANDS
from collective.clients.output import Output
from collective.clients.parser import Parser
from collective.errors import ConfigError

_SHELLS = ("bash", "zsh")


def make_parser() -> Parser:
    """Return the parser of `crpc prompt`."""
    parser = Parser(
        "crpc prompt",
        description=f"{COMMANDS['prompt']}.\n\nIt reads the file that collectived keeps in the folder local_files of "
        "node.yaml (or --config FILE). With the name of a shell it prints the lines for ~/.bashrc or ~/.zshrc. These "
        "read the file without starting a program.",
        examples=["crpc prompt", "crpc prompt bash"],
    )
    parser.add_argument(
        "shell",
        nargs="?",
        choices=_SHELLS,
        metavar="SHELL",
        help=f"print the lines for this shell: {', '.join(_SHELLS)}",
    )
    return parser


def run(arguments: Sequence[str]) -> int:
    """Print the prompt or the lines; return 0."""
    args = make_parser().parse_args(arguments)
    from collective.local_facts import PROMPT

    folder = node_files.node(args.config).local_files
    if folder is None:
        raise ConfigError("node.yaml: local_files is not set, so the node keeps no prompt (set it to a folder)")
    path = folder / PROMPT
    if args.shell:
        text = f"COLLECTIVE_PROMPT_FILE={shlex.quote(str(path))}\n{_lines()}"
    else:
        try:
            text = path.read_text(encoding="ascii", errors="replace").partition("\n")[0] + "\n"
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read: {error.strerror} (start collectived)") from None
    document = {"shell": args.shell, "text": text}
    output.show(args, Output("prompt", document, ("shell", "text"), [[args.shell, text]], lambda: text))
    return 0


def _lines() -> str:
    return (resources.files("collective.conf") / "prompt.sh").read_text(encoding="utf-8")
