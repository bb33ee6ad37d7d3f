"""The ssh agent: it signs with keys that it does not show (draft-miller-ssh-agent, sections 3 and 4).

    request and answer   uint32 length · byte type · content

Two requests are all that is needed, so they are written here: the libraries that speak to agents bring all of SSH.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from collective.errors import ConfigError, SignatureError
from collective.signing.keys import CERTIFICATE, KINDS, RSA
from collective.signing.ssh_encoding import SSHReader, string, uint32

_LIST, _KEYS, _SIGN, _SIGNED = 11, 12, 13, 14
_SHA2_512 = 4  # flag: an RSA key is to sign by rsa-sha2-512
_LARGEST = 256 * 1024  # bytes of an answer, as OpenSSH has it
_LISTING = 5.0  # seconds that an agent may take to list its keys
_SIGNING = 60.0  # … and to sign: it may ask its user first


@dataclass(frozen=True)
class AgentKey:
    """A key, or a certificate of one, that an agent signs with. `name` is the comment that it was added with."""

    agent: SSHAgent
    blob: bytes
    name: str

    @property
    def usable(self) -> bool:
        """Whether nodes take signatures of such keys."""
        return _kind(self.blob) in KINDS

    def sign(self, data: bytes) -> bytes:
        """Return the signature of `data` as SSH writes it. Raise ConfigError when the agent does not sign."""
        return self.agent.sign(self, data)


@dataclass(frozen=True)
class SSHAgent:
    """The agent that listens on the socket `path`."""

    path: str

    @classmethod
    def find(cls, environment: Mapping[str, str] = os.environ) -> SSHAgent | None:
        """Return the agent that SSH_AUTH_SOCK names, if it does."""
        path = environment.get("SSH_AUTH_SOCK")
        return cls(path) if path else None

    def identities(self) -> list[AgentKey]:
        """Return its keys and certificates, in its order. Raise ConfigError when it does not answer."""
        answer = self._ask(bytes([_LIST]), _KEYS)
        try:
            return [AgentKey(self, answer.string(), _name(answer.string())) for _ in range(answer.uint32())]
        except SignatureError as error:
            raise ConfigError(f"ssh agent {self.path}: {error}") from None

    def sign(self, key: AgentKey, data: bytes) -> bytes:
        """Return the signature of `data` by one of its keys."""
        flags = _SHA2_512 if _kind(key.blob) == RSA else 0
        request = bytes([_SIGN]) + string(key.blob) + string(data) + uint32(flags)
        try:
            return self._ask(request, _SIGNED).string()
        except SignatureError as error:
            raise ConfigError(f"ssh agent {self.path}: {error}") from None

    def _ask(self, request: bytes, expected: int) -> SSHReader:
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(_LISTING if expected == _KEYS else _SIGNING)
                connection.connect(self.path)
                connection.sendall(string(request))
                size = int.from_bytes(_receive(connection, 4), "big")
                if not 0 < size <= _LARGEST:
                    raise OSError(0, f"an answer of {size} bytes")
                answer = _receive(connection, size)
        except OSError as error:
            raise ConfigError(f"ssh agent {self.path}: {error.strerror or error}") from None
        if answer[0] != expected:
            refused = (
                "it lists no keys"
                if expected == _KEYS
                else "it refuses to sign: is the key still in it ('ssh-add -l')?"
            )
            raise ConfigError(f"ssh agent {self.path}: {refused}")
        return SSHReader(answer[1:], "its answer")


def _receive(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise OSError(0, "it hangs up")
        data += part
    return data


def _kind(blob: bytes) -> str:
    """Return the type of the key in a blob, for a certificate that of its key; empty when it has none."""
    try:
        return SSHReader(blob, "the key").text().removesuffix(CERTIFICATE)
    except SignatureError:
        return ""


def _name(comment: bytes) -> str:
    return comment.decode("utf-8", errors="replace")
