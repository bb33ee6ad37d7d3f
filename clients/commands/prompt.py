"""`crpc prompt`: print customer, environment and role of this node, or the lines that show them in a shell's prompt."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from collective.clients import node_files, output
from collective.clients.commands import COMMANDS
from collective.clients.output import Output
from collective.clients.parser import Parser
from collective.clients.streams import notice
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
    text = f"COLLECTIVE_PROMPT_FILE={shlex.quote(str(path))}\n{_lines()}" if args.shell else _prompt(path)
    document = {"shell": args.shell, "text": text}
    output.show(args, Output("prompt", document, ("shell", "text"), [[args.shell, text]], lambda: text))
    return 0


def _prompt(path: Path) -> str:
    """Return the first line of the file; report an old one, which no daemon renews."""
    from collective.local_facts import OLD
    from collective.prompt_line import harmless

    try:
        text = path.read_text(encoding="ascii", errors="replace")
        age = time.time() - path.stat().st_mtime
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror} (start collectived)") from None
    if age > OLD:
        notice(f"this prompt was confirmed {age / 60:.0f} minutes ago: collectived does not run")
    return harmless(text.partition("\n")[0]) + "\n"


def _lines() -> str:
    return (resources.files("collective.conf") / "prompt.sh").read_text(encoding="utf-8")
