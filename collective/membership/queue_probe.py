"""Find out whether nodes without heartbeats have failed, without signing requests, as a node that watches others.

    WAKE to its queue ─┬─ the node sends a heartbeat ───────────────────► refutes a failure at the next read
                       └─ 2 s ──► queue ─┬─ no queue ───────────────────► failed
                                         ├─ empty: it was read ─────────► alive
                                         └─ not acknowledged ── 1 s ──┬─► still not: failed
                                                                      └─► alive

Where the permission to send or to look is missing, long silence decides. A node whose queue cannot be reached has no
verdict.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from collective import names
from collective.errors import Forbidden, NotFound, TransportError
from collective.log_limiter import LogLimiter
from collective.membership.confirmation import Suspect, Verdict, silent
from collective.membership.queue_look import acknowledging
from collective.parallel import in_parallel
from collective.transport import WAKE, Transport

log = logging.getLogger(__name__)

FIRST_LOOK = 2.0  # seconds until a queue is looked into


class QueueProbe:
    """Examines suspects of `collective` by messages to their queues. `wait` waits some seconds."""

    def __init__(self, transport: Transport, collective: str, wait: Callable[[float], None] = time.sleep) -> None:
        self._transport = transport
        self._collective = collective
        self._wait = wait
        self._limiter = LogLimiter()

    def examine(self, suspects: Sequence[Suspect]) -> list[Verdict]:
        """Return the verdicts about suspects; those without a clear result are omitted."""
        by_name = {one.identity: one for one in suspects}
        sent = dict(zip(by_name, in_parallel(self._send, list(by_name)), strict=True))
        forbidden = [by_name[name] for name, error in sent.items() if isinstance(error, Forbidden)]
        if forbidden:
            self._report(next(error for error in sent.values() if isinstance(error, Forbidden)))
        verdicts = [verdict for one in forbidden if (verdict := silent(one))]
        verdicts += [_failed(by_name[name], "its queue does not exist") for name, error in sent.items() if _gone(error)]
        return verdicts + self._looked([by_name[name] for name, error in sent.items() if error is None])

    def _looked(self, suspects: Sequence[Suspect]) -> list[Verdict]:
        if not suspects:
            return []
        self._wait(FIRST_LOOK)
        identities = [one.identity for one in suspects]
        answers = acknowledging(self._transport, self._collective, identities, self._wait)
        found = []
        for one in suspects:
            answer = answers[one.identity]
            if answer is not None:
                found.append(Verdict(one, False, "it reads its queue") if answer else _failed(one))
        return found

    def _send(self, node: str) -> TransportError | None:
        """Send a message to a node; return the error if that is impossible."""
        try:
            self._transport.send(names.node_queue(self._collective, node), WAKE)
        except TransportError as error:
            return error
        return None

    def _report(self, error: Forbidden) -> None:
        if self._limiter.allows():
            text = f"suspected nodes cannot be probed, so that a failure is noticed later: {error}"
            log.warning("membership.unconfirmed", extra={"error": text})


def _failed(suspect: Suspect, why: str = "its queue is not read") -> Verdict:
    return Verdict(suspect, True, f"no heartbeat for {suspect.age:.0f} s, and {why}")


def _gone(error: TransportError | None) -> bool:
    return isinstance(error, NotFound)
