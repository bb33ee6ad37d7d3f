"""`crpc motd`: print a login message from this node's facts and classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from collective.clients import node_files, options, output
from collective.clients.commands import COMMANDS
from collective.clients.output import Output
from collective.clients.parser import Parser
from collective.clients.render.formatting import in_words
from collective.errors import ConfigError
from collective.text import escape_controls, escape_lines

MOST_TEXT = 64 * 1024  # characters of the message


def make_parser() -> Parser:
    """Return the parser of `crpc motd`."""
    parser = Parser(
        "crpc motd",
        description=f"{COMMANDS['motd']}.\n\nIt reads the file that collectived keeps in the folder local_files of "
        "node.yaml (or --config FILE), and asks no server. A template of Jinja2 has the values identity, collective, "
        "facts, classes and age, in seconds.",
        examples=["crpc motd", "crpc motd --template /etc/collective/motd.j2"],
    )
    parser.add_argument(
        "--template",
        type=options.path,
        metavar="FILE",
        help="a template of Jinja2 (default: conf/motd.j2 in the package)",
    )
    return parser


def run(arguments: Sequence[str]) -> int:
    """Print the message; return 0."""
    args = make_parser().parse_args(arguments)
    from collective import local_facts

    found = local_facts.read(node_files.node(args.config).local_files)
    values = {
        "identity": found.identity,
        "collective": found.collective,
        "facts": dict(found.facts),
        "classes": list(found.classes),
        "age": found.age,
    }
    text = _rendered(args.template, values)
    document = {"identity": found.identity, "text": text}
    output.show(args, Output("motd", document, ("identity", "text"), [[found.identity, text]], lambda: text))
    return 0


def _rendered(template: Path | None, values: Mapping[str, Any]) -> str:
    """Return the text of a template; raise ConfigError, naming the file, for one with an error."""
    from jinja2 import ChainableUndefined

    from collective.sandbox import Sandbox, rendered

    environment = Sandbox(undefined=ChainableUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_visible)
    text = rendered(environment, _source(template), values, MOST_TEXT, str(template or "motd.j2"))
    return escape_lines(text if text.endswith("\n") else f"{text}\n")


def _source(template: Path | None) -> str:
    if template is None:
        return (resources.files("collective.conf") / "motd.j2").read_text(encoding="utf-8")
    try:
        return template.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{template}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{template}: not UTF-8") from None


def _visible(value: Any) -> Any:
    """Return a value without line ends and codes of terminals: facts may have any content."""
    from jinja2 import Undefined

    return value if isinstance(value, Undefined) else escape_controls(in_words(value))
