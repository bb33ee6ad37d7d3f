"""A small HTTP server for measurements: it counts what it is asked, and costs little itself."""

from __future__ import annotations

import asyncio
import json
import sys
from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass
from urllib.parse import parse_qs

from latencies import LatencyModel

COUNTS = "/bench/counts"  # returns what was counted since the last time, and begins again
_JSON = "application/x-amz-json-1.0"


@dataclass(frozen=True)
class HTTPRequest:
    """A request: its first line and headers as bytes, the names of headers in lower case."""

    head: bytes
    headers: dict[str, str]
    body: bytes

    @property
    def operation(self) -> str:
        """The operation of AWS: `SendMessage`."""
        if target := self.headers.get("x-amz-target"):
            return target.rpartition(".")[2]
        return parse_qs(self.body.decode()).get("Action", ["?"])[0]


class CountingServer(ABC):
    """Serves on a free loopback port until standard input ends; subclasses answer."""

    def __init__(self, latency: LatencyModel) -> None:
        self.latency = latency
        self.counts: Counter[str] = Counter()

    @abstractmethod
    async def answer(self, request: HTTPRequest) -> tuple[int, bytes]:
        """Return the status and the body of the response."""

    async def serve(self) -> None:
        """Print the URL, and serve."""
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0, backlog=1024, limit=2**24)
        sys.stdout.write(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}\n")
        sys.stdout.flush()
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        server.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.counts["connections"] += 1
        try:
            while request := await _read(reader):
                status, body = await self._answered(request)
                head = f"HTTP/1.1 {status} OK\r\ncontent-type: {_JSON}\r\nx-amzn-requestid: bench\r\n"
                writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _answered(self, request: HTTPRequest) -> tuple[int, bytes]:
        if request.head.split(b" ")[1] == COUNTS.encode():
            found, self.counts = self.counts, Counter()
            return 200, json.dumps(found).encode()
        operation = request.operation
        self.counts[operation] += 1
        self.counts["bytes received"] += len(request.head) + len(request.body)
        delay = self.latency.seconds(operation)
        if delay:
            await asyncio.sleep(delay / 2)
        status, body = await self.answer(request)
        self.counts["bytes sent"] += len(body)
        if delay:
            await asyncio.sleep(delay / 2)
        return status, body


async def _read(reader: asyncio.StreamReader) -> HTTPRequest | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None  # the client has closed the connection
    lines = head.decode("latin-1").split("\r\n")[1:]
    pairs = (line.partition(":") for line in lines if line)
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    return HTTPRequest(head, headers, await reader.readexactly(int(headers.get("content-length", 0))))
