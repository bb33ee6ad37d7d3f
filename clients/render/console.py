"""The text form of a call, laid out as in MCollective: replies, summaries, and nodes without a reply.

    dev1.my.net                              Request Aborted       the sender fills 40 columns
       CRITICAL                                                    the status message, unless it is OK
              Exit Code: 2                                         data under the DDL's titles, in its order
                 Output: DISK CRITICAL

    Summary of Exit Code:                                          aggregates

             OK = 46
       CRITICAL = 1

    Finished processing 47 / 47 hosts in 766.11 ms

Everything that comes from nodes is escaped before it is written.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, TextIO

from collective.clients.render import CallView
from collective.clients.render.formatting import PLAIN, Paint, in_words, shallow
from collective.clients.streams import write
from collective.ddl import Action
from collective.errors import UsageError
from collective.fleet import aggregates
from collective.fleet.aggregates import AggregateResult
from collective.messages import Reply
from collective.names import check_identity
from collective.nodesets import fold
from collective.text import escape_controls, escape_lines, plural

_INDENT = "   "
_LABELS = {
    0: ("", "bold"),
    1: ("Request Aborted", "red"),
    2: ("Unknown Action", "yellow"),
    3: ("Missing Request Data", "yellow"),
    4: ("Invalid Request Data", "yellow"),
}
_UNKNOWN_LABEL = ("Unknown Request Status", "red")
# Replies whose `reason` says that not the action, but the node decided.
_REASON_LABELS = {
    "denied": ("Request Denied", "red"),
    "timeout": ("Timed Out", "red"),
    "crashed": ("Agent Crashed", "red"),
    "interrupted": ("Action Interrupted", "red"),
    "cancelled": ("Action Cancelled", "red"),
    "frozen": ("Node Frozen", "red"),
    "busy": ("Node Busy", "yellow"),
    "expired": ("Request Expired", "yellow"),
    "filtered": ("Request Filtered", "yellow"),
    "not_evaluated": ("Filter Not Evaluated", "yellow"),
}
_NUMERIC = {"sum": "Sum", "average": "Average", "min": "Minimum", "max": "Maximum"}
_NOTHING = "No aggregate summary could be computed"
_WIDEST_VALUE = 60  # columns in which the values of a summary are aligned; longer values exceed them


def wants(display: str, statuscode: int) -> bool:
    """Return whether to print a reply; `display` is the action's (ok, failed, always) or the option's `all`."""
    if display == "ok":
        return statuscode == 0
    if display == "failed":
        return statuscode > 0
    return True


def together(replies: Iterable[Reply]) -> list[Reply]:
    """Return one reply for each group of equal replies; its sender is the folded list of their senders."""
    groups: dict[str, list[Reply]] = {}
    for reply in replies:
        content = json.dumps([reply.statuscode, reply.statusmsg, reply.reason, shallow(reply.data)], sort_keys=True)
        groups.setdefault(content, []).append(reply)
    return [replace(equal[0], sender=_folded(reply.sender for reply in equal)) for equal in groups.values()]


def label(statuscode: int, paint: Paint = PLAIN, reason: str | None = None) -> str:
    """Return the label beside a node's name; empty for status code 0. A known `reason` has its own."""
    known = _REASON_LABELS.get(reason or "") if statuscode else None
    text, color = known or _LABELS.get(statuscode, _UNKNOWN_LABEL)
    return paint(color, text)


class Console:
    """Write the text form to `stream`. JSON values wider than `width` columns are spread over several lines."""

    def __init__(self, stream: TextIO, *, paint: Paint = PLAIN, width: int = 80) -> None:
        self._stream = stream
        self._paint = paint
        self._width = width

    def show_reply(self, reply: Reply, action: Action) -> None:
        """Write one reply: sender, label, status message and data."""
        lines = [f"{escape_controls(reply.sender):<40} {label(reply.statuscode, self._paint, reply.reason)}"]
        if reply.statusmsg != "OK":
            lines += [_INDENT + line for line in _lines(reply.statusmsg)]
        lines += _fields(action.masked(in_order(reply.data, action)), action, self._width)
        self._write([*lines, ""])

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
                self._write([heading, "", *self._counts(result.result, result.labels), ""])
            else:
                self._write([_numeric(result), ""])

    def show_finish(self, call: CallView) -> None:
        """Write the finishing line: the number of expected nodes that answered, and the duration."""
        answered, expected = _answered(call)
        color = "green" if answered == expected else "red"
        counts = f"{self._paint(color, str(answered))} / {self._paint(color, str(expected))}"
        self._write([f"Finished processing {counts} hosts in {call.total_ms:.2f} ms", ""])

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
            self._write(
                [self._paint("red", f"{heading}: {plural(len(names), 'node')}"), "", _INDENT + _folded(names), ""]
            )

    def _counts(self, counts: Mapping[str, int], labels: Mapping[str, str]) -> list[str]:
        if not counts:
            return [self._paint("yellow", f"     {_NOTHING}")]
        shown = [(escape_controls(labels.get(value, value)), count) for value, count in counts.items()]
        width = min(_WIDEST_VALUE, max(len(value) for value, _ in shown))
        return [f"{_INDENT}{value:>{width}} = {count}" for value, count in shown]

    def _write(self, lines: Iterable[str]) -> None:
        write("".join(f"{line}\n" for line in lines), self._stream)


def in_order(data: Mapping[str, Any], action: Action) -> dict[str, Any]:
    """Return the outputs in the order of the DDL, unknown outputs last."""
    known = [name for name in action.outputs if name in data]
    return {name: data[name] for name in [*known, *(name for name in data if name not in action.outputs)]}


def _folded(names: Iterable[str]) -> str:
    """Return names in folded form; invalid identities, which a forged reply may contain, follow unfolded."""
    valid, invalid = [], []
    for name in names:
        try:
            valid.append(check_identity(name))
        except UsageError:
            invalid.append(escape_controls(name))
    return ",".join([*([fold(valid)] if valid else []), *invalid])


def _answered(call: CallView) -> tuple[int, int]:
    expected = call.outcomes.expected
    return len(expected & call.outcomes.replies.keys()), len(expected)


def _numeric(result: AggregateResult) -> str:
    number = result.result
    fractional = isinstance(number, float) or (result.function == "average" and number is not None)
    shown = f"{number:.6f}" if fractional else str(_NOTHING if number is None else number)
    return f"{_NUMERIC[result.function]} of {escape_controls(result.title)}: {shown}"


def _fields(data: Mapping[str, Any], action: Action, width: int) -> list[str]:
    """Return the lines of titled values, aligned at the colons."""
    titles = {name: escape_controls(action.title(name)) for name in data}
    column = len(_INDENT) + max(map(len, titles.values()), default=0)
    return [
        line
        for name, value in data.items()
        for line in _field(f"{titles[name]:>{column}}:", _value_lines(value, width - column - 2))
    ]


def _field(head: str, lines: Sequence[str]) -> list[str]:
    """Return the lines of a value beside its title."""
    if not lines:
        return [head]
    rest = " " * (len(head) + 1)
    return [f"{head} {lines[0]}", *(f"{rest}{line}" if line else "" for line in lines[1:])]


def _value_lines(value: Any, room: int) -> list[str]:
    text = in_words(value)
    if not isinstance(value, str) and len(text) > room:
        text = in_words(value, indent=2)
    return _lines(text)


def _lines(text: str) -> list[str]:
    """Return the lines of a text from a node, without empty lines at the end."""
    text = escape_lines(text).rstrip("\n")
    return text.split("\n") if text else []
