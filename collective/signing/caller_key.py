"""The key that a caller signs with, as `key` in client.yaml names it.

auto             the ssh agent's first key; without one ~/.ssh/id_ed25519, id_ecdsa or id_rsa
agent            the ssh agent's first key
a path           a private key; its passphrase is asked for on the terminal
a path of .pub   a public key or a certificate: the agent has the private half, or the file without .pub
none             nothing is signed: for tests and labs without keys
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from collective.config import KEY_AGENT, KEY_AUTO, KEY_NONE
from collective.errors import ConfigError, SignatureError
from collective.signing import SignPayload, sshsig, unsigned
from collective.signing.certificates import Certificate, is_certificate
from collective.signing.key_files import Ask, load
from collective.signing.keys import PublicKey, Signer, blob_in_line
from collective.signing.ssh_agent import AgentKey, SSHAgent

_USUAL = ("id_ed25519", "id_ecdsa", "id_rsa")


@dataclass(frozen=True)
class Chosen:
    """A key that can sign, in words where it was found, and the file of its private half; None: the ssh agent's."""

    signer: Signer
    where: str
    file: Path | None = None

    @property
    def public(self) -> PublicKey:
        """The key that checks its signatures; for a certificate the key that it is about."""
        return PublicKey.read(_plain(self.signer.blob))


@dataclass(frozen=True)
class _Certified:
    """A key that signs under the name of a certificate."""

    blob: bytes
    _private: Signer

    def sign(self, data: bytes) -> bytes:
        return self._private.sign(data)


def ask_terminal(path: Path) -> str | None:
    """Ask for a passphrase on the terminal, without echo; None when there is no terminal."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return None
    return getpass.getpass(f"Passphrase of {path}: ")


def signing(key: Path, ask: Ask = ask_terminal) -> SignPayload:
    """Return what signs with the key that `key` names.

    It is looked for at the first signature: nobody is asked for a passphrase before everything else is right.
    """
    if key == KEY_NONE:
        return unsigned
    chosen = cache(lambda: choose(key, ask))
    return lambda payload: sshsig.sign(chosen().signer, payload)


def choose(key: Path, ask: Ask = ask_terminal, environment: Mapping[str, str] = os.environ) -> Chosen:
    """Return the key that `key` names; raise ConfigError saying what to do when there is none."""
    agent = SSHAgent.find(environment)
    if key == KEY_AGENT:
        return _first(agent)
    if key == KEY_AUTO:
        return _usual(agent, ask)
    if key.suffix == ".pub":
        return _named(key, agent, ask)
    return _in_file(key, ask)


def _first(agent: SSHAgent | None) -> Chosen:
    if agent is None:
        raise ConfigError("key: agent: SSH_AUTH_SOCK is not set: start an ssh agent, or name a file")
    found = next((one for one in agent.identities() if one.usable), None)
    if found is None:
        raise ConfigError("key: agent: the ssh agent has no key that can sign requests: 'ssh-add' adds yours")
    return _in_agent(found)


def _usual(agent: SSHAgent | None, ask: Ask) -> Chosen:
    try:
        return _first(agent)
    except ConfigError:  # an agent that is gone, or empty: as ssh does, go on to the files
        pass
    folder = Path.home() / ".ssh"
    for name in _USUAL:
        if (folder / name).exists():
            return _in_file(folder / name, ask)
    raise ConfigError(
        f"there is no key to sign with: neither in an ssh agent nor as {', '.join(_USUAL)} in {folder}: "
        "make one with 'ssh-keygen -t ed25519', or name yours by 'key' in client.yaml"
    )


def _named(path: Path, agent: SSHAgent | None, ask: Ask) -> Chosen:
    """Return what signs with the public key or certificate in a file."""
    try:
        blob = blob_in_line(path.read_text(encoding="utf-8"))
        plain = _plain(blob)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or 'not text'}") from None
    except SignatureError as error:
        raise ConfigError(f"{path}: {error}") from None
    held = _held(agent, blob) or _held(agent, plain)
    if held is not None:
        return Chosen(_Certified(blob, held), f"{path}, by the ssh agent")
    private = path.with_name(path.name.removesuffix(".pub").removesuffix("-cert"))
    if not private.exists():
        raise ConfigError(f"{path}: its private half is neither in an ssh agent nor in {private}")
    loaded = load(private, ask)
    if loaded.blob != plain:
        raise ConfigError(f"{path}: the key in {private} is another one")
    return Chosen(_Certified(blob, loaded), f"{path} and {private}", private)


def _held(agent: SSHAgent | None, blob: bytes) -> AgentKey | None:
    """Return the agent's key of this blob; None when there is no such key, or no agent that answers."""
    try:
        keys = agent.identities() if agent else []
    except ConfigError:
        return None
    return next((key for key in keys if key.blob == blob), None)


def _in_file(path: Path, ask: Ask) -> Chosen:
    return Chosen(load(path, ask), str(path), path)


def _in_agent(key: AgentKey) -> Chosen:
    return Chosen(key, f"'{key.name}' in the ssh agent")


def _plain(blob: bytes) -> bytes:
    return Certificate.read(blob).key if is_certificate(blob) else blob
