"""`crpc ping`: measure how fast nodes answer."""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from collections.abc import Mapping, Sequence
from statistics import mean
from typing import TYPE_CHECKING, Any, TextIO

from collective.clients import options
from collective.clients.commands import COMMANDS
from collective.clients.parser import Parser
from collective.clients.render.records import selected
from collective.clients.render.view import Screen
from collective.clients.results import CallOutput, present
from collective.clients.single_call import open_call
from collective.clients.streams import write
from collective.nodesets import fold
from collective.text import escape_controls, plural

if TYPE_CHECKING:
    from collective.fleet.call import Call
    from collective.messages import Reply


def make_parser() -> Parser:
    """Return the parser of `crpc ping`."""
    parser = Parser(
        "crpc ping",
        description=f"{COMMANDS['ping']}.\n\nPrints the round-trip time of each node as its reply arrives, and a "
        "summary. With -v also how far the clocks of the nodes and of this machine differ.",
        examples=["crpc ping", "crpc ping -F role=web --one", "crpc ping --nodes-from failed --nodes results.json"],
    )
    options.add_call(parser)
    return parser


def run(arguments: Sequence[str]) -> int:
    """Ping the nodes and print their times; return the exit code of the call."""
    args = make_parser().parse_args(arguments)
    with open_call(args, "ping", {}) as (call, fleet):
        return present(PingOutput(call, args), call, fleet)


class PingOutput(CallOutput):
    """The round-trip time of each node in milliseconds, and the difference of its clock to ours in seconds."""

    schema = "ping"
    progress = False
    pages = False

    def __init__(self, call: Call, args: Namespace) -> None:
        super().__init__(call, args)
        self._live = call
        self._times: dict[str, float] = {}
        self._clocks: dict[str, float] = {}

    def on_reply(self, reply: Reply) -> None:
        """Measure a reply, and print it unless the lines are to be sorted."""
        now = time.time()
        self._times[reply.sender] = (now - self.call.started) * 1000
        pong = reply.data.get("pong")
        if isinstance(pong, (int, float)):
            self._clocks[reply.sender] = pong - now
        if self.args.output == "text" and not self._at_the_end:
            self._write(reply, sys.stdout)
            sys.stdout.flush()

    @property
    def _at_the_end(self) -> bool:
        """Whether no line is printed while replies arrive."""
        return bool(self.view.selects or self.view.only or self.view.query)

    def write_text(self, screen: Screen) -> None:
        """Write the summary, after the replies if these have not been printed."""
        if self._at_the_end or screen.stream is not sys.stdout:
            for record in selected(self.call, self.view):
                if record.answered:
                    self._write(self.call.outcomes.replies[record.sender], screen.stream)
        lines = [] if self.args.quiet else self._summary()
        if silent := self.call.outcomes.silent:
            lines.append(f"No response from: {plural(len(silent), 'node')}: {fold(silent)}")
        write("".join(f"{line}\n" for line in lines), screen.stream)

    def members(self) -> Mapping[str, Any]:
        """Return the measurements."""
        times = {name: round(value, 3) for name, value in self._times.items()}
        values = list(times.values()) or [0.0]
        summary = {"min": min(values), "max": max(values), "average": round(mean(values), 3)}
        return {
            "round_trip_ms": times,
            "summary_ms": summary if times else None,
            "clock_difference_s": {name: round(value, 3) for name, value in self._clocks.items()},
        }

    def rows(self) -> list[list[Any]]:
        """Return a row per node with its round-trip time and clock difference instead of the reply's data."""
        measured = self.members()
        body = [
            [*row[:3], measured["round_trip_ms"].get(row[0]), measured["clock_difference_s"].get(row[0])]
            for row in super().rows()[1:]
        ]
        return [["Node", "Status", "Message", "Round Trip (ms)", "Clock Difference (s)"], *body]

    def _write(self, reply: Reply, stream: TextIO) -> None:
        what = f"time={self._times[reply.sender]:.2f} ms" if reply.ok else reply.statusmsg
        if self.args.verbose and reply.sender in self._clocks:
            what += f"  clock={self._clocks[reply.sender]:+.1f} s"
        write(f"{escape_controls(reply.sender):<40} {escape_controls(what)}\n", stream)

    def _summary(self) -> list[str]:
        lines, times = ["", "---- ping statistics ----"], self._times.values()
        if times:
            figures = f"max: {max(times):.2f} ms  min: {min(times):.2f} ms  average: {mean(times):.2f} ms"
            lines.append(f"{plural(len(times), 'reply', 'replies')}  {figures}")
        if self.args.verbose:
            from collective.messages import MAX_SKEW

            skew = self._live.skew
            lines.append(f"clock of this machine: {skew:+.1f} s relative to AWS (allowed: {MAX_SKEW:.0f} s)")
        return lines
