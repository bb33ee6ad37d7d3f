"""Know nodes by their keys, as ssh knows hosts: the first key seen of a node is kept, another one is refused.

    <state>/known_nodes      the key that is believed: `collective identity ssh-ed25519 AAAA…`, a node a line
    <state>/refused_nodes    the same, of the last key that was refused: what `crpc nodes trust` may be about

A key is first seen in the registry or under a reply. Lines are added as they come; the first of a node counts.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path

from collective import names
from collective.config import ClientConfig
from collective.errors import ConfigError, NotFound, SignatureError, UsageError
from collective.messages import Envelope, Reply
from collective.registry import NodeRecord, Nodes
from collective.signing.keys import ED25519, PublicKey, blob_in_line
from collective.signing.sshsig import Signature

log = logging.getLogger(__name__)


class KnownNodes:
    """The nodes of one collective that the user of the folder `state` knows. Raises ConfigError for broken files.

    With `keep` false nothing is written: what is met is known to this object alone.
    """

    def __init__(self, state: Path, collective: str, *, keep: bool = True) -> None:
        kind = _KeyFile if keep else _UnwrittenKeyFile
        self._file = kind(state / "known_nodes", collective)
        self._refused = kind(state / "refused_nodes", collective)
        self._known = self._file.read()

    @property
    def keys(self) -> Mapping[str, PublicKey]:
        """The key of each node that is known."""
        return self._known

    def verify(self, reply: Reply, envelope: Envelope) -> None:
        """Check that the node which `reply` names has signed it; raise SignatureError naming the node."""
        try:
            names.check_identity(reply.sender)
            if envelope.signature is None:
                raise SignatureError("the reply is not signed")
            signature = Signature.read(envelope.signature)
            key = PublicKey.read(signature.signer)
            if key.kind != ED25519:
                raise SignatureError(f"a node signs by {ED25519}, not by {key.kind}")
            signature.verify(envelope.payload, key)
        except (SignatureError, UsageError) as error:
            raise SignatureError(f"{reply.sender}: {error}") from None
        self._recognise(reply.sender, key)

    def introduce(self, records: Iterable[NodeRecord]) -> None:
        """Keep the keys that the registry has of nodes that are not known yet."""
        fresh = {}
        for record in records:
            if record.public_key and record.identity not in self._known:
                try:
                    fresh[names.check_identity(record.identity)] = PublicKey.from_line(record.public_key)
                except (SignatureError, UsageError) as error:
                    log.warning("registry.key", extra={"error": f"{record.identity}: {error}"})
        if fresh:
            self._known.update(fresh)
            self._file.add(fresh)

    def trust(self, node: str, key: PublicKey) -> None:
        """Believe this key of a node from now on, whatever was believed before."""
        self._known[node] = key
        self._file.replace(node, key)

    def refused(self, node: str) -> PublicKey | None:
        """Return the key of a node that was refused last."""
        return self._refused.read().get(node)

    def _recognise(self, node: str, key: PublicKey) -> None:
        known = self._known.setdefault(node, key)
        if known is key:
            self._file.add({node: key})
        elif known != key:
            self._refused.replace(node, key)
            raise SignatureError(
                f"{node}: THE NODE'S KEY HAS CHANGED, or another node answers in its name: known is "
                f"{known.fingerprint}, the reply is signed by {key.fingerprint}: if the node has got a new key, "
                f"'crpc nodes trust {node}'"
            )


class IntroducedNodes:
    """A registry that introduces its nodes to those who know them."""

    def __init__(self, registry: Nodes, known: KnownNodes) -> None:
        self._registry = registry
        self._known = known

    def now(self) -> float:
        """Return the registry's time in Unix seconds."""
        return self._registry.now()

    def nodes(self) -> list[NodeRecord]:
        """Return every node, once its key is known."""
        records = self._registry.nodes()
        self._known.introduce(records)
        return records


def registered_key(config: ClientConfig, node: str) -> PublicKey | None:
    """Return a node's key as the registry has it; None without a registry, or when it knows no such node."""
    if config.registry == "none":
        return None
    from collective.aws import AWS
    from collective.registry.dynamodb import DynamoDBRegistry

    try:
        records = DynamoDBRegistry(AWS(), names.table(config.collective)).nodes()
    except NotFound:
        return None
    return next(
        (PublicKey.from_line(one.public_key) for one in records if one.identity == node and one.public_key), None
    )


class _KeyFile:
    """A file of keys. Lines of other collectives, and what people wrote, stay as they are."""

    def __init__(self, path: Path, collective: str) -> None:
        self._path = path
        self._collective = collective

    def read(self) -> dict[str, PublicKey]:
        """Return this collective's keys by node."""
        keys: dict[str, PublicKey] = {}
        for number, line in enumerate(self._lines(), start=1):
            words = line.split(maxsplit=2)
            if not words or words[0] != self._collective:
                continue
            try:
                keys.setdefault(words[1], PublicKey(blob_in_line(words[2])))
            except (SignatureError, IndexError):
                raise ConfigError(f"{self._path}:{number}: not 'collective node type key': delete the line") from None
        return keys

    def add(self, keys: Mapping[str, PublicKey]) -> None:
        """Write the first lines of nodes."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with self._path.open("a", encoding="ascii") as file:
                file.write("".join(self._line(node, key) for node, key in keys.items()))
        except OSError as error:
            raise self._unwritable(error) from None

    def replace(self, node: str, key: PublicKey) -> None:
        """Write a node's line in place of those that it has."""
        others = [line for line in self._lines() if line.split()[:2] != [self._collective, node]]
        fresh = self._path.with_name(f"{self._path.name}.{secrets.token_hex(4)}")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            fresh.write_text("".join(others) + self._line(node, key), encoding="utf-8")
            fresh.replace(self._path)
        except OSError as error:
            raise self._unwritable(error) from None

    def _lines(self) -> list[str]:
        try:
            return self._path.read_text(encoding="utf-8").splitlines(keepends=True)
        except FileNotFoundError:
            return []
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "not UTF-8 text"
            raise ConfigError(f"{self._path}: cannot be read: {why}") from None

    def _line(self, node: str, key: PublicKey) -> str:
        return f"{self._collective} {node} {key.line}\n"

    def _unwritable(self, error: OSError) -> ConfigError:
        return ConfigError(f"{self._path}: cannot be written: {error.strerror}: nodes' keys must be kept: set 'state'")


class _UnwrittenKeyFile(_KeyFile):
    """A file of keys for whoever only looks."""

    def add(self, keys: Mapping[str, PublicKey]) -> None:
        """Leave the file as it is."""

    def replace(self, node: str, key: PublicKey) -> None:
        """Leave the file as it is."""
