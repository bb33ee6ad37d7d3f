"""Send one action's request to nodes, in one or more waves.

Every wave is a separate request. It has its own ID, because nodes treat a repeated ID as a duplicate; its own time,
because nodes reject requests that are much older than their delivery; and only its own nodes as targets, so that it
cannot be replayed to others. All waves of a call name the same run, the ID of the first wave. Replies are bound to the
digest of the message that was sent.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from collective import messages, names, signing
from collective.errors import NoNodes, NotFound
from collective.messages import Request, Sealed
from collective.parallel import in_parallel
from collective.transport import BROADCAST_LIMIT, Transport

_LONGEST_NAME = 258  # bytes of an identity in JSON


@dataclass(frozen=True)
class Sender:
    """What all waves of a call share. A wave of up to `direct_limit` nodes is sent directly, a larger one published.

    The ID of `request` is that of the run, and of the first wave.
    With `secret`, every wave is sent directly: nodes that are not its targets must not see the inputs.
    """

    transport: Transport
    request: Request
    sign: signing.SignPayload
    direct_limit: int
    secret: bool = False

    def wave(self, nodes: Sequence[str], *, first: bool = False) -> Wave:
        """Return the signed message for `nodes`, not sent yet. Raises MessageError if the inputs cannot be encoded."""
        return Wave(self, nodes, self._new_request(tuple(nodes), first))

    def broadcast(self) -> Wave:
        """Publish a request to all nodes, and return it. Raises NoNodes when the topic does not exist."""
        wave = Wave(self, (), self._new_request(None, first=True))
        try:
            self.publish(wave.message)
        except NotFound:
            raise NoNodes(f"no node has ever joined the collective '{self.request.collective}'") from None
        return wave

    def publish(self, message: Sealed) -> None:
        """Send a message to the queue of every node of the collective."""
        self.transport.broadcast(names.topic(self.request.collective), message.body)

    def seal(self, request: Request) -> Sealed:
        """Return the signed message of a request."""
        return messages.sealed(messages.encode(request), self.sign)

    def _new_request(self, targets: tuple[str, ...] | None, first: bool) -> Request:
        run = self.request.id
        return replace(self.request, id=run if first else messages.new_id(), time=time.time(), targets=targets, run=run)


class Wave:
    """One message and its nodes. `reached` are the nodes that may have received it; `absent` have no queue."""

    def __init__(self, sender: Sender, nodes: Sequence[str], request: Request) -> None:
        self.request = request
        self.message = sender.seal(request)
        self.nodes = nodes
        self.reached: set[str] = set()
        self.absent: list[str] = []
        self._sender = sender

    def fits(self) -> bool:
        """Return whether the names of the nodes fit into one message; inputs that do not fit are not the reason."""
        if not self._is_published or len(self.nodes) * _LONGEST_NAME < BROADCAST_LIMIT // 2:
            return True
        if len(self._sender.seal(self.request).body) <= BROADCAST_LIMIT:
            return True
        unnamed = self._sender.seal(replace(self.request, targets=()))
        return len(unnamed.body) > BROADCAST_LIMIT // 2

    @property
    def _is_published(self) -> bool:
        return len(self.nodes) > self._sender.direct_limit and not self._sender.secret

    def send(self) -> None:
        """Send to all nodes. `reached` is correct even if sending fails or is interrupted."""
        if self._is_published:
            self.reached.update(self.nodes)
            self._sender.publish(self.message)
            return
        in_parallel(self._send_to, self.nodes)
        self.absent.sort()

    def _send_to(self, node: str) -> None:
        self.reached.add(node)
        try:
            self._sender.transport.send(names.node_queue(self.request.collective, node), self.message.body)
        except NotFound:
            self.absent.append(node)
