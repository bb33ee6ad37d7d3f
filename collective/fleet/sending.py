"""Send one action's request to nodes, in as many waves as a rollout takes.

Every wave is a request of its own: a fresh id, for a publish reaches everybody and nodes take a repeated id for a
duplicate; a fresh time, for nodes refuse what is minutes older than its sending; and only its own nodes as targets,
so that nobody can reach others with an earlier one.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from collective import messages, names, signing
from collective.errors import NoNodes, NotFound
from collective.messages import Request
from collective.parallel import in_parallel
from collective.transport import Transport


@dataclass(frozen=True)
class Sender:
    """What all waves of a call share. Up to `direct_limit` nodes are written to directly, more by one publish.

    `secret`: nodes are written to directly however many they are, for a publish would show all what is for some.
    """

    transport: Transport
    request: Request
    sign: signing.SignPayload
    direct_limit: int
    secret: bool = False

    def wave(self, nodes: Sequence[str]) -> Wave:
        """Return the message for `nodes`, not sent yet. Raise MessageError for what cannot be carried."""
        return Wave(self, nodes, self._fresh(tuple(nodes)))

    def ask_everybody(self) -> str:
        """Publish a request that names no targets, and return its id. Raise NoNodes when nobody ever listened."""
        request = self._fresh(None)
        try:
            self.publish(request)
        except NotFound:
            raise NoNodes(f"no node has ever joined the collective '{request.collective}'") from None
        return request.id

    def publish(self, request: Request) -> None:
        """Send to every node of the collective."""
        self.transport.broadcast(names.topic(request.collective), self.seal(request))

    def seal(self, request: Request) -> str:
        """Return the signed message of a request."""
        return messages.seal(messages.encode(request), self.sign)

    def _fresh(self, targets: tuple[str, ...] | None) -> Request:
        return replace(self.request, id=messages.new_id(), time=time.time(), targets=targets)


class Wave:
    """One message and its nodes. `reached` are those that it went to or may have; `absent` have no queue."""

    def __init__(self, sender: Sender, nodes: Sequence[str], request: Request) -> None:
        self.request = request
        self.nodes = nodes
        self.reached: set[str] = set()
        self.absent: list[str] = []
        self._sender = sender

    def send(self) -> None:
        """Send to all nodes. When that fails or is interrupted, `reached` is true all the same."""
        if len(self.nodes) > self._sender.direct_limit and not self._sender.secret:
            self.reached.update(self.nodes)
            self._sender.publish(self.request)
            return
        body = self._sender.seal(self.request)
        in_parallel(lambda node: self._send_to(node, body), self.nodes)
        self.absent.sort()

    def _send_to(self, node: str, body: str) -> None:
        self.reached.add(node)
        try:
            self._sender.transport.send(names.node_queue(self.request.collective, node), body)
        except NotFound:
            self.absent.append(node)
