"""The text form of a call, laid out as in MCollective: replies, summaries, and nodes without a reply.

    dev1.my.net                              Request Aborted       replies: see replies.py
       CRITICAL

    Summary of Exit Code:                                          aggregates

             OK = 46
       CRITICAL = 1

    Finished processing 47 / 47 hosts in 766.11 ms, 1 failed

Everything that comes from nodes is escaped before it is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import islice

from collective.clients.render import CallView
from collective.clients.render.records import selected
from collective.clients.render.replies import MAX_NAME_LINES, ReplyWriter, displayed
from collective.clients.render.view import Screen, View
from collective.clients.render.width import cut, pad, width, wrap_names
from collective.clients.streams import write
from collective.fleet import aggregates
from collective.fleet.aggregates import AggregateResult
from collective.nodesets import fold_any
from collective.text import escape_controls, plural

DEFAULT = View()
_INDENT = "   "
_NUMERIC = {"sum": "Sum", "average": "Average", "min": "Minimum", "max": "Maximum"}
_NOTHING = "No aggregate summary could be computed"
MAX_VALUES = 20  # of a summary, on a terminal without -v
_BESIDE = 14  # columns beside a value of a summary: the indent and its count
_WIDEST_VALUE = 60  # columns in which the values of a summary are aligned; longer values exceed them


class Console:
    """Writes the text form of a call to a screen."""

    def __init__(self, screen: Screen, view: View = DEFAULT) -> None:
        self._screen = screen
        self._view = view
        self._paint = screen.paint

    def show(self, call: CallView) -> None:
        """Write the replies that are displayed and what follows them; with `-q` only the nodes without a reply."""
        display = self._view.display or ("all" if call.dry_run else None)  # each reply says what would change
        shown = displayed(selected(call, self._view), replace(self._view, display=display), call.action)
        ReplyWriter(self._screen, self._view, call.action).show(shown)
        if self._view.quiet:
            self.show_missing(call)  # a node without a reply is a result, too
        else:
            self.show_end(call, verbose=self._view.verbose)

    def show_end(self, call: CallView, *, verbose: bool = False) -> None:
        """Write what follows the replies: summaries, counts (with `verbose` all statistics), and missing nodes."""
        results = aggregates.compute(call.action, call.outcomes.replies.values())
        if results:
            self.show_aggregates(results)
        else:
            self._write([""])
        if verbose:
            self.show_stats(call)
        else:
            self.show_finish(call)
        self.show_missing(call)

    def show_missing(self, call: CallView) -> None:
        """Write the names of silent, skipped, unexpected and rejected nodes."""
        self.show_silent(call.outcomes.silent, call.cut_short)
        self.show_skipped(sorted(call.outcomes.skipped))
        self.show_unexpected(call.outcomes.unexpected)
        self.show_rejected(sorted(call.outcomes.rejected))

    def show_aggregates(self, results: Iterable[AggregateResult]) -> None:
        """Write the aggregates: counts of values, most frequent first, or one number."""
        for result in results:
            if isinstance(result.result, Mapping):
                heading = self._paint("bold", f"Summary of {escape_controls(result.title)}:")
                lines = [heading, "", *self._counts(result.result, result.labels)]
            else:
                lines = [_numeric(result)]
            self._write([*lines, *([f"   ({result.note})"] if result.note else []), ""])

    def show_finish(self, call: CallView) -> None:
        """Write the finishing line: the expected nodes that answered, the duration, and how many failed."""
        answered, expected = _answered(call)
        color = "green" if answered == expected else "red"
        counts = f"{self._paint(color, str(answered))} / {self._paint(color, str(expected))}"
        failed = len(call.outcomes.failed)
        also = f", {self._paint('red', f'{failed} failed')}" if failed else ""
        duration = f"in {call.total_ms:.2f} ms"
        plain = f"Finished processing {answered} / {expected} hosts {duration}" + (
            f", {failed} failed" if failed else ""
        )
        fits = self._screen.columns is None or len(plain) <= self._screen.columns
        self._write([f"Finished processing {counts} hosts{' ' if fits else chr(10)}{duration}{also}", ""])

    def show_stats(self, call: CallView) -> None:
        """Write all statistics: nodes, passed and failed replies, and durations."""
        answered, expected = _answered(call)
        nodes = f"{expected} / {answered}"
        outcomes = call.outcomes
        started = datetime.fromtimestamp(call.started).astimezone()
        self._write(
            [
                self._paint("yellow", f"---- {call.agent} {call.action.name} call stats ----"),
                f"           Nodes: {nodes if answered == expected else self._paint('red', nodes)}",
                f"     Pass / Fail: {len(outcomes.ok)} / {len(outcomes.failed)}",
                f"      Start Time: {started:%Y-%m-%d %H:%M:%S %z}",
                f"  Discovery Time: {call.discovery_ms:.2f}ms",
                f"      Agent Time: {max(0.0, call.total_ms - call.discovery_ms):.2f}ms",
                f"      Total Time: {call.total_ms:.2f}ms",
                "",
            ]
        )

    def show_silent(self, names: Sequence[str], cut_short: bool = False) -> None:
        """Write the names of expected nodes that did not answer; `cut_short`: until the call was stopped."""
        self._names("No response yet from" if cut_short else "No response from", names)

    def show_skipped(self, names: Sequence[str]) -> None:
        """Write the names of nodes that the request was not sent to."""
        self._names("Not sent to", names)

    def show_unexpected(self, names: Sequence[str]) -> None:
        """Write the names of nodes that answered without being expected."""
        self._names("Unexpected response from", names)

    def show_rejected(self, names: Sequence[str]) -> None:
        """Write the senders of replies that could not be verified."""
        self._names("Rejected response from", names)

    def _names(self, heading: str, names: Sequence[str]) -> None:
        if names:
            columns = self._screen.columns
            folded = fold_any(names)
            lines = (
                [folded] if columns is None else wrap_names(folded, columns - len(_INDENT), self._most(MAX_NAME_LINES))
            )
            title = self._paint("red", f"{heading}: {plural(len(names), 'node')}")
            self._write([title, "", *(_INDENT + line for line in lines), ""])

    def _most(self, limit: int) -> int | None:
        """Return the limit where output is cut: on a terminal without -v."""
        return None if self._screen.columns is None or self._view.verbose else limit

    def _counts(self, counts: Mapping[str, int], labels: Mapping[str, str]) -> list[str]:
        if not counts:
            return [self._paint("yellow", f"     {_NOTHING}")]
        most = self._most(MAX_VALUES)
        shown = [(self._cut(labels.get(value, value)), count) for value, count in islice(counts.items(), most)]
        widest = min(_WIDEST_VALUE, max(width(value) for value, _ in shown))
        lines = [f"{_INDENT}{pad(value, widest, right=True)} = {count}" for value, count in shown]
        hidden = len(counts) - len(shown)
        return [*lines, f"{_INDENT}… {plural(hidden, 'more value')} (use -v)"] if hidden else lines

    def _cut(self, value: str) -> str:
        """Return a value of a summary on one line that fits the terminal."""
        columns = self._most(self._screen.columns or 0)
        if columns is None:
            return escape_controls(value)
        return cut(escape_controls(value[:columns]), max(1, columns - _BESIDE))

    def _write(self, lines: Iterable[str]) -> None:
        write("".join(f"{line}\n" for line in lines), self._screen.stream)


def _answered(call: CallView) -> tuple[int, int]:
    expected = call.outcomes.expected
    return len(expected & call.outcomes.replies.keys()), len(expected)


def _numeric(result: AggregateResult) -> str:
    number = result.result
    fractional = isinstance(number, float) or (result.function == "average" and number is not None)
    shown = f"{number:.6f}" if fractional else str(_NOTHING if number is None else number)
    return f"{_NUMERIC[result.function]} of {escape_controls(result.title)}: {shown}"
