"""Send a file to many nodes, or fetch it from them, in pieces that fit into messages.

    upload     `file put` piece by piece to all nodes at once; a node that fails or stays silent gets no further piece
    download   `file read` piece by piece from all nodes at once, each into a file of its own

The digest of the whole file decides whether it has arrived: a node checks it before it replaces the old file, and the
caller before it names the new one.
"""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from collective.errors import UsageError
from collective.fleet.targets import Targets
from collective.names import check_identity

if TYPE_CHECKING:
    from collective.fleet.call import Call
    from collective.messages import Reply

PIECE = 512 * 1024  # bytes sent to, or fetched from, a node in one message; in base64 it fits into 1 MiB
PUBLISHED_PIECE = 128 * 1024  # bytes in a message that is published to more than direct_limit nodes

# Calls an action of the agent `file`: (action, inputs, targets).
Ask = Callable[[str, Mapping[str, Any], Targets], "Call"]


@dataclass
class Transfer:
    """How the transfer to or from one node ended. `error` is empty if it succeeded."""

    node: str
    changed: bool = False
    size: int = 0
    error: str = ""
    silent: bool = False
    path: str = ""


@dataclass
class LocalFile:
    """A local file to send. `digest` is its SHA-256."""

    path: Path
    size: int
    digest: str

    @classmethod
    def read(cls, path: Path) -> LocalFile:
        """Read the size and the digest of a file; raise UsageError if it cannot be read."""
        found, size = hashlib.sha256(), 0
        try:
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    found.update(block)
                    size += len(block)
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror}") from None
        return cls(path, size, found.hexdigest())

    def pieces(self, size: int) -> Iterator[tuple[int, bytes]]:
        """Yield the offset and the content of each piece; one empty piece for an empty file."""
        with self.path.open("rb") as file:
            offset = 0
            while (piece := file.read(size)) or offset == 0:
                yield offset, piece
                offset += max(1, len(piece))


@dataclass
class Upload:
    """Sends `source` to nodes. `inputs` are the other inputs of `file put`; `transfers` has the result by node."""

    ask: Ask
    source: LocalFile
    inputs: Mapping[str, Any]
    piece: int = PIECE
    transfers: dict[str, Transfer] = field(default_factory=dict)

    def run(self, targets: Targets, *, dry_run: bool = False) -> None:
        """Send all pieces, or with `dry_run` none."""
        whole = {**self.inputs, "sha256": self.source.digest, "size": self.source.size}
        if dry_run:
            self._send(whole, targets)
            return
        name = secrets.token_hex(16)
        for offset, piece in self.source.pieces(self.piece):
            inputs = {**whole, "offset": offset, "content": base64.b64encode(piece).decode(), "transfer": name}
            nodes = self._send(inputs, targets)
            if not nodes:
                return
            targets = Targets(nodes=nodes)
        for node in nodes:
            self.transfers[node].error = "the local file was changed meanwhile (send it again)"

    def _send(self, inputs: Mapping[str, Any], targets: Targets) -> list[str]:
        """Send one piece; return the nodes that need more."""
        call = self.ask("put", inputs, targets)
        replies = call.wait().replies
        note_missing(call, self.transfers)
        for node, reply in replies.items():
            error = "" if reply.ok else reply.statusmsg
            transfer = self.transfers.setdefault(node, Transfer(node))
            transfer.error = error
            transfer.changed = bool(reply.data.get("changed"))
            transfer.size = self.source.size
        return [node for node, reply in replies.items() if reply.ok and not reply.data["complete"]]


@dataclass
class _Incoming:
    """A file that is being fetched from one node, in a temporary file beside `path`."""

    path: Path
    file: BinaryIO
    digest: Any = field(default_factory=hashlib.sha256)
    version: str = ""

    @property
    def temporary(self) -> Path:
        """The path of the incomplete file."""
        return Path(self.file.name)


