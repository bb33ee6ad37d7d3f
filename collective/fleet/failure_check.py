"""Find out whether nodes without heartbeats have failed: ping them, and look whether they read their queues.

    ping ── reply ──────────────────────────────────────────► alive
      └─ 3 s ──► queue ── no queue ─────────────────────────► failed
                   ├───── empty: read, for example refused ─► alive
                   └───── unread ── 1 s ──► still unread ───► failed

A node whose queue cannot be looked into has no verdict.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from collective.fleet.fleet import Fleet
from collective.fleet.targets import Targets
from collective.membership.confirmation import Suspect, Verdict
from collective.membership.queue_look import acknowledging
from collective.transport import Transport

PING = 3.0  # seconds to wait for a reply


class FailureCheck:
    """Examines suspects with pings of `fleet`, and the queues of `transport`. `wait` waits some seconds."""

    def __init__(self, fleet: Fleet, transport: Transport, wait: Callable[[float], None] = time.sleep) -> None:
        self._fleet = fleet
        self._transport = transport
        self._wait = wait

    def examine(self, suspects: Sequence[Suspect]) -> list[Verdict]:
        """Return the verdicts about suspects; those that cannot be examined are omitted. Raises TransportError."""
        by_name = {one.identity: one for one in suspects}
        outcomes = self._fleet.call("rpcutil", "ping", targets=Targets(nodes=by_name), timeout=PING).wait()
        verdicts = [Verdict(by_name[name], failed=False, why="it answers") for name in outcomes.replies]
        silent = [name for name in by_name if name not in outcomes.replies]
        collective = self._fleet.config.collective
        for name, answer in acknowledging(self._transport, collective, silent, self._wait).items():
            if answer is not None:
                why = f"no heartbeat for {by_name[name].age:.0f} s, no reply, and its queue is not read"
                verdicts.append(Verdict(by_name[name], not answer, "it reads its queue" if answer else why))
        return verdicts
