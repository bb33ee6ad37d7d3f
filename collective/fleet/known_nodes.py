"""Verify nodes by their keys, as ssh verifies hosts: the first key seen of a node is trusted, other keys are refused.

    <state>/known_nodes      the trusted keys: `collective identity ssh-ed25519 AAAA…`, one node per line
    <state>/refused_nodes    the last key refused for each node, in the same form, for `crpc nodes trust`
    <state>/revoked_nodes    revoked keys: `collective identity SHA256:…`, one key per line

A key is first seen in the registry; without a registry, in the signature of a reply. With `new_nodes: refuse` no key is
trusted before `crpc nodes trust`. Revoked keys are in the registry too, and are kept here: a key that is missing in the
registry stays revoked, until the registry lists it as readmitted. Lines are appended; the first line of a node counts.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

from collective import names
from collective.errors import SignatureError, UsageError
from collective.fleet.key_files import KeyFile, RevocationFile
from collective.messages import Envelope, Reply
from collective.registry import Contents, NodeRecord, Nodes, Revocation
from collective.signing.keys import ED25519, PublicKey
from collective.signing.sshsig import Signature

log = logging.getLogger(__name__)


class KnownNodes:
    """The keys of a collective's nodes, kept in the folder `state`. Raises ConfigError for invalid files.

    With `keep` false nothing is written: new keys are known to this object only. With `accept_new` false the key of an
    unknown node is refused.
    """

    def __init__(self, state: Path, collective: str, *, keep: bool = True, accept_new: bool = True) -> None:
        self._file = KeyFile(state / "known_nodes", collective, keep=keep)
        self._refused = KeyFile(state / "refused_nodes", collective, keep=keep)
        self._revoked_file = RevocationFile(state / "revoked_nodes", collective, keep=keep)
        self._accept_new = accept_new
        self._known = self._file.read()
        self._revoked = self._revoked_file.read()

    @property
    def keys(self) -> Mapping[str, PublicKey]:
        """The trusted keys, by node."""
        return self._known

    @property
    def revoked(self) -> Mapping[str, str]:
        """The nodes of the revoked keys, by fingerprint."""
        return self._revoked

    def verify(self, reply: Reply, envelope: Envelope, *, learn: bool = True) -> None:
        """Check that `reply` was signed by the node that it names. Raises SignatureError.

        `learn`: trust the key of an unknown node from now on.
        """
        try:
            names.check_identity(reply.sender)
            if envelope.signature is None:
                raise SignatureError("reply is not signed")
            signature = Signature.read(envelope.signature)
            known = self._known.get(reply.sender)
            # The known key has been read before: that of a node is read once.
            key = known if known and known.blob == signature.signer else PublicKey.read(signature.signer)
            if key.kind != ED25519:
                raise SignatureError(f"key type '{key.kind}' is not allowed for nodes (must be {ED25519})")
            signature.verify(envelope.payload, key)
        except (SignatureError, UsageError) as error:
            raise SignatureError(f"{reply.sender}: {error}") from None
        self._check_key(reply.sender, key, learn and self._accept_new)

    def introduce(self, records: Iterable[NodeRecord]) -> None:
        """Trust the keys that the registry has of unknown nodes, except revoked keys."""
        new = {}
        for record in records:
            if record.public_key and record.identity not in self._known and self._accept_new:
                try:
                    key = PublicKey.from_line(record.public_key)
                    if key.fingerprint not in self._revoked:
                        new[names.check_identity(record.identity)] = key
                except (SignatureError, UsageError) as error:
                    log.warning("registry.invalid_key", extra={"error": f"{record.identity}: {error}"})
        if new:
            self._known.update(new)
            self._file.add(new)

    def update(self, revocations: Iterable[Revocation]) -> None:
        """Revoke and readmit keys as the registry lists them."""
        revoked = dict(self._revoked)
        for one in revocations:
            if one.active:
                revoked.setdefault(one.fingerprint, one.node)
            else:
                revoked.pop(one.fingerprint, None)
        self._replace_revoked(revoked)

    def revoke(self, node: str, fingerprints: Iterable[str]) -> None:
        """Refuse these keys of a node from now on, and do not learn them again."""
        self._replace_revoked({**self._revoked, **dict.fromkeys(fingerprints, node)})

    def trust(self, node: str, key: PublicKey) -> None:
        """Trust this key of a node from now on, instead of any other; a revoked key is readmitted."""
        self._replace_revoked({one: name for one, name in self._revoked.items() if one != key.fingerprint})
        self._known[node] = key
        self._file.replace(node, key)

    def refused(self, node: str) -> PublicKey | None:
        """Return the last key refused for a node."""
        return self._refused.read().get(node)

    def is_revoked(self, node: str, public_key: str = "") -> bool:
        """Return whether a node must not be asked: its key in the registry is revoked, or all that are known are."""
        if not self._revoked:
            return False
        try:
            if public_key and PublicKey.from_line(public_key).fingerprint in self._revoked:
                return True
        except SignatureError:
            return False  # reported when it is introduced
        return not public_key and node not in self._known and node in self._revoked.values()

    def _replace_revoked(self, revoked: dict[str, str]) -> None:
        if revoked == self._revoked:
            return
        self._revoked = revoked
        self._revoked_file.write(revoked)
        for node in [name for name, key in self._known.items() if key.fingerprint in revoked]:
            del self._known[node]
            self._file.replace(node, None)

    def _check_key(self, node: str, key: PublicKey, learn: bool) -> None:
        known = self._known.get(node)
        if known == key:
            return
        if key.fingerprint in self._revoked:
            raise SignatureError(
                f"{node}: its reply is signed by the revoked key {key.fingerprint} (if the node is trusted again: "
                f"'crpc nodes trust {node}')"
            )
        if known is None and learn:
            self._known[node] = key
            self._file.add({node: key})
            return
        self._refused.replace(node, key)
        if known is None:
            raise SignatureError(
                f"{node}: the key {key.fingerprint} of this node is not known (if it is the node's key: "
                f"'crpc nodes trust {node}')"
            )
        raise SignatureError(
            f"{node}: THE NODE'S KEY HAS CHANGED, or another machine replies in its name: trusted is "
            f"{known.fingerprint}, the reply is signed by {key.fingerprint} (if the node has a new key: "
            f"'crpc nodes trust {node}')"
        )


class IntroducedNodes:
    """A registry whose keys and revocations are added to the known nodes whenever it is read."""

    def __init__(self, registry: Nodes, known: KnownNodes) -> None:
        self._registry = registry
        self._known = known

    def now(self) -> float:
        """Return the registry's time in Unix seconds."""
        return self._registry.now()

    def read(self) -> Contents:
        """Return the contents of the registry, after adding keys and revocations."""
        contents = self._registry.read()
        self._known.update(contents.revocations)
        self._known.introduce(contents.records)
        return contents
