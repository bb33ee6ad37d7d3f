"""Decide which received messages are replies of a call: verified, to a request that was sent, and not too late.

Anyone who can write to the reply queue can send anything. What is not a valid reply is dropped or rejected, and logged.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable

from collective import messages
from collective.errors import MessageError, SignatureError
from collective.fleet.outcomes import Outcomes
from collective.fleet.sent_requests import SentRequest, SentRequests
from collective.messages import Envelope, Reply
from collective.transport import Delivery

log = logging.getLogger(__name__)

_MAX_UNEXPECTED = 16 * 1024 * 1024  # bytes of all replies of nodes that are not expected, as JSON
_LEAST_REPLY = 200  # bytes that each of them counts at least
_MAX_LOGGED = 20  # rejected nodes that are logged, each once

# Checks that a reply was signed by the node that it names, given its envelope; raises SignatureError otherwise.
VerifyReply = Callable[[Reply, Envelope], None]


# Returns whether a node that was not asked is known, so that its reply counts.
IsMember = Callable[[str], bool]


def accept_unverified(_reply: Reply, _envelope: Envelope) -> None:
    """Accept every reply: for tests without keys."""


def accept_no_stranger(_sender: str) -> bool:
    """Accept no reply of a node that was not asked."""
    return False


class ReplyChecker:
    """Checks the replies of one call. With `broadcast`, any node may reply."""

    def __init__(self, sent: SentRequests, outcomes: Outcomes, verify: VerifyReply, is_member: IsMember) -> None:
        self.broadcast = False
        self._sent = sent
        self._outcomes = outcomes
        self._verify = verify
        self._is_member = is_member
        self._unexpected_bytes = 0

    def valid_reply(self, delivery: Delivery) -> Reply | None:
        """Return a delivery's reply when it is verified and of this call; else log why not, and return None."""
        try:
            envelope = messages.unseal(delivery.body)
            reply = messages.decode_reply(envelope.content)
        except MessageError as error:
            log.warning("reply.dropped", extra={"error": str(error)})
            return None
        sent = self._sent.find(reply.request)
        if sent is None:
            _log_late(reply)
            return None
        if not self._may_reply(reply, sent) or not self._is_genuine(reply, envelope, sent):
            return None
        if not reply.ok and self._sent.is_superseded(reply):
            _log_late(reply)
            return None  # a retry has been sent since, and decides
        return reply

    def _may_reply(self, reply: Reply, sent: SentRequest) -> bool:
        """Return whether a reply of this sender to this request counts; this is cheaper than its signature."""
        if reply.sender not in self._outcomes.expected:
            return self._may_be_unexpected(reply)
        if reply.sender not in sent.nodes:
            self._reject(reply, f"{reply.sender}: replied to a request that was not sent to it")
            return False
        return True

    def _may_be_unexpected(self, reply: Reply) -> bool:
        """Return whether a reply counts whose sender is not expected; replies of invented nodes must cost little."""
        if not self.broadcast and not self._is_member(reply.sender):
            self._reject(reply, f"{reply.sender}: replied without being asked, and is not in the registry")
            return False
        self._unexpected_bytes += max(_LEAST_REPLY, len(json.dumps(reply.data)))
        if self._unexpected_bytes > _MAX_UNEXPECTED:
            self._reject(reply, f"{reply.sender}: more than {_MAX_UNEXPECTED} bytes of replies that are not expected")
            return False
        return True

    def _is_genuine(self, reply: Reply, envelope: Envelope, sent: SentRequest) -> bool:
        """Return whether a reply is signed by its sender, and answers the message that was sent."""
        try:
            self._verify(reply, envelope)
        except SignatureError as error:
            self._reject(reply, str(error))
            return False
        if mismatch := sent.mismatch(reply):
            self._reject(reply, f"{reply.sender}: reply rejected: {mismatch}")
            return False
        return True

    def _reject(self, reply: Reply, error: str) -> None:
        """Record an invalid reply, and log it once per node; the genuine reply may still arrive."""
        rejected = self._outcomes.rejected
        if reply.sender not in rejected and len(rejected) < _MAX_LOGGED:
            log.warning("reply.rejected", extra={"error": error})
        self._outcomes.reject(reply.sender)


def _log_late(reply: Reply) -> None:
    log.debug("reply.late", extra={"request": reply.request, "sender": reply.sender})
