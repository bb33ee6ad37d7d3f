"""`crpc nrpe check NAME`: run one check on many nodes and report it to Nagios as a single result.

    check_load: OK: 45 WARNING: 1 CRITICAL: 0 UNKNOWN: 0|total=46 ok=45 warn=1 crit=0 unknown=0 checktime=0.612054

A node that does not answer, or whose reply is not the result of a check, counts as UNKNOWN. Errors are UNKNOWN too, and
printed on standard output: see `clients/nagios.py`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from collective.clients import options, output
from collective.clients.apps import ExtraVerb
from collective.clients.missing_nodes import print_missing
from collective.clients.nagios import CRITICAL, OK, UNKNOWN, WARNING, one_line
from collective.clients.output import Output
from collective.clients.parser import Parser
from collective.clients.single_call import open_call
from collective.clients.streams import notice
from collective.nodesets import fold

if TYPE_CHECKING:
    from collective.fleet.outcomes import Outcomes
    from collective.messages import Reply

_NAMES = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
# The order of max_state_alt in lib/utils_base.c of the Monitoring Plugins.
_WORST_FIRST = (CRITICAL, WARNING, UNKNOWN, OK)


def make_parser() -> Parser:
    """Return the parser of `crpc nrpe check`."""
    parser = Parser(
        "crpc nrpe check",
        description="Run one check on many nodes, as a Nagios plugin.\n\n"
        "The exit code is the state of the worst node: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN. Any error is UNKNOWN.",
        examples=["crpc nrpe check check_load", "crpc nrpe check check_disk -F role=web -o json"],
    )
    parser.add_argument("check", metavar="NAME", help="name of a command in the NRPE configuration of the nodes")
    parser.add_argument("--args", metavar="'A!B'", help="values for $ARG1$, $ARG2$ … of the command")
    options.add_targets(parser)
    options.add_running(parser, saves=False)
    return parser


def check(arguments: Sequence[str]) -> int:
    """Run a check on all matching nodes, print one line, and return the worst state."""
    args = make_parser().parse_args(arguments)
    data = {"command": args.check, **({"args": args.args} if args.args else {})}
    with open_call(args, "runcommand", data, agent="nrpe") as (call, fleet):
        outcomes = call.wait()
        print_missing(call, fleet)
    states = count(outcomes)
    seconds = call.total_ms / 1000
    reasons = unknown(outcomes)
    counts = {name.lower(): states[state] for state, name in enumerate(_NAMES)}
    document = {
        "check": args.check,
        "state": _NAMES[worst(states)],
        "counts": counts,
        "unknown": [{"reason": reason, "nodes": sorted(nodes)} for reason, nodes in reasons.items()],
        "checktime": round(seconds, 6),
    }
    row = [args.check, document["state"], *counts.values()]
    columns = ("check", "state", *counts)
    text = f"{one_line(args.check)}: {line(states, seconds)}\n"
    output.show(args, Output("nrpe-check", document, columns, [row], lambda: text))
    for reason, nodes in reasons.items():
        notice(f"{fold(nodes)}: {reason}")
    return worst(states)


def unknown(outcomes: Outcomes) -> dict[str, list[str]]:
    """Return the names of the nodes that are UNKNOWN, grouped by reason."""
    found = defaultdict(list, {"no response": list(outcomes.silent)} if outcomes.silent else {})
    for node, reply in outcomes.replies.items():
        if _state(reply) == UNKNOWN:
            found[reply.data.get("output") or reply.statusmsg].append(node)
    return dict(found)


def count(outcomes: Outcomes) -> Counter[int]:
    """Return the number of nodes in each state."""
    states = Counter(_state(reply) for reply in outcomes.replies.values())
    states[UNKNOWN] += len(outcomes.silent)
    return states


def _state(reply: Reply) -> int:
    """Return the state that a reply reports; UNKNOWN if the check did not run."""
    state = reply.data.get("exitcode")
    return state if state in (OK, WARNING, CRITICAL) and reply.reason is None else UNKNOWN


def line(states: Counter[int], seconds: float) -> str:
    """Return the counts as text and as performance data; `seconds` is the duration of the call."""
    ok, warning, critical, unknown = (states[state] for state in (OK, WARNING, CRITICAL, UNKNOWN))
    return (
        f"OK: {ok} WARNING: {warning} CRITICAL: {critical} UNKNOWN: {unknown}"
        f"|total={states.total()} ok={ok} warn={warning} crit={critical} unknown={unknown} checktime={seconds:.6f}"
    )


def worst(states: Counter[int]) -> int:
    """Return the worst state that a node is in; UNKNOWN without nodes."""
    return next((state for state in _WORST_FIRST if states[state]), UNKNOWN)


VERBS = {"check": ExtraVerb("Run one check on many nodes, as a Nagios plugin", check, make_parser)}
