"""One real daemon that trusts the keys of alice, who may do everything, and of bob, who may only ping."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import boto3
import pytest

from collective import messages, names
from collective.aws.session import AWS
from collective.config import load_client
from collective.filters import parse
from collective.fleet.fleet import Fleet
from collective.messages import Reply, Request
from collective.signing import key_files, keys, sshsig
from collective.signing.allowed_signers import signer_line
from collective.signing.keys import PrivateKey
from collective.transport import Delivery
from collective.transport.sqs import SQSTransport
from support.daemons import IDENTITY, aws_environment, configure, daemon

POLICY = {
    "rules": [
        {"name": "alice", "callers": ["alice"]},
        {"name": "ping", "callers": ["bob"], "agents": ["rpcutil"], "actions": ["ping"]},
    ]
}


@dataclass
class SignedNode:
    """The folder of the daemon, a transport and a fleet of alice's, and the keys of both callers."""

    folder: Path
    collective: str
    url: str
    transport: SQSTransport
    fleet: Fleet
    alice: PrivateKey
    bob: PrivateKey

    @property
    def queue(self) -> str:
        """The node's queue."""
        return names.node_queue(self.collective, IDENTITY)

    @property
    def replies_queue(self) -> str:
        """A reply queue of the test's own."""
        return names.reply_queue(self.collective, "test-0")

    def request(self, agent: str = "shell", action: str = "run", **changes: Any) -> Request:
        """Return a request by alice, with `changes`."""
        plain = Request(
            id=messages.new_id(),
            collective=self.collective,
            installation=self.transport.installation,
            caller="alice",
            sender="laptop",
            agent=agent,
            action=action,
            data={},
            targets=(IDENTITY,),
            filter=parse().to_data(),
            time=time.time(),
            ttl=60,
            timeout=30,
            reply_to=self.replies_queue,
        )
        return replace(plain, **changes)

    def body(self, request: Request, version: int = messages.VERSION) -> str:
        """Return the message of a request, signed by its caller."""
        key = self.bob if request.caller == "bob" else self.alice
        return messages.seal(messages.encode(request), sshsig.signing_with(key), version)

    def send(self, *requests: Request | str) -> None:
        """Send requests, or messages, to the node's queue."""
        for request in requests:
            self.transport.send(self.queue, request if isinstance(request, str) else self.body(request))

    def receive(self, queue: str, seconds: float = 20.0) -> list[Delivery]:
        """Receive and delete the next messages of a queue; none if there is none within `seconds`."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if found := self.transport.receive(queue, 1.0):
                self.transport.acknowledge(queue, found)
                return found
        return []

    def reply(self, seconds: float = 20.0) -> Reply:
        """Return the next reply in the test's own queue."""
        [delivery] = self.receive(self.replies_queue, seconds)
        return messages.decode_reply(messages.unseal(delivery.body).content)


@contextmanager
def signed_node(folder: Path, url: str, **node: Any) -> Iterator[SignedNode]:
    """Write the configuration, and create the queues with a daemon that is stopped again.

    `node` are keys of node.yaml.
    """
    collective = f"signed-{uuid.uuid4().hex[:8]}"
    alice, bob = keys.new(), keys.new()
    key_files.write_new(folder / "alice", alice.text())
    configure(folder, collective, accept_unsigned=False, allowed_signers="allowed_signers", **node)
    (folder / "policy.yaml").write_text(json.dumps(POLICY))
    (folder / "allowed_signers").write_text(signer_line("alice", alice.public) + signer_line("bob", bob.public))
    client = json.loads((folder / "client.yaml").read_text())
    (folder / "client.yaml").write_text(json.dumps({**client, "key": "alice"}))
    session = boto3.Session(aws_access_key_id="t", aws_secret_access_key="t", region_name="eu-central-1")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in aws_environment(url).items():
            patch.setenv(name, value)
        with daemon(folder, url):
            pass
        with Fleet.connect(load_client(folder / "client.yaml")) as fleet:
            scene = SignedNode(folder, collective, url, SQSTransport(AWS(session)), fleet, alice, bob)
            scene.transport.open_replies(scene.replies_queue)
            yield scene
