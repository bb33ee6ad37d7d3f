"""Send one action's request to nodes, in one or more waves.

Every wave is a separate request. It has its own ID, because nodes treat a repeated ID as a duplicate; its own time,
because nodes reject requests that are much older than their delivery; and only its own nodes as targets, so that it
cannot be replayed to others. All waves of a call name the same run: the ID of the first wave, or the run that others
have approved. Replies are bound to the digest of the message that was sent.

Names that do not fit into one published message are divided: each part is a wave of its own that names some of the
nodes, reaches all of them, and is answered by those that it names. What is too large to be published, with or without
names, is sent to each node.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from collective import messages, names, signing
from collective.errors import MessageTooLarge, NoNodes, NotFound
from collective.fleet.send_choice import FEW, SendChoice
from collective.messages import Request, Sealed
from collective.parallel import in_parallel
from collective.transport import BROADCAST_LIMIT, SEND_LIMIT, Transport

NAMED = 50  # nodes that one message to single nodes names: each of them receives all names
SENDERS = 20  # threads that send; more would wait for the processor


@dataclass(frozen=True)
class Sender:
    """What all waves of a call share. `choice` decides which are published; `nodes` is the size of the collective.

    The ID of `request` is that of the first wave, and of the run unless `request` names an approved one.
    With `secret`, every wave is sent directly: nodes that are not its targets must not see the inputs.
    """

    transport: Transport
    request: Request
    sign: signing.SignPayload
    choice: SendChoice
    secret: bool = False
    nodes: int = 0

    def waves(self, nodes: Sequence[str], *, first: bool = False) -> list[Wave]:
        """Return the signed messages for `nodes`, not sent yet.

        Raises MessageError if the inputs cannot be encoded, MessageTooLarge if they do not fit into a message.
        """
        whole = Wave(self, nodes, self._new_request(tuple(nodes), first))
        if self._is_published(whole):
            if whole.fits:
                return [whole]
            if len(self._empty().body) <= BROADCAST_LIMIT // 2:
                return list(self._parts(whole))
        if len(whole.message.body) > SEND_LIMIT and (size := len(self._empty().body)) > SEND_LIMIT:
            raise MessageTooLarge(size, SEND_LIMIT)
        if len(nodes) <= NAMED:
            return [whole.directly()]
        parts = [nodes[start : start + NAMED] for start in range(0, len(nodes), NAMED)]
        return [self._part(part, first and not number).directly() for number, part in enumerate(parts)]

    def _parts(self, wave: Wave) -> Iterator[Wave]:
        """Yield waves of about the same size, into which the names of a wave fit."""
        if wave.fits:
            yield wave
            return
        count = max(2, -(-len(wave.message.body) * 21 // (BROADCAST_LIMIT * 20)))  # 5 % more: not all compress alike
        size = -(-len(wave.nodes) // count)
        first = wave.request.id == self.request.id
        for start in range(0, len(wave.nodes), size):
            yield from self._parts(self._part(wave.nodes[start : start + size], first and not start))

    def _part(self, nodes: Sequence[str], first: bool) -> Wave:
        return Wave(self, nodes, self._new_request(tuple(nodes), first))

    def _is_published(self, wave: Wave) -> bool:
        size = len(wave.message.body)
        return not self.secret and self.choice.publishes(len(wave.nodes), size, self.nodes)

    def _empty(self) -> Sealed:
        """Return the message without the names of nodes."""
        return self.seal(replace(self.request, targets=()))

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
        own = self.request.id
        run = self.request.run or own
        return replace(self.request, id=own if first else messages.new_id(), time=time.time(), targets=targets, run=run)


class Wave:
    """One message and its nodes. `reached` are the nodes that may have received it; `absent` have no queue."""

    def __init__(self, sender: Sender, nodes: Sequence[str], request: Request) -> None:
        self.request = request
        self.message = sender.seal(request)
        self.nodes = nodes
        self.reached: set[str] = set()
        self.absent: list[str] = []
        self.published = True
        self.sender = sender

    @property
    def fits(self) -> bool:
        """Whether the message can be published."""
        return len(self.message.body) <= BROADCAST_LIMIT

    def directly(self) -> Wave:
        """Return this wave, to be sent to each of its nodes."""
        self.published = False
        return self

    def publish(self) -> None:
        """Send to all nodes at once. `reached` is correct even if sending fails or is interrupted."""
        self.reached.update(self.nodes)
        self.sender.publish(self.message)

    def send_to(self, node: str) -> None:
        """Send to one node."""
        self.reached.add(node)
        try:
            self.sender.transport.send(names.node_queue(self.request.collective, node), self.message.body)
        except NotFound:
            self.absent.append(node)


def send(waves: Sequence[Wave]) -> None:
    """Send waves of one sender, messages to single nodes in parallel, and measure how long it takes."""
    began = time.monotonic()
    for wave in waves:
        if wave.published:
            wave.publish()
    published = sum(wave.published for wave in waves)
    middle = time.monotonic()
    single = [(wave, node) for wave in waves if not wave.published for node in wave.nodes]
    if single:
        threads = min(SENDERS, waves[0].sender.transport.connections)
        in_parallel(lambda one: one[0].send_to(one[1]), single, threads)
    for wave in waves:
        wave.absent.sort()
    if published or len(single) > FEW:
        message = (time.monotonic() - middle) / len(single) if len(single) > FEW else 0.0
        publish = (middle - began) / published if published else 0.0
        waves[0].sender.choice.measured(message=message, publish=publish, nodes=waves[0].sender.nodes)
