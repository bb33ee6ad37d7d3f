"""`crpc ping`: who is there, and how long each took to answer."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from statistics import mean
from typing import TYPE_CHECKING

from collective.clients import options

if TYPE_CHECKING:
    from collective.fleet.call import Call


def run(arguments: Sequence[str]) -> int:
    """Ask every matching node for a sign of life; print a line for each, and the statistics."""
    parser = options.Parser("crpc ping", description="Ask nodes for a sign of life.")
    options.add_targets(parser)
    options.add_running(parser)
    given = parser.parse_args(arguments)
    config = options.client_config(given)
    targets = options.targets(given)

    from collective.fleet.fleet import Fleet

    with Fleet.connect(config) as fleet:
        began = time.monotonic()
        call = fleet.call(
            "rpcutil",
            "ping",
            filter=targets.filter,
            nodes=targets.nodes,
            method=targets.method,
            discovery_timeout=targets.timeout,
            timeout=given.timeout,
            ttl=given.ttl,
        )
        return _show(call, began)


def _show(call: Call, began: float) -> int:
    times = []
    for reply in call:
        times.append((time.monotonic() - began) * 1000)
        what = f"time={times[-1]:.2f} ms" if reply.ok else reply.statusmsg
        sys.stdout.write(f"{reply.sender:<40} {what}\n")
        sys.stdout.flush()
    sys.stdout.write("\n---- ping statistics ----\n")
    if times:
        figures = f"max: {max(times):.2f} ms  min: {min(times):.2f} ms  average: {mean(times):.2f} ms"
        sys.stdout.write(f"{len(times)} replies  {figures}\n")
    if call.outcomes.silent:
        from collective.nodesets import fold

        silent = call.outcomes.silent
        sys.stdout.write(f"No response from: {len(silent)} nodes: {fold(silent)}\n")
    return call.outcomes.exit_code()