class Download:
    """Fetches the file `remote` from nodes into `folder`/NODE/NAME. `transfers` has the result by node."""

    def __init__(self, ask: Ask, remote: str, folder: Path, piece: int = PIECE) -> None:
        self._ask = ask
        self._remote = remote
        self._folder = folder
        self._piece = piece
        self._open: dict[str, _Incoming] = {}
        self._sizes: dict[str, int] = {}
        self.transfers: dict[str, Transfer] = {}

    def run(self, targets: Targets) -> None:
        """Ask for the digests, then fetch piece by piece; files that are complete get their names."""
        call = self._ask("status", {"path": self._remote}, targets)
        replies = call.wait().replies
        note_missing(call, self.transfers)
        digests = {node: self._digest(node, reply) for node, reply in replies.items()}
        nodes = [node for node, digest in digests.items() if digest]
        try:
            offset = 0
            while nodes:
                nodes = self._fetch(nodes, offset, digests)
                offset += self._piece
        finally:
            for incoming in self._open.values():
                incoming.file.close()
                incoming.temporary.unlink(missing_ok=True)

    def _digest(self, node: str, reply: Reply) -> str:
        transfer = self.transfers.setdefault(node, Transfer(node))
        if not reply.ok:
            transfer.error = reply.statusmsg
        elif not reply.data.get("sha256"):
            transfer.error = f"{self._remote}: " + ("not a regular file" if reply.data["present"] else "does not exist")
        self._sizes[node] = int(reply.data.get("size", 0))
        return "" if transfer.error else str(reply.data["sha256"])

    def _fetch(self, nodes: Sequence[str], offset: int, digests: Mapping[str, str]) -> list[str]:
        """Fetch one piece from each node; return the nodes that have more."""
        inputs = {"path": self._remote, "offset": offset, "length": self._piece, "encoding": "base64"}
        call = self._ask("read", inputs, Targets(nodes=nodes))
        replies = call.wait().replies
        note_missing(call, self.transfers)
        more = []
        for node, reply in replies.items():
            error = reply.statusmsg if not reply.ok else self._take(node, reply.data)
            if error:
                self.transfers[node].error = error
            elif reply.data["truncated"]:
                more.append(node)
            else:
                self._finish(node, digests[node])
        return more

    def _take(self, node: str, data: Mapping[str, Any]) -> str:
        """Append a piece; return why that is not possible, or an empty string."""
        if node not in self._open:
            self._open[node] = self._create(node)
        incoming = self._open[node]
        if incoming.version not in ("", data["version"]):
            return f"{self._remote}: changed while it was read"
        incoming.version = data["version"]
        piece = base64.b64decode(data["content"])
        if incoming.file.tell() + len(piece) > self._sizes[node] or (data["truncated"] and not piece):
            return f"{self._remote}: the node sends more than its size"  # or a node could fill the disk, or never end
        incoming.file.write(piece)
        incoming.digest.update(piece)
        return ""

    def _create(self, node: str) -> _Incoming:
        path = self._folder / check_identity(node) / Path(self._remote).name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
            return _Incoming(path, temporary.open("xb"))
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror}") from None

    def _finish(self, node: str, digest: str) -> None:
        incoming, transfer = self._open.pop(node), self.transfers[node]
        transfer.size = incoming.file.tell()
        incoming.file.close()
        if incoming.digest.hexdigest() == digest:
            os.replace(incoming.temporary, incoming.path)  # noqa: PTH105 - atomic also if the file exists
            transfer.path, transfer.changed = str(incoming.path), True
        else:
            incoming.temporary.unlink()
            transfer.error = f"{self._remote}: changed while it was read"


def note_missing(call: Call, transfers: dict[str, Transfer]) -> None:
    """Record the nodes that did not reply, or could not be asked."""
    for node in call.outcomes.silent:
        transfers[node] = Transfer(node, error="no response", silent=True)
    for node, reason in call.outcomes.not_evaluated.items():
        transfers[node] = Transfer(node, error=reason)
