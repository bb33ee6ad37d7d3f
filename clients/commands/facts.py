"""`crpc facts FACT`: count the values of a fact over all matching nodes, most frequent first."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from collective.clients.commands import COMMANDS
from collective.clients.completed_by import completed_by
from collective.clients.local_facts import make_local_parser, run_local
from collective.clients.optional_verbs import OptionalVerbParser
from collective.clients.parser import Parser
from collective.clients.render.formatting import in_words, shallow
from collective.clients.render.records import matching, records
from collective.clients.render.view import Screen
from collective.clients.results import CallOutput, present
from collective.clients.single_call import open_call
from collective.clients.streams import notice, write
from collective.clients.view_options import add_call
from collective.fleet import registry_names
from collective.nodesets import fold
from collective.suggestions import suggest
from collective.text import escape_controls, plural


def make_parser() -> Parser:
    """Return the parser of `crpc facts`."""
    parser = OptionalVerbParser(
        "crpc facts",
        {"local": make_local_parser()},
        usage="crpc facts FACT [options]\n       crpc facts local [FACT] [options]",
        description=f"{COMMANDS['facts']}.\n\nPrints each value with the number of nodes that have it, the most "
        "frequent first. With -v also the names of these nodes.\n\nThe word local prints facts of this node from "
        "a file. A fact with that name is asked for by 'crpc rpcutil get_fact fact=local'.",
        examples=["crpc facts role", "crpc facts os.family -v -F environment=production", "crpc facts role -o csv"],
    )
    completed_by(
        "fact",
        parser.add_argument("fact", help='name of a fact; a dotted path reaches nested facts: os.family, a."b.c".d'),
    )
    add_call(parser)
    return parser


def run(arguments: Sequence[str]) -> int:
    """Ask every matching node for the fact and print the values; return the exit code of the call."""
    args = make_parser().parse_args(arguments)
    if args.verb:
        return run_local(args)
    with open_call(args, "get_fact", {"fact": args.fact}) as (call, fleet):
        shown = FactsOutput(call, args)
        code = present(shown, call, fleet)
        if not args.quiet and shown.is_unknown():
            known = registry_names.load(fleet.config.state, fleet.config.collective).facts
            hint = suggest(args.fact, known, "'crpc inventory NODE' shows the facts of a node")
            notice(f"no node has the fact '{args.fact}' ({hint})")
        return code


class FactsOutput(CallOutput):
    """The values of a fact, each with its nodes."""

    schema = "facts"

    def write_text(self, screen: Screen) -> None:
        """Write the values, and the nodes that failed or did not answer; with --fields, those of the replies."""
        if self.view.fields:
            super().write_text(screen)
            return
        values = [(_in_words(value), names) for value, names in self._values()]
        if self.view.sort:
            values.sort()
        width = max((len(value) for value, _ in values), default=0)
        lines = [] if self.args.quiet else [f"Values of {escape_controls(self.args.fact)}:", ""]
        for value, names in values:
            lines.append(f"   {value:>{width}} = {len(names)}")
            lines += [f"      {fold(names)}"] if self.args.verbose else []
        outcomes = self.call.outcomes
        for heading, nodes in (("Failed", outcomes.failed), ("No response from", outcomes.silent)):
            lines += ["", f"{heading}: {plural(len(nodes), 'node')}: {fold(nodes)}"] if nodes else []
        write("".join(f"{line}\n" for line in lines), screen.stream)

    def is_unknown(self) -> bool:
        """Return whether nodes answered, and none of them has the fact."""
        values = [value for value, _ in self._values()]
        return values == [None]

    def members(self) -> Mapping[str, Any]:
        """Return the fact and its values."""
        values = [{"value": value, "count": len(names), "nodes": names} for value, names in self._values()]
        return {"fact": self.args.fact, "values": values}

    def _values(self) -> Iterator[tuple[Any, list[str]]]:
        """Yield each value and the nodes that have it, the most frequent value first."""
        nodes: dict[str, list[str]] = defaultdict(list)
        values = {}
        for record in matching(records(self.call), self.view):
            if record.outcome == "ok":
                value = shallow(record.data.get("value"))
                key = json.dumps(value, sort_keys=True)  # 1 and true are equal in Python
                values[key] = value
                nodes[key].append(record.sender)
        ranked = sorted(nodes, key=lambda key: (-len(nodes[key]), _in_words(values[key])))
        return ((values[key], sorted(nodes[key])) for key in ranked)


def _in_words(value: Any) -> str:
    return "(none)" if value is None else escape_controls(in_words(value))
