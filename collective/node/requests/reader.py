"""The first step of the line: read a message, believe it or drop it.

seal ─ shape ─ signature ─ collective ─ reply queue ─► Request, Stage
└──────────── any of them wrong: dropped, counted, and told in the log now and then
"""

from __future__ import annotations

import logging
import time

from collective import messages, names, signing
from collective.errors import MessageError
from collective.messages import Request
from collective.node.plugins.plugin_set import Plugins
from collective.node.requests.authorization import Stage
from collective.node.requests.counters import Counters
from collective.transport import Delivery

log = logging.getLogger(__name__)

_DROP_LOG_PERIOD = 60.0  # seconds between log lines about dropped messages


class RequestReader:
    """Reads what is sent to a node of one collective, by one thread."""

    def __init__(self, collective: str, verify: signing.VerifyPayload, counts: Counters) -> None:
        self._collective = collective
        self._verify = verify
        self._counts = counts
        self._next_drop_log = 0.0

    def read(self, delivery: Delivery, plugins: Plugins) -> tuple[Request, Stage]:
        """Return a request, which is to be judged by `plugins`; raise MessageError for what is none of ours."""
        envelope = messages.unseal(delivery.body)
        request = messages.decode_request(envelope.content)
        fingerprint = self._verify(envelope.payload, envelope.signature, request.caller, delivery.sent)
        if request.collective != self._collective:
            raise MessageError(f"request: it is for the collective '{request.collective}'")
        if not names.is_reply_queue(request.reply_to, self._collective):
            raise MessageError(f"request: '{request.reply_to}' is no reply queue of this collective")
        self._counts.add("validated")
        return request, Stage(envelope, plugins, skew=request.time - delivery.sent, fingerprint=fingerprint)

    def drop(self, error: MessageError) -> None:
        """Count what cannot be read."""
        so_far = self._counts.add("unvalidated")
        now = time.monotonic()
        if now >= self._next_drop_log:  # nobody shall fill a disk by sending rubbish
            self._next_drop_log = now + _DROP_LOG_PERIOD
            log.warning("request.dropped", extra={"error": str(error), "so_far": so_far})
