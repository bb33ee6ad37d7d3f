"""Find out whether nodes without heartbeats have failed: ping them, and look whether they read their queues.

    ping ── reply ──────────────────────────────────────────► alive
      └─ 3 s ──► queue ── no queue ─────────────────────────► failed
                   ├───── empty: read, for example refused ─► alive
                   └───── unread ── 1 s ──► still unread ───► failed

A node whose queue cannot be looked into has no verdict. The work runs in a thread of its own.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence

from collective import names
from collective.errors import CollectiveError, NotFound, TransportError
from collective.fleet.fleet import Fleet
from collective.fleet.targets import Targets
from collective.log_limiter import LogLimiter
from collective.membership.confirmation import Suspect, Verdict
from collective.parallel import in_parallel
from collective.transport import Transport

log = logging.getLogger(__name__)

PING = 3.0  # seconds to wait for a reply
SECOND_LOOK = 1.0  # seconds until an unread queue is looked into again


class FailureCheck:
    """Examines suspects with pings of `fleet`, and the queues of `transport`. `wait` waits some seconds."""

    def __init__(self, fleet: Fleet, transport: Transport, wait: Callable[[float], None] = time.sleep) -> None:
        self._fleet = fleet
        self._transport = transport
        self._wait = wait
        self._lock = threading.Lock()
        self._found: list[Verdict] = []
        self._thread: threading.Thread | None = None
        self._limiter = LogLimiter()

    def begin(self, suspects: Iterable[Suspect]) -> None:
        """Examine suspects in the background, unless others are being examined: these come later."""
        examined = list(suspects)
        if examined and not (self._thread and self._thread.is_alive()):
            self._thread = threading.Thread(target=self._examine, args=(examined,), name="failure check", daemon=True)
            self._thread.start()

    def results(self) -> list[Verdict]:
        """Return the verdicts since the last call."""
        with self._lock:
            found, self._found = self._found, []
        return found

    def join(self) -> None:
        """Wait until the suspects are examined."""
        if self._thread:
            self._thread.join()

    def _examine(self, suspects: Sequence[Suspect]) -> None:
        try:
            verdicts = self.examine(suspects)
        except CollectiveError as error:
            if self._limiter.allows():
                log.warning("membership.unconfirmed", extra={"error": f"suspected nodes cannot be pinged: {error}"})
            return
        with self._lock:
            self._found += verdicts

    def examine(self, suspects: Sequence[Suspect]) -> list[Verdict]:
        """Return the verdicts about suspects; those that cannot be examined are omitted. Raises TransportError."""
        by_name = {one.identity: one for one in suspects}
        outcomes = self._fleet.call("rpcutil", "ping", targets=Targets(nodes=by_name), timeout=PING).wait()
        verdicts = [Verdict(by_name[name], failed=False, why="it answers") for name in outcomes.replies]
        first = self._queues([name for name in by_name if name not in outcomes.replies])
        if any(first.values()):
            self._wait(SECOND_LOOK)
        second = self._queues([name for name, unread in first.items() if unread])
        for name, unread in {**first, **second}.items():
            if unread is not None:
                why = f"no heartbeat for {by_name[name].age:.0f} s, no reply, and its queue is not read"
                verdicts.append(Verdict(by_name[name], failed=unread, why=why if unread else "it reads its queue"))
        return verdicts

    def _queues(self, nodes: Sequence[str]) -> dict[str, bool | None]:
        """Return whether the queues of nodes have unread messages, or do not exist; None if that is unknown."""
        return dict(zip(nodes, in_parallel(self._unread, nodes), strict=True))

    def _unread(self, node: str) -> bool | None:
        try:
            return self._transport.unread(names.node_queue(self._fleet.config.collective, node)) > 0
        except NotFound:
            return True
        except TransportError:
            return None
