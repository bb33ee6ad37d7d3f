"""`crpc facts local`: print the facts of this node from the file that its daemon keeps."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from collective.clients import node_files, output
from collective.clients.completed_by import completed_by
from collective.clients.output import Output
from collective.clients.parser import Parser
from collective.clients.render.formatting import in_words
from collective.clients.streams import notice
from collective.exit_codes import NO_NODES, OK
from collective.text import escape_controls

_COLUMNS = ("fact", "value")


def make_local_parser() -> Parser:
    """Return the parser of `crpc facts local`."""
    parser = Parser(
        "crpc facts local",
        description="Print the facts of this node, or the value of one.\n\nThey are read from the file that "
        "collectived keeps in the folder local_files of node.yaml (or --config FILE): no server is asked. Users "
        "other than the daemon's need 'local_facts_readable: true'. The exit code is 1 if the node has no such fact.",
        examples=["crpc facts local", "crpc facts local os.family"],
    )
    completed_by("fact", parser.add_argument("fact", nargs="?", help="name of a fact, or a dotted path: os.family"))
    return parser


def run_local(args: argparse.Namespace) -> int:
    """Print the facts; return 0, or 1 if the fact is missing."""
    from collective import local_facts
    from collective.filters.paths import look_up

    found = local_facts.read(node_files.node(args.config).local_files)
    if found.is_old:
        notice(f"these facts were confirmed {found.age / 60:.0f} minutes ago: collectived does not run")
    if args.fact is None:
        _show(args, found.identity, dict(found.facts), _text)
        return OK
    value = look_up(found.facts, args.fact)
    if value is None:
        notice(f"this node has no fact '{args.fact}' ('crpc facts local' lists them)")
        return NO_NODES
    _show(args, found.identity, {args.fact: value}, _value)
    return OK


def _show(args: argparse.Namespace, identity: str, facts: Mapping[str, Any], text: Any) -> None:
    rows = [[name, facts[name]] for name in sorted(facts)]
    document = {"identity": identity, "facts": facts}
    output.show(args, Output("facts-local", document, _COLUMNS, rows, lambda: text(facts)))


def _text(facts: Mapping[str, Any]) -> str:
    width = max(map(len, facts), default=0)
    return "".join(f"{escape_controls(name):>{width}} = {_in_words(facts[name])}\n" for name in sorted(facts))


def _value(facts: Mapping[str, Any]) -> str:
    return "".join(f"{_in_words(value)}\n" for value in facts.values())


def _in_words(value: Any) -> str:
    return escape_controls(in_words(value))
