"""The requests of one call that were sent, and whether a reply answers one of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from collective.fleet.sending import Wave
from collective.messages import Reply


@dataclass(frozen=True)
class SentRequest:
    """What a reply to one request must match. `nodes` are those it was sent to; none for a broadcast."""

    digest: str
    agent: str
    action: str
    nodes: frozenset[str]

    @classmethod
    def of(cls, wave: Wave) -> SentRequest:
        """Return what is kept of a wave: not its message, which may be large."""
        return cls(wave.message.digest, wave.request.agent, wave.request.action, frozenset(wave.nodes))

    def mismatch(self, reply: Reply) -> str | None:
        """Return why a reply does not answer this request; None if it does."""
        if reply.digest != self.digest:
            return f"it answers another request that has the same id (payload digest {reply.digest[:12]}…)"
        if (reply.agent, reply.action) != (self.agent, self.action):
            return f"it answers '{reply.agent} {reply.action}', the request was '{self.agent} {self.action}'"
        return None


class SentRequests:
    """The requests of one call by ID, in the order in which they were sent."""

    def __init__(self) -> None:
        self._sent: dict[str, SentRequest] = {}
        self._latest: dict[str, str] = {}  # by node, the ID of the last request that was sent to it

    @property
    def ids(self) -> list[str]:
        """The IDs of all requests so far."""
        return list(self._sent)

    def add(self, wave: Wave, nodes: Iterable[str] = ()) -> None:
        """Keep a request before it is sent to `nodes`."""
        self._sent[wave.request.id] = SentRequest.of(wave)
        self._latest.update(dict.fromkeys(nodes, wave.request.id))

    def find(self, request_id: str) -> SentRequest | None:
        """Return the request with this ID; None for one of another call."""
        return self._sent.get(request_id)

    def is_superseded(self, reply: Reply) -> bool:
        """Return whether a later request, such as a retry, was sent to the node that replied."""
        return self._latest.get(reply.sender, reply.request) != reply.request
