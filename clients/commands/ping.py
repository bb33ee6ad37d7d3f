"""`crpc ping`: measure how fast nodes answer."""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from collective.clients.commands import COMMANDS
from collective.clients.parser import Parser
from collective.clients.render.ping_statistics import PERCENTILES, histogram, histogram_lines, slow, summary
from collective.clients.render.records import selected
from collective.clients.render.view import Screen
from collective.clients.results import CallOutput, present
from collective.clients.single_call import open_call
from collective.clients.streams import write
from collective.clients.view_options import add_call
from collective.nodesets import fold
from collective.text import escape_controls, plural, signed

if TYPE_CHECKING:
    from collective.clients.render.records import NodeResult
    from collective.fleet.call import Call
    from collective.messages import Reply

_CLOCK_OFF = 1.0  # seconds; smaller differences are reported with -v only
_SHOWN_CLOCKS = 5


def make_parser() -> Parser:
    """Return the parser of `crpc ping`."""
    parser = Parser(
        "crpc ping",
        description=f"{COMMANDS['ping']}.\n\nPrints the round-trip time of each node as its reply arrives, and a "
        "summary with percentiles. It names nodes whose clock differs from that of this machine by more than a second; "
        "with -v the clock of each node, and how far that of this machine differs from AWS.\n\n"
        "Slow nodes are those whose time is above the third quartile by more than 1.5 times the distance between the "
        "quartiles, and by more than a tenth.",
        examples=[
            "crpc ping",
            "crpc ping -F role=web --one",
            "crpc ping --slow --histogram",
            "crpc ping --nodes-from failed --nodes results.json",
        ],
    )
    parser.add_argument("--slow", action="store_true", help="name only the nodes that are much slower than the others")
    parser.add_argument("--histogram", action="store_true", help="also print how the times are distributed")
    add_call(parser)
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
            self._clocks[reply.sender] = pong - (self.call.started + now) / 2
        if self.args.output == "text" and not self._at_the_end:
            self._write(reply, sys.stdout)
            sys.stdout.flush()

    @property
    def _at_the_end(self) -> bool:
        """Whether no line is printed while replies arrive."""
        return bool(self.args.slow or self.view.selects or self.view.only or self.view.query)

    def write_text(self, screen: Screen) -> None:
        """Write the summary, after the replies if these have not been printed; with --fields, those of the replies."""
        if self.view.fields:
            super().write_text(screen)
            return
        if self._at_the_end or screen.stream is not sys.stdout:
            for record in selected(self.call, self.view):
                if record.answered and not self.args.slow:
                    self._write(self.call.outcomes.replies[record.sender], screen.stream)
        for name in slow(self._times) if self.args.slow else ():
            self._write(self.call.outcomes.replies[name], screen.stream)
        lines = [] if self.args.quiet else self._summary()
        if silent := self.call.outcomes.silent:
            lines.append(f"No response from: {plural(len(silent), 'node')}: {fold(silent)}")
        write("".join(f"{line}\n" for line in lines), screen.stream)

    def members(self) -> Mapping[str, Any]:
        """Return the measurements."""
        times = {name: round(value, 3) for name, value in self._times.items()}
        values = list(times.values())
        return {
            "round_trip_ms": times,
            "summary_ms": summary(values) if values else None,
            "histogram": [{"from_ms": one.start, "to_ms": one.end, "count": one.nodes} for one in histogram(values)],
            "slow": slow(times),
            "clock_difference_s": {name: round(value, 3) for name, value in self._clocks.items()},
        }

    def selected(self) -> list[NodeResult]:
        """Return the records of the nodes that the view selects, with --slow only slow nodes."""
        names = slow(self._times) if self.args.slow else ()
        return [record for record in super().selected() if not self.args.slow or record.sender in names]

    def rows(self) -> list[list[Any]]:
        """Return a row per node with its round-trip time and clock difference instead of the reply's data.

        With --fields, those of the replies.
        """
        if self.view.fields:
            return super().rows()
        measured = self.members()
        body = [
            [*row[:3], measured["round_trip_ms"].get(row[0]), measured["clock_difference_s"].get(row[0])]
            for row in super().rows()[1:]
            if not self.args.slow or row[0] in measured["slow"]
        ]
        return [["Node", "Status", "Message", "Round Trip (ms)", "Clock Difference (s)"], *body]

    def _write(self, reply: Reply, stream: TextIO) -> None:
        what = f"time={self._times[reply.sender]:.2f} ms" if reply.ok else reply.statusmsg
        if self.args.verbose and reply.sender in self._clocks:
            what += f"  clock={signed(self._clocks[reply.sender], 2)} s"
        write(f"{escape_controls(reply.sender):<40} {escape_controls(what)}\n", stream)

    def _summary(self) -> list[str]:
        lines, times = ["", "---- ping statistics ----"], list(self._times.values())
        if self.args.slow and times and not slow(self._times):
            lines.insert(0, "no node is much slower than the others")
        if times:
            figures = summary(times)
            shown = "  ".join(f"{name}: {figures[name]:.2f} ms" for name in ("max", "min", "average"))
            lines.append(f"{plural(len(times), 'reply', 'replies')}  {shown}")
            lines.append("  ".join(f"{percent} %: {figures[f'p{percent}']:.2f} ms" for percent in PERCENTILES))
        lines += self._clock_lines()
        if self.args.histogram:
            lines += ["", *histogram_lines(times)]
        if self.args.verbose:
            from collective.messages import MAX_SKEW

            skew = self._live.skew
            lines.append(f"clock of this machine: {signed(skew)} s relative to AWS (allowed: {MAX_SKEW:.0f} s)")
        return lines

    def _clock_lines(self) -> list[str]:
        """Return a line for the clocks that are certainly off: a difference is known to half of the round-trip time."""
        off = {
            name: difference
            for name, difference in self._clocks.items()
            if abs(difference) > _CLOCK_OFF + self._times[name] / 2000
        }
        if not off:
            return []
        some = sorted(off, key=lambda name: -abs(off[name]))[:_SHOWN_CLOCKS]
        more = f", and {plural(len(off) - len(some), 'more node')}" if len(off) > len(some) else ""
        clocks = ", ".join(f"{escape_controls(name)} {signed(off[name])} s" for name in some)
        return [f"clocks off by more than {_CLOCK_OFF:g} s: {clocks}{more}"]
