"""Whom this node believes, and the key that others know it by.

Verifier   allowed signers ─► the key that may sign so ─► revoked? ─► does its signature fit?
node_key   an Ed25519 key in the node's state folder, made at the first start
"""

from __future__ import annotations

import logging
from pathlib import Path

from collective import reread
from collective.config import NodeConfig
from collective.errors import ConfigError, SignatureError
from collective.node.check.permissions import may_be_there
from collective.reread import Reread
from collective.signing import allowed_signers, key_files, keys, revoked_keys
from collective.signing.allowed_signers import AllowedSigners
from collective.signing.keys import PrivateKey
from collective.signing.revoked_keys import RevokedKeys
from collective.signing.sshsig import Signature

log = logging.getLogger(__name__)


class Verifier:
    """Checks who signed a request. Its files are read again when they change."""

    def __init__(
        self, allowed: Reread[AllowedSigners], revoked: Reread[RevokedKeys], *, accept_unsigned: bool = False
    ) -> None:
        self._allowed = allowed
        self._revoked = revoked
        self._accept_unsigned = accept_unsigned

    def __call__(self, payload: str, signature: str | None, caller: str, when: float) -> str | None:
        """Return the fingerprint of the key that signed `payload` in the name of `caller`.

        `when` (Unix seconds) is when the server received it: what counts for every validity. None: it is not signed,
        and need not be. Raise SignatureError for whatever is not to be believed.
        """
        if signature is None:
            if self._accept_unsigned:
                return None
            raise SignatureError(f"a request in the name of '{caller}' is not signed")
        claimed = Signature.read(signature)
        trusted = self._allowed.value().signer(claimed.signer, caller, when)
        self._revoked.value().check(trusted)
        claimed.verify(payload, trusted.key)
        return trusted.key.fingerprint


def verifier(config: NodeConfig) -> Verifier:
    """Return what checks this node's requests; the log says when nobody is trusted, and what to do."""
    if not may_be_there(config.allowed_signers):
        error = f"{missing(config.allowed_signers)}: until then every signed request is refused"
        log.warning("trust.missing", extra={"error": error})
    if config.accept_unsigned:
        log.warning("trust.unsigned", extra={"error": "accept_unsigned: whoever may write to the queue may act"})
    allowed = Reread(config.allowed_signers, allowed_signers.parse)
    revoked = Reread(config.revoked_keys, revoked_keys.parse)
    return Verifier(allowed, revoked, accept_unsigned=config.accept_unsigned)


def problems(config: NodeConfig) -> list[str]:
    """Return what is wrong with this node's files of keys, a line each."""
    found = []
    if not may_be_there(config.allowed_signers) and not config.accept_unsigned:
        found.append(missing(config.allowed_signers))
    for load in (
        lambda: reread.load(config.allowed_signers, allowed_signers.parse),
        lambda: reread.load(config.revoked_keys, revoked_keys.parse),
    ):
        try:
            load()
        except ConfigError as error:
            found.append(str(error))
    return found


def missing(path: Path) -> str:
    """Return the line that says what to do without allowed signers."""
    return f"{path}: there is no such file, so nobody is trusted: 'crpc keys trust KEY.pub --as NAME --file {path}'"


def node_key(state: Path) -> PrivateKey:
    """Return the node's key, making it the first time. Raise ConfigError naming the file."""
    path = state / "node_key"
    try:
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            key_files.write_new(path, keys.new().text())
    except OSError as error:
        raise ConfigError(f"{path}: the node's key cannot be kept: {error.strerror}: set 'state'") from None
    key = kept_key(state)
    assert key is not None  # noqa: S101 - it has been written
    return key


def kept_key(state: Path) -> PrivateKey | None:
    """Return the node's key, None when there is none yet. Raise ConfigError naming the file."""
    path = state / "node_key"
    try:
        if path.stat().st_mode & 0o077:
            raise ConfigError(f"{path}: others may read it: 'chmod 600 {path}', or remove it to get a new key")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be looked at: {error.strerror}: set 'state'") from None
    key = key_files.load(path)
    if key.public.kind != keys.ED25519:
        raise ConfigError(f"{path}: a node's key is of {keys.ED25519}: remove it to get a new one")
    return key
