"""The options that check a rollout while it runs: gates between waves, and actions before and after each node's work.

add_options(parser)
gates(args, action) -> Gates
hooks(args, catalog) -> Hooks
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from collective.clients.options import seconds
from collective.errors import RPCError, UsageError
from collective.text import plural

if TYPE_CHECKING:
    from collective.catalog import Catalog
    from collective.clients.parser import Parser
    from collective.ddl import Action
    from collective.fleet.gates import Gates, GateView, RolloutGate
    from collective.fleet.steps import Hook, Hooks

ASK = "ask"


def add_options(parser: Parser) -> None:
    """Add the options of gates and hooks."""
    group = parser.add_argument_group("gate options")
    group.add_argument(
        "--gate",
        type=_gate,
        action="append",
        default=[],
        metavar="GATE",
        help="check between waves: ask, cmd:COMMAND, reply:EXPR, alarm:NAME or http:URL; repeated: all must be open",
    )
    group.add_argument("--gate-every", type=seconds, metavar="DURATION", help="check gates during a wave as well")
    group.add_argument(
        "--on-gate", choices=("stop", "pause"), help="what a closed gate does (default: stop); pause: until it is open"
    )
    group.add_argument(
        "--before", metavar="'A B'", help="action to run on each node first: 'service stop service=nginx'"
    )
    group.add_argument("--after", metavar="'A B'", help="action to run on each node after the action was OK")


def gates(args: argparse.Namespace, action: Action | None = None) -> Gates:
    """Return the gates that the options describe; raise UsageError for options that have no effect.

    With an `action`, a gate on members that its replies do not have is an error, too.
    """
    from collective.fleet.gates import STOP, Gates

    for option, value in (("--gate-every", args.gate_every), ("--on-gate", args.on_gate)):
        if value and not args.gate:
            raise UsageError(f"{option}: has no effect without gates (add --gate)")
    if args.gate and not (args.waves or args.batch or args.order_by or args.gate_every):
        raise UsageError("--gate: there is only one wave (add --waves, --batch or --gate-every)")
    if args.no_results and (args.gate or args.before or args.after):
        raise UsageError("--no-results: not allowed with --gate, --before or --after, which need the replies")
    if args.gate and action:
        _check_names(args.gate, action)
    return Gates(tuple(args.gate), args.gate_every, args.on_gate or STOP)


def _check_names(gates: Iterable[RolloutGate], action: Action) -> None:
    from collective.fleet.gates.reply import ReplyGate

    for gate in gates:
        if isinstance(gate, ReplyGate):
            gate.check_names(action)


def read_gates(gates: Iterable[str], every: float | None, action: str) -> Gates:
    """Return the gates of a saved plan."""
    from collective.fleet.gates import Gates

    return Gates(tuple(_gate(name) for name in gates), every, action)


def hooks(args: argparse.Namespace, catalog: Catalog) -> Hooks:
    """Return the actions to run before and after the action; raise UsageError, naming the option, for invalid ones."""
    from collective.fleet.steps import Hooks

    return Hooks(_hook("--before", args.before, catalog), _hook("--after", args.after, catalog))


def _hook(option: str, text: str | None, catalog: Catalog) -> Hook | None:
    if text is None:
        return None
    from collective.clients.inputs import read_inputs
    from collective.fleet.steps import Hook

    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UsageError(f"{option} '{text}': {str(error).lower()}") from None
    if len(words) < 2:
        raise UsageError(f"{option} '{text}': must be an agent, an action and its inputs")
    try:
        action = catalog.action(words[0], words[1])
        return Hook(action, action.check_input(read_inputs(words[2:], action)))
    except (RPCError, UsageError) as error:
        raise UsageError(f"{option}: {error}") from None


def _gate(text: str) -> RolloutGate:
    if text == ASK:
        return AskGate()
    from collective.fleet.gates import read_gate

    return read_gate("--gate", text)


class AskGate:
    """A gate that asks the person at the terminal between two waves; it stays closed without a terminal."""

    name = ASK
    unattended = False

    def check(self, view: GateView) -> str:
        """Return why the next wave is not confirmed."""
        from collective.clients.confirmation import ask_whether

        if not sys.stdin.isatty():
            return "standard input is not a terminal to ask on"
        found = view.document
        ended = f"{len(found['ok'])} OK, {len(found['failed'])} failed, {len(found['silent'])} silent"
        left = plural(len(found["waiting"]), "node")
        question = f"wave {found['wave']} of {found['waves']} has ended ({ended}); continue with the next of {left}?"
        return "" if ask_whether(question) else "not confirmed"
