"""`crpc nrpe check NAME`: one check on many nodes as a single one, for Nagios: a line and its exit code.

    check_load: OK: 45 WARNING: 1 CRITICAL: 0 UNKNOWN: 0|total=46 ok=45 warn=1 crit=0 unknown=0 checktime=0.612054

A node that does not answer, or answers anything but a check's result, is UNKNOWN. So is what keeps us from asking at
all: Nagios reads standard output, and knows no other exit codes.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from collective.clients import options
from collective.clients.apps import ExtraVerb
from collective.clients.render.formatting import clean_line
from collective.clients.results import print_missing
from collective.clients.single_call import open_call
from collective.errors import CollectiveError
from collective.nodesets import fold

if TYPE_CHECKING:
    from collective.fleet.outcomes import Outcomes
    from collective.messages import Reply

OK, WARNING, CRITICAL, UNKNOWN = range(4)
# Monitoring Plugins, lib/utils_base.c: max_state_alt
_WORST_FIRST = (CRITICAL, WARNING, UNKNOWN, OK)


def check(arguments: Sequence[str]) -> int:
    """Ask every matching node for the check; print the line, and return the worst state."""
    parser = options.Parser("crpc nrpe check", description="Run one check on many nodes, as a plugin of Nagios.")
    parser.add_argument("check", metavar="NAME", help="the name of a check in the nodes' NRPE configuration")
    parser.add_argument("--args", metavar="'A!B'", help="values for its $ARG1$, $ARG2$ …")
    options.add_targets(parser)
    options.add_running(parser)
    try:
        return _check(parser.parse_args(arguments))
    except CollectiveError as error:
        name = next((word for word in arguments if not word.startswith("-")), "nrpe check")
        # A bar would begin performance data.
        sys.stdout.write(f"{clean_line(name)}: UNKNOWN: {clean_line(str(error)).replace('|', '¦')}\n")
        return UNKNOWN


def _check(given: argparse.Namespace) -> int:
    data = {"command": given.check, **({"args": given.args} if given.args else {})}
    with open_call(given, "runcommand", data, agent="nrpe") as (call, fleet):
        outcomes = call.wait()
        print_missing(call, fleet)
    states = count(outcomes)
    sys.stdout.write(f"{given.check}: {line(states, call.total_ms / 1000)}\n")
    for text, nodes in unknown(outcomes).items():
        sys.stderr.write(f"crpc: {fold(nodes)}: {clean_line(text)}\n")
    return worst(states)


def unknown(outcomes: Outcomes) -> dict[str, list[str]]:
    """Return the nodes that are UNKNOWN, by why."""
    found = defaultdict(list, {"no response": list(outcomes.silent)} if outcomes.silent else {})
    for node, reply in outcomes.replies.items():
        if _state(reply) == UNKNOWN:
            found[reply.data.get("output") or reply.statusmsg].append(node)
    return dict(found)


def count(outcomes: Outcomes) -> Counter[int]:
    """Return how many nodes are in each state."""
    states = Counter(_state(reply) for reply in outcomes.replies.values())
    states[UNKNOWN] += len(outcomes.silent)
    return states


def _state(reply: Reply) -> int:
    """Return what a reply says of its node: a check that was not run says nothing."""
    state = reply.data.get("exitcode")
    return state if state in (OK, WARNING, CRITICAL) and reply.reason is None else UNKNOWN


def line(states: Counter[int], seconds: float) -> str:
    """Return the counts in words, and as performance data."""
    ok, warning, critical, unknown = (states[state] for state in (OK, WARNING, CRITICAL, UNKNOWN))
    return (
        f"OK: {ok} WARNING: {warning} CRITICAL: {critical} UNKNOWN: {unknown}"
        f"|total={states.total()} ok={ok} warn={warning} crit={critical} unknown={unknown} checktime={seconds:.6f}"
    )


def worst(states: Counter[int]) -> int:
    """Return the state that matters most; without any node, UNKNOWN."""
    return next((state for state in _WORST_FIRST if states[state]), UNKNOWN)


VERBS = {"check": ExtraVerb("one check on many nodes as a single one, for Nagios", check)}
