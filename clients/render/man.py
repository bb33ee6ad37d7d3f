"""Write the manual pages from the parsers that print --help: crpc.1, crpc-COMMAND.1 for each command, collectived.8.

    pages(daemon.make_parser()) -> {"crpc.1": ".TH CRPC 1 …", …}

setup.py writes them into the wheel, so nothing but the standard library is needed here.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence

from collective.catalog import Catalog
from collective.clients.commands import GROUPS, make_parsers, rpc
from collective.clients.parser import Parser
from collective.exit_codes import MEANINGS
from collective.version import __version__

_ESCAPES = {"\\": "\\e", "-": "\\-", "'": "\\(aq", "`": "\\(ga", "^": "\\(ha", "~": "\\(ti", '"': "\\(dq"}
_ESCAPED = re.compile(r"[^\x20-\x7e]|[" + re.escape("".join(_ESCAPES)) + "]")
_AFTER_HEADING = re.compile(r"(\.S[HS] [^\n]*\n)\.PP\n")  # a paragraph begins there anyway
_COMMON = "common options"
_FILES = {
    "~/.config/collective/client.yaml, /etc/collective/client.yaml": "The configuration of callers.",
    "~/.local/state/collective": "Known keys of nodes, saved runs, and names for completion in the shell.",
}
_NODE_FILES = {
    "/etc/collective/node.yaml": "The configuration of the node.",
    "/etc/collective/policy.yaml": "Who can run what.",
    "/etc/collective/allowed_signers": "The keys of callers.",
    "/var/lib/collective": "The key of the node, and the journal.",
    "/var/log/collective/audit.jsonl": "The audit log.",
}


def pages(daemon: argparse.ArgumentParser) -> dict[str, str]:
    """Return the text of each manual page, by file name; `daemon` is the parser of `collectived`."""
    parsers = make_parsers()
    found = {"crpc.1": _overview(rpc.make_parser(), [_name(parser) for parser in parsers])}
    for parser in parsers:
        found[f"{_name(parser)}.1"] = _command(parser)
    found["collectived.8"] = _daemon(daemon)
    return {name: _AFTER_HEADING.sub(r"\1", text) for name, text in found.items()}


def _overview(parser: Parser, commands: Sequence[str]) -> str:
    synopsis = ["crpc AGENT ACTION [KEY=VALUE ...] [options]", "crpc COMMAND [options]"]
    parts = [
        _head("crpc", 1, "send requests to many nodes, and print the replies", synopsis),
        _section("DESCRIPTION", _paragraphs(parser.description or "")),
    ]
    for title, members in GROUPS.items():
        parts.append(_section(title.upper(), [_item(_bold(name), f"{about}.") for name, about in members.items()]))
    parts += [
        _section("AGENTS", [*_agents(), ".PP\n" + _text("'crpc describe AGENT' shows the actions of an agent.")]),
        _options(parser),
        *_end(parser, _FILES, [f"{name}(1)" for name in commands] + ["collectived(8)"]),
    ]
    return "".join(parts)


def _agents() -> Iterator[str]:
    for name, path in sorted(Catalog().paths.items()):
        yield _item(_bold(name), f"{json.loads(path.read_text(encoding='utf-8'))['metadata']['description']}.")


def _command(parser: Parser) -> str:
    first, *rest = (parser.description or "").split("\n\n")
    summary = first.rstrip(".")
    head = _head(_name(parser), 1, f"{summary[:1].lower()}{summary[1:]}", [_usage(parser)])
    verbs = "".join(_verb(name, verb) for name, verb in parser.verbs.items())
    return "".join(
        [
            head,
            _section("DESCRIPTION", _paragraphs("\n\n".join(rest) or first)),
            f".SH VERBS\n{verbs}" if verbs else "",
            _options(parser),
            *_end(parser, _FILES, ["crpc(1)"]),
        ]
    )


def _verb(name: str, parser: Parser) -> str:
    """Return the subsection of a verb: its usage, description and own options, without the common ones."""
    groups = [list(_items(parser, group)) for group in _groups(parser) if group.title != _COMMON]
    lines = [f".PP\n{_text(_usage(parser))}", *_paragraphs(parser.description or ""), *(i for g in groups for i in g)]
    return "".join([f".SS {_text(name)}\n", *(f"{line}\n" for line in lines)]) + _examples(parser, ".PP\nExamples:\n")


def _daemon(parser: argparse.ArgumentParser) -> str:
    description = parser.description or ""
    items = [item for group in parser._action_groups for item in _items(parser, group)]  # noqa: SLF001
    parts = [
        _head("collectived", 8, "run the actions that callers request on this node", ["collectived [options]"]),
        _section("DESCRIPTION", _paragraphs(description)),
        _section("OPTIONS", items),
        _section("FILES", [_item(_bold(path), about) for path, about in _NODE_FILES.items()]),
        _section("SEE ALSO", [".PP\n\\fBcrpc\\fR(1)"]),
    ]
    return "".join(parts)


def _head(name: str, section: int, summary: str, synopsis: Iterable[str]) -> str:
    date = time.strftime("%Y-%m-%d", time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH") or time.time())))
    title = f'.TH {_text(name.upper())} {section} {date} "collective {__version__}" "collective"\n'
    usages = "\n.br\n".join(map(_text, synopsis))
    return f"{title}.SH NAME\n{_text(name)} \\- {_text(summary)}\n.SH SYNOPSIS\n{usages}\n"


def _end(parser: Parser, files: Mapping[str, str], others: Iterable[str]) -> list[str]:
    """Return the sections that every page of a command has."""
    variables = {"COLLECTIVE_CONFIG": "The configuration file, or the folder that has it."}
    for dest, (variable, _) in parser._variables.items():  # noqa: SLF001
        option = next(name for name, one in parser.options.items() if one.dest == dest and name.startswith("--"))
        variables[variable] = f"The value of {option} when the option is not given."
    codes = [
        _item(_bold(str(code)), f"{meaning}.") for code, meaning in MEANINGS.items() if "collectived" not in meaning
    ]
    return [
        _examples(parser, ".SH EXAMPLES\n"),
        _section("EXIT STATUS", codes),
        _section("ENVIRONMENT", [_item(_bold(name), about) for name, about in sorted(variables.items())]),
        _section("FILES", [_item(_bold(path), about) for path, about in files.items()]),
        _section("SEE ALSO", [".PP\n" + ",\n".join(f"{_bold(one[:-3])}{one[-3:]}" for one in others)]),
    ]


def _examples(parser: Parser, heading: str) -> str:
    if not parser.examples:
        return ""
    return f"{heading}.PP\n.EX\n" + "".join(f"{_text(line)}\n" for line in parser.examples) + ".EE\n"


def _groups(parser: argparse.ArgumentParser) -> list[argparse._ArgumentGroup]:
    """Return the groups of options and words, the common options last."""
    return sorted(parser._action_groups, key=lambda group: group.title == _COMMON)  # noqa: SLF001


def _options(parser: Parser) -> str:
    parts = [".SH OPTIONS\n"]
    for group in _groups(parser):
        if items := list(_items(parser, group)):
            title = str(group.title or "options")
            parts += [f".SS {_text(title[:1].upper() + title[1:])}\n", *(f"{item}\n" for item in items)]
    return "".join(parts) if len(parts) > 1 else ""


def _items(parser: argparse.ArgumentParser, group: argparse._ArgumentGroup) -> Iterator[str]:
    formatter = parser._get_formatter()  # noqa: SLF001
    for action in group._group_actions:  # noqa: SLF001
        if action.help is not argparse.SUPPRESS and not isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            yield _item(_invocation(action), formatter._expand_help(action) if action.help else "")  # noqa: SLF001


def _invocation(action: argparse.Action) -> str:
    """Return `-F, --with-fact EXPR` with the names in bold and the value in italics."""
    value = str(action.metavar or ("|".join(map(str, action.choices)) if action.choices else action.dest.upper()))
    if not action.option_strings:
        return f"\\fI{_text(value)}\\fR"
    names = ", ".join(map(_bold, action.option_strings))
    return names if action.nargs == 0 else f"{names} \\fI{_text(value)}\\fR"


def _section(title: str, lines: Iterable[str]) -> str:
    return f".SH {_text(title)}\n" + "".join(f"{line}\n" for line in lines)


def _paragraphs(text: str) -> list[str]:
    return [f".PP\n{_text(' '.join(part.split()))}" for part in text.split("\n\n") if part]


def _item(term: str, text: str) -> str:
    return f".TP\n{term}\n{_text(' '.join(text.split())) or '.br'}"


def _bold(text: str) -> str:
    return f"\\fB{_text(text)}\\fR"


def _name(parser: Parser) -> str:
    return parser.prog.replace(" ", "-")


def _usage(parser: Parser) -> str:
    return parser.format_usage().removeprefix("usage: ").strip()


def _text(text: str) -> str:
    """Return text that roff prints as it is, in ASCII."""
    escaped = _ESCAPED.sub(lambda found: _ESCAPES.get(found[0]) or f"\\[u{ord(found[0]):04X}]", text)
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped
