"""Trust and revoke keys of nodes, for this caller and in the registry for all callers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from collective import names
from collective.config import ClientConfig
from collective.errors import NotFound, TransportError, UsageError
from collective.fleet.known_nodes import KnownNodes
from collective.registry import Contents, Nodes, RevocableNodes, Revocation
from collective.signing.keys import PublicKey
from collective.suggestions import suggest


class KeyRegistry(RevocableNodes, Nodes, Protocol):
    """A registry as this module uses it."""


def open_registry(config: ClientConfig) -> KeyRegistry | None:
    """Return the registry of the configured collective; None if it has none. Raises ConfigError."""
    if config.registry == "none":
        return None
    from collective.aws.session import AWS
    from collective.registry.dynamodb import DynamoDBRegistry

    return DynamoDBRegistry(AWS.of(config), names.table(config.collective))


@dataclass(frozen=True)
class Change:
    """What was changed: `fingerprints` are trusted or revoked, `replaced` was trusted before.

    `error` is why the registry, and so other callers, does not know.
    """

    node: str
    fingerprints: tuple[str, ...]
    replaced: str | None = None
    error: str | None = None


class NodeKeys:
    """The keys of a collective's nodes: those that this caller knows, and those in the registry, if there is one."""

    def __init__(self, known: KnownNodes, registry: KeyRegistry | None) -> None:
        self._known = known
        self._registry = registry

    @classmethod
    def connect(cls, config: ClientConfig) -> NodeKeys:
        """Return the keys that a caller with this configuration uses. Raises ConfigError."""
        return cls(KnownNodes(config.state, config.collective), open_registry(config))

    def trust(self, node: str, key: PublicKey | None = None) -> Change:
        """Trust a key of a node instead of any other, and readmit it if it was revoked.

        Without `key`, it is the one that the registry has; without that, the one that was refused last.
        """
        contents = self._contents()
        self._known.update(contents.revocations)
        known, refused = self._known.keys.get(node), self._known.refused(node)
        key = key or _registered(contents, node) or refused
        if key is None:
            hint = self._suggestion(node, contents) or "the registry has none, and no reply was refused: use --key"
            raise UsageError(f"{node}: no new key ({hint})")
        if key == known:
            raise UsageError(
                f"{node}: the registry still has the known key {key.fingerprint}: the refused reply came from another "
                "sender"
                if refused and refused != known
                else f"{node}: {key.fingerprint} is already trusted"
            )
        error = None
        if key.fingerprint in self._known.revoked:
            error = self._record(Revocation(node, key.fingerprint, active=False))
        self._known.trust(node, key)
        return Change(node, (key.fingerprint,), known.fingerprint if known else None, error)

    def revoke(self, node: str, fingerprint: str | None = None) -> Change:
        """Revoke one key of a node; without `fingerprint`, the one that is known and the one in the registry."""
        contents = self._contents()
        keys = [self._known.keys.get(node), _registered(contents, node)]
        found = [fingerprint] if fingerprint else list(dict.fromkeys(key.fingerprint for key in keys if key))
        if not found:
            hint = self._suggestion(node, contents) or "name the key with --key"
            raise UsageError(f"{node}: no key of this node is known ({hint})")
        errors = [self._record(Revocation(node, one)) for one in found]
        self._known.revoke(node, found)
        return Change(node, tuple(found), error=next((error for error in errors if error), None))

    def _suggestion(self, node: str, contents: Contents) -> str:
        """Return which known node was probably meant; empty if the node is known, or none is similar."""
        known = {*self._known.keys, *self._known.revoked.values(), *(record.identity for record in contents.records)}
        return "" if node in known else suggest(node, known)

    def _contents(self) -> Contents:
        try:
            return self._registry.read() if self._registry else Contents()
        except NotFound:
            return Contents()

    def _record(self, revocation: Revocation) -> str | None:
        """Store a revocation for all callers; return the error, because this caller's own list counts in any case."""
        try:
            if self._registry:
                self._registry.record_revocation(revocation)
        except TransportError as error:
            return str(error)
        return None if self._registry else "there is no registry"


def _registered(contents: Contents, node: str) -> PublicKey | None:
    lines = [record.public_key for record in contents.records if record.identity == node and record.public_key]
    return PublicKey.from_line(lines[0]) if lines else None
