"""Verify the signatures of requests, and keep this node's own key.

Verifier   allowed signers ─► key allowed for the caller? ─► key revoked? ─► signature valid?
node_key   an Ed25519 key in the node's state folder, created at the first start
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from collective import reread
from collective.config import NodeConfig
from collective.errors import ConfigError, SignatureError
from collective.node.check import trusted_paths
from collective.path_checks import may_exist
from collective.reread import NoValidVersion, ReloadedFile, ReloadEvents, Value
from collective.signing import allowed_signers, key_files, keys, revoked_keys
from collective.signing.allowed_signers import AllowedSigner, AllowedSigners, TrustedKey
from collective.signing.keys import PrivateKey
from collective.signing.revoked_keys import RevokedKeys
from collective.signing.sshsig import Signature

log = logging.getLogger(__name__)

_EVENTS = ReloadEvents(read="trust.read", broken="trust.broken")
_NO_SIGNER: NoValidVersion[Any] = NoValidVersion("no signer is trusted")


_REVOKED_BYTES = "surrogateescape"  # a byte that is not UTF-8 must not void the other lines
_TRUST_HINT = "use 'crpc keys trust KEY.pub --as NAME --file"


class Verifier:
    """Verifies who signed a request. Its files are reloaded when they change."""

    def __init__(
        self,
        allowed: ReloadedFile[AllowedSigners],
        revoked: ReloadedFile[RevokedKeys],
        *,
        accept_unsigned: bool = False,
    ) -> None:
        self._allowed = allowed
        self._revoked = revoked
        self._accept_unsigned = accept_unsigned

    @property
    def problems(self) -> tuple[str, ...]:
        """The problems of the files as they are now, one line per problem."""
        for file in (self._allowed, self._revoked):
            with suppress(ConfigError):  # no version has been valid: one of the problems
                file.value()
        return (*self._allowed.problems, *self._revoked.problems)

    def __call__(self, payload: str, signature: str | None, caller: str, when: float) -> str | None:
        """Return the fingerprint of the key that signed `payload` for `caller`.

        Return None for an unsigned payload when those are accepted. `when` (Unix seconds) is the time at which the
        server received the payload; keys and certificates must be valid then. Raise SignatureError otherwise.
        """
        if signature is None:
            if self._accept_unsigned:
                return None
            raise SignatureError(f"the request of '{caller}' is not signed")
        claimed = Signature.read(signature)
        trusted = _current(self._allowed).signer(claimed.signer, caller, when)
        _current(self._revoked).check(trusted)
        claimed.verify(payload, trusted.key)
        return trusted.key.fingerprint


def _current(file: ReloadedFile[Value]) -> Value:
    try:
        return file.value()
    except ConfigError as error:
        raise SignatureError(f"no signer is trusted: {error}") from None


def verifier(config: NodeConfig) -> Verifier:
    """Return the verifier of this node's requests; log a warning when it trusts no signer or accepts unsigned ones."""
    if not may_exist(config.allowed_signers):
        error = f"{missing(config.allowed_signers)}; every signed request is refused until then"
        log.warning("trust.missing", extra={"error": error})
    if config.accept_unsigned:
        log.warning(
            "trust.unsigned", extra={"error": "accept_unsigned: anyone who can write to the queue can run actions"}
        )
    allowed = ReloadedFile(
        config.allowed_signers,
        allowed_signers.parse,
        events=_EVENTS,
        missing=AllowedSigners,
        otherwise=_NO_SIGNER,
        guard=trusted_paths.guard,
    )
    revoked = ReloadedFile(
        config.revoked_keys,
        revoked_keys.parse,
        events=_EVENTS,
        missing=RevokedKeys,
        otherwise=_NO_SIGNER,
        guard=trusted_paths.guard,
        undecodable=_REVOKED_BYTES,
    )
    return Verifier(allowed, revoked, accept_unsigned=config.accept_unsigned)


def problems(config: NodeConfig) -> list[str]:
    """Return the problems of this node's key files, one line per problem. Without a trusted key there is a problem."""
    found: list[str] = []
    signers = _load(found, lambda: reread.load(config.allowed_signers, allowed_signers.parse))
    revoked = _load(found, lambda: reread.load(config.revoked_keys, revoked_keys.parse, _REVOKED_BYTES))
    if signers is None or config.accept_unsigned:
        return found
    if not may_exist(config.allowed_signers):
        return [missing(config.allowed_signers), *found]
    if not any(_may_sign(entry, revoked or RevokedKeys()) for entry in signers):
        text = "no key that may sign now, so no signer is trusted"
        found.append(f"{config.allowed_signers}: {text} ({_TRUST_HINT} {config.allowed_signers}')")
    return found


def _load(found: list[str], load: Callable[[], Value]) -> Value | None:
    """Return what `load` returns; if it raises ConfigError, add its problems to `found` and return None."""
    try:
        return load()
    except ConfigError as error:
        found += error.problems
        return None


def _may_sign(entry: AllowedSigner, revoked: RevokedKeys) -> bool:
    try:
        entry.check_use(time.time())
        revoked.check(TrustedKey(entry.key))
    except SignatureError:
        return False
    return True


def missing(path: Path) -> str:
    """Return the error line for a missing file of allowed signers."""
    return f"{path}: no such file, so no signer is trusted ({_TRUST_HINT} {path}')"


def node_key(state: Path) -> PrivateKey:
    """Return the node's key; create it at the first call. Raise ConfigError naming the file."""
    path = state / "node_key"
    try:
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            key_files.write_new(path, keys.new().text())
    except OSError as error:
        raise ConfigError(f"{path}: cannot write the node's key: {error.strerror} (set 'state')") from None
    key = existing_node_key(state)
    assert key is not None  # noqa: S101 - written above
    return key


def existing_node_key(state: Path) -> PrivateKey | None:
    """Return the node's key, None when it has not been created. Raise ConfigError naming the file."""
    path = state / "node_key"
    try:
        if path.stat().st_mode & 0o077:
            raise ConfigError(
                f"{path}: readable by other users (use 'chmod 600 {path}', or delete it to get a new key)"
            )
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror} (set 'state')") from None
    key = key_files.load(path)
    if key.public.kind != keys.ED25519:
        raise ConfigError(
            f"{path}: key type must be {keys.ED25519}, not {key.public.kind} (delete the file to get a new key)"
        )
    return key
