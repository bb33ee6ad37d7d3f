"""The key that a caller signs with, selected by `key` in client.yaml.

auto             the first key of the ssh agent, else ~/.ssh/id_ed25519, id_ecdsa or id_rsa
agent            the first key of the ssh agent
PATH             a private key file; prompts for its passphrase on the terminal
PATH.pub         a public key or certificate; its private key is in the ssh agent or in the file without .pub
none             requests are not signed: for tests and labs without keys
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from collective import terminal
from collective.config import KEY_AGENT, KEY_AUTO, KEY_NONE
from collective.errors import ConfigError, SignatureError
from collective.signing import NAMESPACE, SignPayload, sshsig, unsigned
from collective.signing.certificates import certified_key
from collective.signing.key_files import Ask, load
from collective.signing.keys import PublicKey, Signer, blob_in_line
from collective.signing.ssh_agent import AgentKey, SSHAgent
from collective.user_folders import home_folder

_DEFAULT_NAMES = ("id_ed25519", "id_ecdsa", "id_rsa")


@dataclass(frozen=True)
class Chosen:
    """A key that can sign, a description of its location, and its private key file (None: in the ssh agent)."""

    signer: Signer
    where: str
    file: Path | None = None

    @property
    def public(self) -> PublicKey:
        """The key that verifies its signatures; for a certificate, the certified key."""
        return PublicKey.read(certified_key(self.signer.blob))


@dataclass(frozen=True)
class _Certified:
    """A private key that signs with the blob of its certificate or public key."""

    blob: bytes
    _private: Signer

    def sign(self, data: bytes) -> bytes:
        return self._private.sign(data)


def ask_terminal(path: Path) -> str | None:
    """Prompt for a passphrase on the terminal, without echo. Return None without a terminal."""
    return terminal.ask_secret(f"Passphrase of {path}: ") if terminal.exists() else None


def signing(key: Path, ask: Ask = ask_terminal, namespace: str = NAMESPACE) -> SignPayload:
    """Return the function that signs with the key selected by `key`, for one purpose.

    The key is loaded at the first signature, so that no passphrase is prompted for before other errors are found.
    """
    if key == KEY_NONE:
        return unsigned
    chosen = cache(lambda: choose(key, ask))
    return lambda payload: sshsig.sign(chosen().signer, payload, namespace)


def choose(key: Path, ask: Ask = ask_terminal, environment: Mapping[str, str] = os.environ) -> Chosen:
    """Return the key selected by `key`. Raise ConfigError with a hint when it is not found."""
    agent = SSHAgent.find(environment)
    if key == KEY_AGENT:
        return _first_agent_key(agent)
    if key == KEY_AUTO:
        return _default(agent, ask)
    if key.suffix == ".pub":
        return _from_public_file(key, agent, ask)
    return _from_file(key, ask)


def public_key(path: Path) -> PublicKey:
    """Return the key in a file with a public key, or the certified key of a certificate; raise ConfigError."""
    try:
        return PublicKey.read(certified_key(_blob_in_file(path)))
    except SignatureError as error:
        raise ConfigError(f"{path}: {error}") from None


def _blob_in_file(path: Path) -> bytes:
    """Return the key or certificate in a file, which can be read; raise ConfigError."""
    try:
        blob = blob_in_line(path.read_text(encoding="utf-8").lstrip().partition("\n")[0])
        certified_key(blob)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or 'not text'}") from None
    except SignatureError as error:
        raise ConfigError(f"{path}: {error}") from None
    return blob


def _first_agent_key(agent: SSHAgent | None) -> Chosen:
    if agent is None:
        raise ConfigError("key: agent: SSH_AUTH_SOCK is not set (start an ssh agent, or set 'key' to a file)")
    found = next((key for key in agent.identities() if key.usable), None)
    if found is None:
        raise ConfigError("key: agent: the ssh agent has no key that can sign requests (use 'ssh-add')")
    return _from_agent(found)


def _default(agent: SSHAgent | None, ask: Ask) -> Chosen:
    try:
        return _first_agent_key(agent)
    except ConfigError:  # no agent, or an agent without keys: use the files, as ssh does
        pass
    folder = home_folder() / ".ssh"
    for name in _DEFAULT_NAMES:
        if (folder / name).exists():
            return _from_file(folder / name, ask)
    raise ConfigError(
        f"no key found in an ssh agent or as {', '.join(_DEFAULT_NAMES)} in {folder} "
        "(create one with 'ssh-keygen -t ed25519', or set 'key' in client.yaml)"
    )


def _from_public_file(path: Path, agent: SSHAgent | None, ask: Ask) -> Chosen:
    """Return the key for a file with a public key or certificate."""
    blob = _blob_in_file(path)
    plain = certified_key(blob)
    agent_key = _agent_key(agent, blob) or _agent_key(agent, plain)
    if agent_key is not None:
        return Chosen(_Certified(blob, agent_key), f"{path}, in the ssh agent")
    private = path.with_name(path.name.removesuffix(".pub").removesuffix("-cert"))
    if not private.exists():
        raise ConfigError(f"{path}: its private key is neither in an ssh agent nor in {private}")
    loaded = load(private, ask)
    if loaded.blob != plain:
        raise ConfigError(f"{path}: {private} holds a different key")
    return Chosen(_Certified(blob, loaded), f"{path} and {private}", private)


def _agent_key(agent: SSHAgent | None, blob: bytes) -> AgentKey | None:
    """Return the agent's key with this blob; None without such a key or without a working agent."""
    try:
        keys = agent.identities() if agent else []
    except ConfigError:
        return None
    return next((key for key in keys if key.blob == blob), None)


def _from_file(path: Path, ask: Ask) -> Chosen:
    return Chosen(load(path, ask), str(path), path)


def _from_agent(key: AgentKey) -> Chosen:
    return Chosen(key, f"'{key.name}' in the ssh agent")
