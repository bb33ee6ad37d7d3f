"""A proxy that counts requests, and delays each as AWS does.

    python tests/bench/latency_proxy.py --sqs URL --other URL [--seed 1] [--no-delays]

SQS and SNS are those of `--sqs`, everything else is at `--other`.
"""

from __future__ import annotations

import argparse
import asyncio
from urllib.parse import urlsplit

from http_server import CountingServer, HTTPRequest
from latencies import LatencyModel


class LatencyProxy(CountingServer):
    """Forwards each request over a connection of its own, which is kept for the next one."""

    def __init__(self, latency: LatencyModel, sqs: str, other: str) -> None:
        super().__init__(latency)
        self._upstreams = {True: urlsplit(sqs), False: urlsplit(other)}
        self._idle: dict[bool, list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]] = {True: [], False: []}

    async def answer(self, request: HTTPRequest) -> tuple[int, bytes]:
        """Forward a request, and return the response."""
        queues = not request.headers.get("x-amz-target", "").startswith("DynamoDB")
        idle = self._idle[queues]
        upstream = self._upstreams[queues]
        reader, writer = idle.pop() if idle else await asyncio.open_connection(upstream.hostname, upstream.port)
        writer.write(request.head + request.body)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        body = await _body(reader, head)
        if "connection: close" in head or head.startswith("http/1.0"):
            writer.close()
        else:
            idle.append((reader, writer))
        return int(head.split(" ")[1]), body


async def _body(reader: asyncio.StreamReader, head: str) -> bytes:
    lengths = [line.partition(":")[2] for line in head.split("\r\n") if line.startswith("content-length:")]
    return await reader.readexactly(int(lengths[0])) if lengths else await reader.read()


def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sqs", required=True)
    parser.add_argument("--other", required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-delays", action="store_true")
    options = parser.parse_args()
    asyncio.run(
        LatencyProxy(LatencyModel(options.seed, delays=not options.no_delays), options.sqs, options.other).serve()
    )


if __name__ == "__main__":
    main()
