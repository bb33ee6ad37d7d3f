"""After Ctrl-C: stop the actions that still run, if the person at the terminal or an option says so."""

from __future__ import annotations

import argparse
from collections import Counter
from typing import TYPE_CHECKING

from collective.clients.confirmation import ask_whether
from collective.clients.streams import notice
from collective.errors import CollectiveError
from collective.text import plural

if TYPE_CHECKING:
    from collective.fleet.call import Call
    from collective.fleet.fleet import Fleet


def offer_cancel(call: Call, fleet: Fleet, args: argparse.Namespace) -> None:
    """Cancel the work of an interrupted call with `--cancel-on-interrupt`, or after a yes on a terminal."""
    nodes, _ = call.still_running()
    if not nodes:
        return
    wanted = getattr(args, "cancel_on_interrupt", False)
    if not wanted and not ask_whether(f"cancel the work on {plural(len(nodes), 'node')}?"):
        return
    from collective.fleet.targets import Targets

    run = call.request.run or call.request.id
    try:
        asked = fleet.call("control", "cancel", {"id": run}, targets=Targets(nodes=nodes))
        outcomes = asked.wait()
    except CollectiveError as error:
        notice(f"not cancelled: {error}")
        return
    became = Counter(str(reply.data.get("became")) for reply in outcomes.replies.values() if reply.ok)
    parts = [f"{state} on {plural(count, 'node')}" for state, count in sorted(became.items())]
    parts += [f"refused by {plural(len(outcomes.failed), 'node')}"] if outcomes.failed else []
    parts += [f"no response from {plural(len(outcomes.silent), 'node')}"] if outcomes.silent else []
    notice(f"cancel: {', '.join(parts)}")
