"""SQS, SNS and DynamoDB with simulated nodes behind them: what one caller sees of a large fleet.

    python tests/bench/fleet_server.py --nodes 5000 --collective bench [--seed 1] [--no-delays] [--facts 50]

Prints its URL, and serves until standard input ends. Each node that is sent a request to `rpcutil ping` replies once,
signed with its own key, after the time that its own requests to SQS and the action take. The nodes check nothing;
`simulated_nodes.py` measures the real code of nodes.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import heapq
import itertools
import json
import time
from collections import defaultdict, deque
from typing import Any
from urllib.parse import parse_qs

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from http_server import CountingServer, HTTPRequest
from latencies import LatencyModel

from collective import messages, names
from collective.messages import Reply
from collective.registry import NodeRecord, encoding
from collective.signing import sshsig
from collective.signing.keys import PrivateKey
from collective.version import __version__

ACCOUNT = "123456789012"
_PAGE = 1024 * 1024  # bytes of one page of a scan
_ACTION = 0.002  # seconds that the action takes on each node
_VISIBILITY = 2.0  # seconds for which a received reply is hidden
_BATCH = 10
_POLL = 0.005  # seconds between looks for due messages


class SimulatedFleet(CountingServer):
    """The nodes `node00001` and so on of one collective."""

    def __init__(self, latency: LatencyModel, collective: str, nodes: int, facts: int = 50) -> None:
        super().__init__(latency)
        self._collective = collective
        self._keys = {f"node{number:05}": _key(f"node{number:05}") for number in range(1, nodes + 1)}
        self._queues = {names.node_queue(collective, name): name for name in self._keys}
        self._items = [_item(name, number, key, facts) for number, (name, key) in enumerate(self._keys.items())]
        self._due: list[tuple[float, int, str, str, messages.Request, str]] = []  # replies that nodes will send
        self._replies: defaultdict[str, deque[dict[str, Any]]] = defaultdict(deque)
        self._hidden: dict[str, tuple[float, str, dict[str, Any]]] = {}  # received and not deleted, by receipt
        self._numbers = itertools.count()
        self._arrived = asyncio.Event()

    async def serve(self) -> None:
        """Serve, and let the nodes reply."""
        working = asyncio.create_task(self._work())
        await super().serve()
        working.cancel()

    async def answer(self, request: HTTPRequest) -> tuple[int, bytes]:
        """Answer one request of a caller."""
        operation = request.operation
        if operation == "Publish":
            body = parse_qs(request.body.decode())["Message"][0]
            self._deliver(body, None)
            return 200, b"<PublishResponse><PublishResult><MessageId>1</MessageId></PublishResult></PublishResponse>"
        parameters = json.loads(request.body)
        method = getattr(self, f"_{operation.lower()}")
        answer = await method(parameters) if operation == "ReceiveMessage" else method(parameters)
        return 200, json.dumps(answer).encode()

    # -- what callers ask

    def _createqueue(self, parameters: Any) -> Any:
        return {"QueueUrl": f"http://127.0.0.1/{ACCOUNT}/{parameters['QueueName']}"}

    _getqueueurl = _createqueue

    def _sendmessage(self, parameters: Any) -> Any:
        body, queue = parameters["MessageBody"], parameters["QueueUrl"].rpartition("/")[2]
        self._deliver(body, self._queues[queue])
        return {"MessageId": "1", "MD5OfMessageBody": _md5(body)}

    def _deletemessagebatch(self, parameters: Any) -> Any:
        for entry in parameters["Entries"]:
            self._hidden.pop(entry["ReceiptHandle"], None)
        return {"Successful": [{"Id": entry["Id"]} for entry in parameters["Entries"]], "Failed": []}

    def _getqueueattributes(self, _parameters: Any) -> Any:
        return {"Attributes": {"ApproximateNumberOfMessages": "0"}}

    def _scan(self, parameters: Any) -> Any:
        segment, total = parameters.get("Segment", 0), parameters.get("TotalSegments", 1)
        part = self._items[segment * len(self._items) // total : (segment + 1) * len(self._items) // total]
        start = int(parameters.get("ExclusiveStartKey", {}).get("identity", {}).get("S", 0))
        wanted = _projected(parameters)
        page, size = [], 0
        for item in part[start:] if "FilterExpression" not in parameters else []:  # nothing changes
            page.append({name: value for name, value in item.items() if wanted is None or name in wanted})
            size += len(item["node"]["B"]) * 3 // 4 + 200  # what is not returned is read, and counts
            if size > _PAGE:
                break
        end = start + len(page)
        last = {"LastEvaluatedKey": {"identity": {"S": str(end)}}} if end < len(part) else {}
        return {"Items": page, "Count": len(page), "ScannedCount": len(page), **last}

    async def _receivemessage(self, parameters: Any) -> Any:
        queue = parameters["QueueUrl"].rpartition("/")[2]
        until = time.monotonic() + parameters.get("WaitTimeSeconds", 0)
        while not self._replies[queue] and (left := until - time.monotonic()) > 0:
            self._arrived.clear()
            try:
                await asyncio.wait_for(self._arrived.wait(), left)
            except asyncio.TimeoutError:
                break
        waiting = self._replies[queue]
        taken = [waiting.popleft() for _ in range(min(len(waiting), _BATCH))]
        for message in taken:
            self._hidden[message["ReceiptHandle"]] = (time.monotonic() + _VISIBILITY, queue, message)
        return {"Messages": taken} if taken else {}

    # -- what nodes do

    def _deliver(self, body: str, node: str | None) -> None:
        envelope = messages.unseal(body)
        request = messages.decode_request(envelope.content)
        targets = self._keys if request.targets is None else request.targets
        for name in targets if node is None else [node]:
            took = self.latency.seconds("ReceiveMessage") / 2 + _ACTION + self.latency.seconds("SendMessage")
            entry = (time.monotonic() + took, next(self._numbers), name, envelope.digest, request, request.reply_to)
            heapq.heappush(self._due, entry)

    async def _work(self) -> None:
        while True:
            now = time.monotonic()
            for _ in range(50):  # then callers are answered
                if not self._due or self._due[0][0] > now:
                    break
                _, _, name, digest, request, queue = heapq.heappop(self._due)
                self._reply(name, digest, request, queue)
            for receipt, (visible, queue, message) in list(itertools.islice(self._hidden.items(), 100)):
                if visible > now:
                    break
                del self._hidden[receipt]
                self._replies[queue].append(message)
            more = self._due and self._due[0][0] <= now
            await asyncio.sleep(0 if more else _POLL)

    def _reply(self, name: str, digest: str, request: messages.Request, queue: str) -> None:
        self.counts["replies"] += 1
        now = time.time()
        reply = Reply(request.id, digest, name, request.agent, request.action, 0, "OK", {"pong": now}, now, 1.0)
        payload = json.dumps({"type": "reply", **reply.__dict__}, separators=(",", ":"))
        body = messages.seal(payload, sshsig.signing_with(self._keys[name]))
        number = str(next(self._numbers))
        message = {"MessageId": number, "ReceiptHandle": number, "MD5OfBody": _md5(body)}
        sent = {"Attributes": {"SentTimestamp": str(int(now * 1000))}}
        self._replies[queue].append({**message, "Body": body, **sent})
        self._arrived.set()


def _md5(body: str) -> str:
    return hashlib.md5(body.encode(), usedforsecurity=False).hexdigest()


def _key(name: str) -> PrivateKey:
    return PrivateKey(Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest()))


def _item(name: str, number: int, key: PrivateKey, facts: int) -> dict[str, Any]:
    """Return the item of a node in the registry: facts as nodes have, a tenth of them with the role `cache`."""
    known: dict[str, Any] = {f"fact{index}": f"value {index * number} of some length" for index in range(facts)}
    known |= {"role": "cache" if number % 10 == 0 else "web", "number": number, "fqdn": f"{name}.example.com"}
    record = NodeRecord(
        name, __version__, known, ("base",), {"rpcutil": "1.0", "package": "1.0"}, public_key=key.public.line
    )
    return {
        "identity": {"S": name},
        "instance": {"S": "1"},
        "changed": {"N": "1700000000.000"},
        "last_seen": {"N": f"{time.time() + 1e6:.3f}"},  # alive for as long as anybody measures
        "node": {"B": base64.b64encode(encoding.encode(record)).decode()},
    }


def _projected(parameters: Any) -> set[str] | None:
    expression = parameters.get("ProjectionExpression")
    if expression is None:
        return None
    aliases = parameters.get("ExpressionAttributeNames", {})
    return {aliases.get(name.strip(), name.strip()) for name in expression.split(",")}


def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--nodes", type=int, required=True)
    parser.add_argument("--collective", default="bench")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--facts", type=int, default=50)
    parser.add_argument("--no-delays", action="store_true")
    options = parser.parse_args()

    async def serve() -> None:
        model = LatencyModel(options.seed, delays=not options.no_delays)
        await SimulatedFleet(model, options.collective, options.nodes, options.facts).serve()

    asyncio.run(serve())


if __name__ == "__main__":
    main()
