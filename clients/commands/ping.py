"""`crpc ping`: who is there, and how long each took to answer."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from statistics import mean
from typing import TYPE_CHECKING

from collective.clients import options
from collective.clients.render.formatting import clean_line
from collective.clients.single_call import asked, write_call

if TYPE_CHECKING:
    from collective.fleet.call import Call


def run(arguments: Sequence[str]) -> int:
    """Ask every matching node for a sign of life; print a line for each, and the statistics."""
    parser = options.Parser("crpc ping", description="Ask nodes for a sign of life; with -v, what the clocks say, too.")
    options.add_targets(parser)
    options.add_running(parser)
    given = parser.parse_args(arguments)
    with asked(given, "ping", {}) as call:
        return write_call(call) if given.json else _show(call, clocks=given.verbose)


def _show(call: Call, clocks: bool) -> int:
    times = []
    for reply in call:
        times.append((time.time() - call.started) * 1000)
        what = f"time={times[-1]:.2f} ms" if reply.ok else reply.statusmsg
        pong = reply.data.get("pong")
        if clocks and isinstance(pong, (int, float)):
            what += f"  clock={pong - time.time():+.1f} s"
        sys.stdout.write(f"{clean_line(reply.sender):<40} {clean_line(what)}\n")
        sys.stdout.flush()
    sys.stdout.write("\n---- ping statistics ----\n")
    if times:
        figures = f"max: {max(times):.2f} ms  min: {min(times):.2f} ms  average: {mean(times):.2f} ms"
        sys.stdout.write(f"{len(times)} repl{'y' if len(times) == 1 else 'ies'}  {figures}\n")
    if clocks:
        from collective.messages import MAX_SKEW

        sys.stdout.write(f"this machine's clock is {call.skew:+.1f} s off the servers': {MAX_SKEW:.0f} s are allowed\n")
    if call.outcomes.silent:
        from collective.nodesets import fold

        silent = call.outcomes.silent
        sys.stdout.write(f"No response from: {len(silent)} node{'' if len(silent) == 1 else 's'}: {fold(silent)}\n")
    return call.outcomes.exit_code()
