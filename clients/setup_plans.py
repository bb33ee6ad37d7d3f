"""Show a plan for what there is on AWS, ask whether it is meant, and carry it out.

    $ crpc setup
    production in the account 123456789012, eu-central-1:

      + topic production_requests
      = table production_nodes (there already)

    1 change; go on? [y/N] y
    1 change made

Nobody to ask, and no --yes: the plan is shown, and nothing done (exit 4).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from collective.clients import confirmation
from collective.clients.options import Parser
from collective.clients.render.formatting import clean_line
from collective.exit_codes import STOPPED
from collective.setup import CHANGE, KEEP, MAKE, REMOVE

if TYPE_CHECKING:
    from collective.setup import Plan, Step

_SIGNS = {MAKE: "+", CHANGE: "~", KEEP: "=", REMOVE: "-"}


def add_options(parser: Parser) -> None:
    """Add the options that a command with a plan has."""
    group = parser.add_argument_group("carrying it out")
    how = group.add_mutually_exclusive_group()
    how.add_argument("--dry-run", action="store_true", help="only show what would change")
    how.add_argument("--yes", action="store_true", help="do not ask")
    group.add_argument("-j", "--json", action="store_true", help="one document, which says what was done; asks nobody")


def settle(plan: Plan, given: argparse.Namespace, agrees: Callable[[], bool] | None = None) -> int:
    """Show a plan, carry it out when whoever is asked agrees, and return the exit code. Raise TransportError.

    `agrees` asks in another way than by yes or no.
    """
    shown = _Document(plan) if given.json else _Lines(plan)
    shown.plan()
    if given.dry_run or not plan.changes:
        shown.end(tried=False)
        return 0
    agrees = agrees or (lambda: confirmation.ask_whether(f"{_count(len(plan.changes))}; go on?"))
    if not given.yes and (given.json or not agrees()):
        shown.end(tried=False)
        sys.stderr.write("crpc: nothing was changed: not confirmed: '--yes' says that it is meant\n")
        return STOPPED
    try:
        for step in plan.changes:
            shown.done(step, step.do())
    finally:
        shown.end(tried=True)
    return 0


class _Lines:
    """For people."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._made = 0

    def plan(self) -> None:
        """Show the steps."""
        account = self._plan.account
        lines = "".join(f"  {_line(step)}\n" for step in self._plan.steps)
        where = f"{self._plan.collective} in the account {account.number}, {account.region}"
        sys.stdout.write(f"{where}:\n\n{lines}\n" if lines else f"{where}\n")
        for warning in self._plan.warnings:
            sys.stderr.write(f"crpc: {clean_line(warning)}\n")
        sys.stdout.flush()

    def done(self, step: Step, note: str | None) -> None:
        """Count what was done, and say what was not."""
        self._made += note is None
        if note:
            sys.stdout.write(f"  = {step.kind} {clean_line(step.name)} ({note})\n")

    def end(self, tried: bool) -> None:
        """Say how much there was to do, and how much of it was done."""
        count = len(self._plan.changes)
        text = "Nothing to do"
        if count:
            some = f"{self._made} of " if tried and self._made != count else ""
            text = f"{some}{_count(count)} {'made' if tried else 'to make'}"
        sys.stdout.write(text + "\n")


class _Document:
    """For programs: `steps` as they are in the plan, each with `done`."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._done: set[int] = set()

    def plan(self) -> None:
        """Show nothing yet: a document is whole."""

    def done(self, step: Step, note: str | None) -> None:
        """Keep what was done."""
        if note is None:
            self._done.add(id(step))

    def end(self, tried: bool) -> None:  # noqa: ARG002 - as for people
        """Write it."""
        account = self._plan.account
        document = {
            "collective": self._plan.collective,
            "account": account.number,
            "region": account.region,
            "steps": [self._described(step) for step in self._plan.steps],
            "warnings": list(self._plan.warnings),
        }
        sys.stdout.write(json.dumps(document, indent=2) + "\n")

    def _described(self, step: Step) -> dict[str, object]:
        return {
            "change": step.change,
            "kind": step.kind,
            "name": step.name,
            "detail": step.detail,
            "done": id(step) in self._done,
        }


def _line(step: Step) -> str:
    detail = f" ({step.detail})" if step.detail else ""
    return clean_line(f"{_SIGNS[step.change]} {step.kind} {step.name}{detail}")


def _count(number: int) -> str:
    return f"{number} change{'' if number == 1 else 's'}"
