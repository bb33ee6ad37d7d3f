"""A caller that sends one node many requests at once, and keeps every reply.

    requests = [caller.run(f"echo {number}") for number in range(50)]
    caller.send(requests)
    replies = caller.wait_for(requests, seconds=60)

moto scans all messages of a queue at each request, so that a thousand messages take a minute: a `Stock` lets a proxy
serve them instead.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import boto3
import pytest

from collective import messages, names
from collective.aws.session import AWS
from collective.filters import parse
from collective.messages import Reply, Request
from collective.signing import unsigned
from collective.transport.sqs import SQSTransport
from support.daemons import IDENTITY, aws_environment

SENDERS = 8  # threads


class Stock:
    """Messages (bodies) for one queue: a proxy answers receive and delete requests from them until they run out."""

    def __init__(self, queue: str, bodies: Sequence[str]) -> None:
        self._queue = queue
        self._bodies = list(bodies)
        self._lock = threading.Lock()

    def __call__(self, operation: str, request: bytes) -> bytes | None:
        """Answer as SQS does (SQS API reference: ReceiveMessage, DeleteMessageBatch); None: ask the server."""
        call = json.loads(request) if operation in ("ReceiveMessage", "DeleteMessageBatch") else {}
        if not call.get("QueueUrl", "").endswith(f"/{self._queue}"):
            return None
        if operation == "ReceiveMessage":
            return self._receive(call["MaxNumberOfMessages"])
        entries = call["Entries"]
        if not entries[0]["ReceiptHandle"].startswith("stock"):
            return None
        return json.dumps({"Successful": [{"Id": entry["Id"]} for entry in entries], "Failed": []}).encode()

    def _receive(self, most: int) -> bytes | None:
        with self._lock:
            batch, self._bodies = self._bodies[:most], self._bodies[most:]
        return json.dumps({"Messages": [_message(body) for body in batch]}).encode() if batch else None


def _message(body: str) -> dict[str, Any]:
    return {
        "MessageId": str(uuid.uuid4()),
        "ReceiptHandle": f"stock {uuid.uuid4()}",
        "MD5OfBody": hashlib.md5(body.encode(), usedforsecurity=False).hexdigest(),
        "Body": body,
        "Attributes": {"SentTimestamp": str(int(time.time() * 1000))},
    }


class LoadCaller:
    """Requests of one caller, and their replies by request id in order of arrival. Times are in seconds."""

    def __init__(self, collective: str, transport: SQSTransport) -> None:
        self.queue = names.node_queue(collective, IDENTITY)
        self._collective = collective
        self._transport = transport
        self._reply_to = names.reply_queue(collective, f"caller-{uuid.uuid4().hex[:8]}")
        self.replies: defaultdict[str, list[Reply]] = defaultdict(list)
        transport.open_replies(self._reply_to)

    def send(self, requests: Sequence[Request]) -> None:
        """Send requests concurrently."""
        with ThreadPoolExecutor(SENDERS) as pool:
            list(pool.map(lambda request: self._transport.send(self.queue, sealed(request)), requests))

    def run(self, command: str, timeout: float = 60.0) -> Request:
        """Return a request for a shell command, without sending it."""
        return self.request("shell", "run", {"command": command}, timeout)

    def request(self, agent: str, action: str, data: Mapping[str, Any], timeout: float = 60.0) -> Request:
        """Return a request, without sending it."""
        return Request(
            id=messages.new_id(),
            collective=self._collective,
            installation=self._transport.installation,
            caller="alice",
            sender="load",
            agent=agent,
            action=action,
            data=data,
            targets=(IDENTITY,),
            filter=parse().to_data(),
            time=time.time(),
            ttl=timeout,
            timeout=timeout,
            reply_to=self._reply_to,
        )

    def wait_for(self, requests: Sequence[Request], seconds: float) -> dict[str, Reply]:
        """Return the first reply to each request, by id; fail if one has none after `seconds`."""
        until = time.monotonic() + seconds
        while missing := [request for request in requests if not self.replies[request.id]]:
            assert time.monotonic() < until, f"{len(missing)} of {len(requests)} requests have no reply"
            self.receive(5.0)
        return {request.id: self.replies[request.id][0] for request in requests}

    def receive(self, wait: float) -> int:
        """Receive replies for up to `wait` seconds; return their number."""
        deliveries = self._transport.receive(self._reply_to, wait)
        for delivery in deliveries:
            reply = messages.decode_reply(messages.unseal(delivery.body).content)
            self.replies[reply.request].append(reply)
        if deliveries:
            self._transport.acknowledge(self._reply_to, deliveries)
        return len(deliveries)


def sealed(request: Request) -> str:
    """Return the unsigned message of a request."""
    return messages.seal(messages.encode(request), unsigned)


@contextmanager
def load_caller(collective: str, url: str) -> Iterator[LoadCaller]:
    """Return a caller that uses the server at `url`."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in aws_environment(url).items():
            patch.setenv(name, value)
        yield LoadCaller(collective, SQSTransport(AWS(boto3.Session()), connections=SENDERS))
