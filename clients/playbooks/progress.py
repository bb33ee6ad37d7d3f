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
    from collective.clients.render import CallView
    from collective.clients.render.view import Screen
    from collective.fleet.call import Call
    from collective.fleet.fleet import Fleet

OK, FAILED, OMITTED, RESCUED, CONTINUED, BEFORE = "ok", "failed", "omitted", "rescued", "continued", "before"
COLUMNS = ("step", "name", "kind", "outcome", "exit", "seconds", "run", "message")


@dataclass
class PlaybookProgress:
    """Prints the steps and the results of their calls; with a form other than text, only keeps the rows."""

    args: argparse.Namespace
    rows: list[dict[str, Any]] = field(default_factory=list)
    secrets: set[str] = field(default_factory=set)
    branches: int = 0
    _lock: RLock = field(default_factory=RLock)

    @property
    def prints(self) -> bool:
        """Whether steps and results are printed as they happen."""
        return self.args.output == "text" and not self.args.quiet

    def begin(self, step: PlaybookStep, key: str, detail: str = "") -> None:
        """Print the heading of a step."""
        if self.prints:
            text = f"[{key}] {step.name}{f': {detail}' if detail else ''}"
            with self._lock:
                write(f"{escape_controls(self.masked(text))}\n")

    def end(
        self, step: PlaybookStep, key: str, outcome: str, seconds: float, code: int, message: str = "", run: str = ""
    ) -> None:
        """Keep the row of a step; print a line if it is not simply OK."""
        message = self.masked(message)
        values = (key, step.name, step.kind, outcome, code, round(seconds, 3), run, message)
        with self._lock:
            self.rows.append(dict(zip(COLUMNS, values, strict=True)))
        if self.prints and outcome in (OMITTED, BEFORE):
            words = {OMITTED: "omitted, its condition does not hold", BEFORE: "finished before"}
            with self._lock:
                write(f"[{key}] {escape_controls(step.name)}: {words[outcome]}\n")
        if outcome in (FAILED, RESCUED, CONTINUED):
            self.say(f"step {key} '{step.name}' {'failed' if outcome == FAILED else f'failed, {outcome}'}: {message}")

    def say(self, text: str) -> None:
        """Print a line on standard error."""
        with self._lock:
            notice(self.masked(text))

    def text(self, text: str) -> None:
        """Print the output of a local command."""
        if self.prints and text:
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
        shown.lock, shown.visible = self._lock, self.prints
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
