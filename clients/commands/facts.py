"""`crpc facts FACT`: the values of one fact over all matching nodes, most frequent first."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence

from collective.clients import options
from collective.clients.render.formatting import clean_line, in_words
from collective.clients.single_call import asked, write_call
from collective.messages import Reply
from collective.nodesets import fold


def run(arguments: Sequence[str]) -> int:
    """Ask every matching node for the fact; print each value with the number, or the names, of its nodes."""
    parser = options.Parser(
        "crpc facts", description="Show the values of a fact, and how many nodes have each; -v: which."
    )
    parser.add_argument("fact", help="a dotted path reaches into nested facts")
    options.add_targets(parser)
    options.add_running(parser)
    given = parser.parse_args(arguments)
    with asked(given, "get_fact", {"fact": given.fact}) as call:
        if given.json:
            return write_call(call)
        call.wait()
    sys.stdout.write(f"Values of {clean_line(given.fact)}:\n\n")
    for value, names in _by_value(call.outcomes.replies.values()):
        sys.stdout.write(f"   {value} = {len(names)}\n")
        if given.verbose:
            sys.stdout.write(f"      {fold(names)}\n")
    for what, nodes in (("Failed", call.outcomes.failed), ("No response from", call.outcomes.silent)):
        if nodes:
            sys.stdout.write(f"\n{what}: {len(nodes)} nodes: {fold(nodes)}\n")
    return call.outcomes.exit_code()


def _by_value(replies: Iterable[Reply]) -> list[tuple[str, list[str]]]:
    """Return each value as text with the names of its nodes, most frequent first."""
    found: dict[str, list[str]] = defaultdict(list)
    for reply in replies:
        if reply.ok:
            value = reply.data.get("value")
            found["(none)" if value is None else clean_line(in_words(value))].append(reply.sender)
    width = max(map(len, found), default=0)
    ranked = sorted(found.items(), key=lambda entry: (-len(entry[1]), entry[0]))
    return [(f"{value:>{width}}", sorted(names)) for value, names in ranked]
