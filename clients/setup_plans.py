"""Show a plan of changes on AWS, ask for confirmation, and apply it.

    $ crpc setup
    production in the account 123456789012, eu-central-1:

      + topic production_requests
      = table production_nodes (there already)

    1 change; continue? [y/N] y
    1 change made

Without a terminal and without --yes, the plan is shown and nothing is changed (exit code 4).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from collective.clients import confirmation, output
from collective.clients.output import Output
from collective.clients.parser import Parser
from collective.clients.streams import notice, write
from collective.exit_codes import STOPPED
from collective.setup import CHANGE, KEEP, MAKE, REMOVE
from collective.text import escape_controls, plural

if TYPE_CHECKING:
    from collective.setup import Plan, Step

_COLUMNS = ("change", "kind", "name", "detail", "done")
_MARKS = {MAKE: "+", CHANGE: "~", KEEP: "=", REMOVE: "-"}


def add_options(parser: Parser) -> None:
    """Add the options that every command with a plan has."""
    mode = parser.add_argument_group("confirmation options").add_mutually_exclusive_group()
    mode.add_argument("--dry-run", action="store_true", help="show the changes without making them")
    mode.add_argument("--yes", action="store_true", help="make the changes without asking")


def confirm_and_apply(plan: Plan, args: argparse.Namespace, confirm: Callable[[], bool] | None = None) -> int:
    """Show a plan, apply it if confirmed, and return the exit code.

    `args` has the options of `add_options`. `confirm` asks for confirmation; the default asks a yes-or-no question.
    Output for programs (JSON, CSV, …) asks no question: it needs `--yes`. Raises TransportError if a step fails, after
    the report of the steps that were done before.
    """
    for_people = output.is_plain_text(args, _COLUMNS)
    report = _TextReport(plan) if for_people else _DocumentReport(plan, args)
    report.show_plan()
    if args.dry_run or not plan.changes:
        report.show_result(applied=False)
        return 0
    confirm = confirm or (lambda: confirmation.ask_whether(f"{_changes(plan)}; continue?"))
    if not args.yes and not (for_people and confirm()):
        report.show_result(applied=False)
        notice("not confirmed, nothing changed (use --yes to skip the question)")
        return STOPPED
    try:
        for step in plan.changes:
            report.record(step, step.do())
    finally:
        report.show_result(applied=True)
    return 0


class _TextReport:
    """Report a plan as text."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._done = 0

    def show_plan(self) -> None:
        """Print the steps, and the warnings on standard error."""
        write(_steps(self._plan))
        for warning in self._plan.warnings:
            notice(warning)
        sys.stdout.flush()

    def record(self, step: Step, skipped: str | None) -> None:
        """Count a step that was done; print one that was `skipped`, with the reason."""
        self._done += skipped is None
        if skipped:
            write(f"  = {step.kind} {escape_controls(f'{step.name} ({skipped})')}\n")

    def show_result(self, applied: bool) -> None:
        """Print the number of changes, and how many of them were made."""
        write(_result(self._plan, self._done, applied))


class _DocumentReport:
    """Report a plan as one document or table: the `steps` of the plan, each with `done`."""

    def __init__(self, plan: Plan, args: argparse.Namespace) -> None:
        self._plan = plan
        self._args = args
        self._done: set[int] = set()

    def show_plan(self) -> None:
        """Print nothing: the document is written once, at the end."""

    def record(self, step: Step, skipped: str | None) -> None:
        """Remember a step that was done."""
        if skipped is None:
            self._done.add(id(step))

    def show_result(self, applied: bool) -> None:
        """Print the document."""
        rows = [(step.change, step.kind, step.name, step.detail, id(step) in self._done) for step in self._plan.steps]
        document = {
            "collective": self._plan.collective,
            "account": self._plan.account.number,
            "region": self._plan.account.region,
            "steps": [dict(zip(_COLUMNS, row, strict=True)) for row in rows],
            "warnings": list(self._plan.warnings),
        }
        text = f"{_steps(self._plan)}{_result(self._plan, len(self._done), applied)}"
        output.show(self._args, Output("plan", document, _COLUMNS, rows, lambda: text))


def _steps(plan: Plan) -> str:
    """Return the steps of a plan below its heading."""
    lines = "".join(f"  {_line(step)}\n" for step in plan.steps)
    heading = f"{plan.collective} in the account {plan.account.number}, {plan.account.region}"
    return f"{heading}:\n\n{lines}\n" if lines else f"{heading}\n"


def _result(plan: Plan, done: int, applied: bool) -> str:
    """Return the line with the number of changes, and how many of them were made."""
    if not plan.changes:
        return "Nothing to do\n"
    part = f"{done} of " if applied and done != len(plan.changes) else ""
    return f"{part}{_changes(plan)} {'made' if applied else 'to make'}\n"


def _line(step: Step) -> str:
    detail = f" ({step.detail})" if step.detail else ""
    return escape_controls(f"{_MARKS[step.change]} {step.kind} {step.name}{detail}")


def _changes(plan: Plan) -> str:
    return plural(len(plan.changes), "change")
