"""What is printed while a playbook runs, and the rows of its document: one for each step."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import RLock
from typing import TYPE_CHECKING, Any

from collective.clients.playbooks.definition import PlaybookStep
from collective.clients.results import CallOutput, present, show_results
from collective.clients.streams import notice, write
from collective.masking import hide
from collective.text import escape_controls

if TYPE_CHECKING:
    from collective.clients.playbooks.results import EndedStep
    from collective.clients.playbooks.scope import StepScope
    from collective.clients.render import CallView
    from collective.clients.render.view import Screen
    from collective.fleet.call import Call
    from collective.fleet.fleet import Fleet

OK, FAILED, OMITTED, RESCUED, CONTINUED, BEFORE = "ok", "failed", "omitted", "rescued", "continued", "before"
_NOT_RUN = {OMITTED: "omitted, its condition does not hold", BEFORE: "finished before"}
COLUMNS = ("step", "name", "kind", "outcome", "exit", "seconds", "run", "message")


@dataclass
class PlaybookProgress:
    """Prints the steps and the results of their calls; with a form other than text, only keeps the rows."""

    args: argparse.Namespace
    rows: list[dict[str, Any]] = field(default_factory=list)
    secrets: set[str] = field(default_factory=set)
    branches: int = 0
    muted: bool = False  # because standard output cannot be written
    _lock: RLock = field(default_factory=RLock)

    @property
    def is_text(self) -> bool:
        """Whether results are printed as text as they arrive."""
        return bool(self.args.output == "text") and not self.muted

    def begin(self, step: PlaybookStep, scope: StepScope) -> None:
        """Print the heading of a step."""
        call = f"{step.body['agent']} {step.body['action']}" if step.kind == "call" else step.name
        if self.is_text and not self.args.quiet:
            self._line(f"[{scope.key(step)}] {scope.title(step)}{f': {call}' if call != step.name else ''}")

    def end(self, step: PlaybookStep, scope: StepScope, ended: EndedStep, seconds: float) -> None:
        """Keep the row of a step; print a line if it is not simply OK."""
        failure, result, outcome = ended.failure, ended.result, ended.outcome
        key, title = scope.key(step), self.masked(scope.title(step))
        message = result.message
        if failure is not None:
            nested = failure.step is not step
            message = f"step {failure.key} '{failure.title}' failed" if nested else failure.message
        code = failure.code if failure else result.code
        message = self.masked(message)
        values = (key, title, step.kind, outcome, code, round(seconds, 3), result.run, message)
        with self._lock:
            self.rows.append(dict(zip(COLUMNS, values, strict=True)))
        if outcome in _NOT_RUN and self.is_text and not self.args.quiet:
            self._line(f"[{key}] {title}: {_NOT_RUN[outcome]}")
        if outcome == CONTINUED or (outcome == FAILED and self.branches):  # of others, the last line tells
            self.say(f"step {key} '{title}' failed: {message}")

    def _line(self, text: str) -> None:
        with self._lock:
            write(f"{escape_controls(self.masked(text))}\n")

    def say(self, text: str) -> None:
        """Print a line on standard error."""
        with self._lock:
            notice(self.masked(text))

    def text(self, text: str) -> None:
        """Print the output of a local command."""
        if self.is_text and text:
            with self._lock:
                write(self.masked(text if text.endswith("\n") else f"{text}\n"))

    def present(self, call: Call, args: argparse.Namespace, fleet: Fleet) -> int:
        """Receive the replies of a call and print them; return its exit code."""
        return present(self._shown(call, args), call, fleet)

    def show(self, call: CallView, args: argparse.Namespace) -> None:
        """Print a call that has ended."""
        show_results(self._shown(call, args))

    def masked(self, text: str) -> str:
        """Return a text without the secrets that are known so far."""
        return hide(text, self.secrets)

    @contextmanager
    def beside(self) -> Iterator[None]:
        """Print no progress bars during the block, because several calls run at once."""
        self.branches += 1
        try:
            yield
        finally:
            self.branches -= 1

    def _shown(self, call: CallView, args: argparse.Namespace) -> StepCallOutput:
        args.output, args.output_file = "text", None
        shown = StepCallOutput(call, args)
        shown.lock, shown.visible = self._lock, self.is_text
        shown.progress = not self.branches
        return shown


class StepCallOutput(CallOutput):
    """The results of a step's call, printed at once as text, or not at all."""

    pages = False
    lock = RLock()
    visible = True

    def write(self, form: str, screen: Screen) -> None:
        """Write the results while no other step does."""
        if self.visible:
            with self.lock:
                super().write(form, screen)
