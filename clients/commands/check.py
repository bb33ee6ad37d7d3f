"""`crpc check FOLDER`: report what is wrong with agents, and what could be better; or check a collective."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from collective.clients import output
from collective.clients.checks import command as checks
from collective.clients.commands import COMMANDS
from collective.clients.nagios import CHECKS
from collective.clients.optional_verbs import OptionalVerbParser
from collective.clients.output import Output
from collective.clients.parser import Parser
from collective.errors import UsageError
from collective.exit_codes import CONFIGURATION, OK
from collective.path_checks import is_folder
from collective.suggestions import suggest
from collective.text import escape_controls, plural

_COLUMNS = ("level", "where", "text")


def make_parser() -> Parser:
    """Return the parser of `crpc check`."""
    parser = OptionalVerbParser(
        "crpc check",
        checks.make_parsers(),
        usage=f"crpc check [FOLDER] [options]\n       crpc check {'|'.join(CHECKS)} [options]",
        description=f"{COMMANDS['check']}.\n\nAn error keeps a node from loading the agent: a DDL that is not valid, "
        "or code that does not match it. Advice is about missing titles and timeouts, inputs that accept options or "
        "newlines, secrets that are shown, and code that prints. Code is imported, but no action is run.\n\n"
        "The exit code is 78 if there is an error.\n\nThe words nodes, queues, replies, requests, orphans and "
        "registry are checks of a collective for Nagios. A folder with such a name is './nodes'.",
        examples=["crpc check .", "crpc check /etc/collective -o table"],
    )
    parser.add_argument(
        "folder", type=Path, nargs="?", default=Path(), metavar="FOLDER", help="folder with agents and ddl (default: .)"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="print errors only")
    return parser


def run(arguments: Sequence[str]) -> int:
    """Print the findings; return 78 if one is an error."""
    args = make_parser().parse_args(arguments)
    if args.verb:
        return checks.run(args)
    if not is_folder(args.folder) and (hint := suggest(str(args.folder), CHECKS)):
        raise UsageError(f"'{args.folder}' is neither a folder nor a check of a collective ({hint})")
    from collective.authoring.review import ERROR, review

    findings, count = review(args.folder)
    errors = [one for one in findings if one.level == ERROR]
    shown = errors if args.quiet else findings
    rows = [[one.level, one.where, one.text] for one in shown]

    def text() -> str:
        lines = "".join(f"{one.level}: {escape_controls(one.line)}\n" for one in shown)
        advice = len(findings) - len(errors)
        hints = f", {plural(advice, 'suggestion')}" if advice else ""
        return f"{lines}{plural(count, 'DDL')}: {plural(len(errors), 'error') if errors else 'no errors'}{hints}\n"

    document = {"ddls": count, "findings": [dict(zip(_COLUMNS, row, strict=True)) for row in rows]}
    output.show(args, Output("check", document, _COLUMNS, rows, text))
    return CONFIGURATION if errors else OK
