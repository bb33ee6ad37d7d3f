"""Verify nodes by their keys, as ssh verifies hosts: the first key seen of a node is trusted, other keys are refused.

    <state>/known_nodes      the trusted keys: `collective identity ssh-ed25519 AAAA…`, one node per line
    <state>/refused_nodes    the last key refused for each node, in the same form, for `crpc nodes trust`

A key is first seen in the registry or in a reply's signature. Lines are appended; the first line of a node counts.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path

from collective import lines, names
from collective.config import ClientConfig
from collective.errors import ConfigError, NotFound, SignatureError, UsageError
from collective.messages import Envelope, Reply
from collective.registry import NodeRecord, Nodes
from collective.signing.keys import ED25519, PublicKey, blob_in_line
from collective.signing.sshsig import Signature

log = logging.getLogger(__name__)


class KnownNodes:
    """The keys of a collective's nodes, kept in the folder `state`. Raises ConfigError for invalid files.

    With `keep` false nothing is written: new keys are known to this object only.
    """

    def __init__(self, state: Path, collective: str, *, keep: bool = True) -> None:
        kind = _KeyFile if keep else _ReadOnlyKeyFile
        self._file = kind(state / "known_nodes", collective)
        self._refused = kind(state / "refused_nodes", collective)
        self._known = self._file.read()

    @property
    def keys(self) -> Mapping[str, PublicKey]:
        """The trusted keys, by node."""
        return self._known

    def verify(self, reply: Reply, envelope: Envelope) -> None:
        """Check that `reply` was signed by the node that it names. Raises SignatureError."""
        try:
            names.check_identity(reply.sender)
            if envelope.signature is None:
                raise SignatureError("reply is not signed")
            signature = Signature.read(envelope.signature)
            key = PublicKey.read(signature.signer)
            if key.kind != ED25519:
                raise SignatureError(f"key type '{key.kind}' is not allowed for nodes (must be {ED25519})")
            signature.verify(envelope.payload, key)
        except (SignatureError, UsageError) as error:
            raise SignatureError(f"{reply.sender}: {error}") from None
        self._check_key(reply.sender, key)

    def introduce(self, records: Iterable[NodeRecord]) -> None:
        """Trust the keys that the registry has of unknown nodes."""
        new = {}
        for record in records:
            if record.public_key and record.identity not in self._known:
                try:
                    new[names.check_identity(record.identity)] = PublicKey.from_line(record.public_key)
                except (SignatureError, UsageError) as error:
                    log.warning("registry.invalid_key", extra={"error": f"{record.identity}: {error}"})
        if new:
            self._known.update(new)
            self._file.add(new)

    def trust(self, node: str, key: PublicKey) -> None:
        """Trust this key of a node from now on, instead of any other."""
        self._known[node] = key
        self._file.replace(node, key)

    def refused(self, node: str) -> PublicKey | None:
        """Return the last key refused for a node."""
        return self._refused.read().get(node)

    def _check_key(self, node: str, key: PublicKey) -> None:
        known = self._known.setdefault(node, key)
        if known is key:
            self._file.add({node: key})
        elif known != key:
            self._refused.replace(node, key)
            raise SignatureError(
                f"{node}: THE NODE'S KEY HAS CHANGED, or another machine replies in its name: trusted is "
                f"{known.fingerprint}, the reply is signed by {key.fingerprint} (if the node has a new key: "
                f"'crpc nodes trust {node}')"
            )


class IntroducedNodes:
    """A registry whose nodes' keys are added to the known nodes whenever it is read."""

    def __init__(self, registry: Nodes, known: KnownNodes) -> None:
        self._registry = registry
        self._known = known

    def now(self) -> float:
        """Return the registry's time in Unix seconds."""
        return self._registry.now()

    def nodes(self) -> list[NodeRecord]:
        """Return every node, after adding its key."""
        records = self._registry.nodes()
        self._known.introduce(records)
        return records


def registered_key(config: ClientConfig, node: str) -> PublicKey | None:
    """Return a node's key in the registry; None without a registry, or when the node is not in it."""
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
    """A file of keys. Lines of other collectives and comments are preserved."""

    def __init__(self, path: Path, collective: str) -> None:
        self._path = path
        self._collective = collective

    def read(self) -> dict[str, PublicKey]:
        """Return this collective's keys by node."""
        keys: dict[str, PublicKey] = {}
        for number, line in enumerate(self._lines(), start=1):
            fields = lines.words(line, 2)
            if fields[0] != self._collective:
                continue
            try:
                keys.setdefault(fields[1], PublicKey(blob_in_line(fields[2])))
            except (SignatureError, IndexError):
                raise ConfigError(
                    f"{self._path}:{number}: invalid line: must be 'collective node type key' (delete the line)"
                ) from None
        return keys

    def add(self, keys: Mapping[str, PublicKey]) -> None:
        """Append lines."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with self._path.open("a", encoding="ascii") as file:
                file.write("".join(self._line(node, key) for node, key in keys.items()))
        except OSError as error:
            raise self._unwritable(error) from None

    def replace(self, node: str, key: PublicKey) -> None:
        """Replace all lines of a node."""
        others = [line for line in self._lines() if lines.words(line, 2)[:2] != [self._collective, node]]
        temporary = self._path.with_name(f"{self._path.name}.{secrets.token_hex(4)}")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            temporary.write_text("".join(others) + self._line(node, key), encoding="utf-8")
            temporary.replace(self._path)
        except OSError as error:
            raise self._unwritable(error) from None

    def _lines(self) -> list[str]:
        try:
            text = self._path.read_bytes().decode("utf-8")
        except FileNotFoundError:
            return []
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not UTF-8"
            raise ConfigError(f"{self._path}: cannot be read: {reason}") from None
        return [f"{line}\n" for _, line in lines.numbered(text)]

    def _line(self, node: str, key: PublicKey) -> str:
        return f"{self._collective} {node} {key.line}\n"

    def _unwritable(self, error: OSError) -> ConfigError:
        return ConfigError(f"{self._path}: cannot write keys of nodes: {error.strerror} (set 'state' in client.yaml)")


class _ReadOnlyKeyFile(_KeyFile):
    """A file of keys that is only read."""

    def add(self, keys: Mapping[str, PublicKey]) -> None:
        """Do nothing."""

    def replace(self, node: str, key: PublicKey) -> None:
        """Do nothing."""
