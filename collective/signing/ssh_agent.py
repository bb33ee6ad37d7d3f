"""Client of the ssh agent, which signs without revealing its keys (draft-miller-ssh-agent, sections 3 and 4).

    request and response   uint32 length · byte type · content

Only two requests are needed. Libraries with an agent client implement all of SSH.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from collective.errors import ConfigError, SignatureError
from collective.signing.keys import CERTIFICATE, KINDS, RSA
from collective.signing.ssh_encoding import SSHReader, string, uint32

_LIST, _KEYS, _SIGN, _SIGNED = 11, 12, 13, 14  # message types
_SHA2_512 = 4  # flag: sign with rsa-sha2-512
_MAX_RESPONSE = 256 * 1024  # bytes, as in OpenSSH
_LIST_TIMEOUT = 5.0  # seconds
_SIGN_TIMEOUT = 60.0  # seconds; the agent may ask its user for confirmation


@dataclass(frozen=True)
class AgentKey:
    """A key or certificate in an agent. `name` is its comment."""

    agent: SSHAgent
    blob: bytes
    name: str

    @property
    def usable(self) -> bool:
        """Whether nodes accept signatures of this key type."""
        return _kind(self.blob) in KINDS

    def sign(self, data: bytes) -> bytes:
        """Return the signature of `data` in SSH encoding. Raise ConfigError when the agent does not sign."""
        return self.agent.sign(self, data)


@dataclass(frozen=True)
class SSHAgent:
    """The agent that listens on the socket `path`."""

    path: str

    @classmethod
    def find(cls, environment: Mapping[str, str] = os.environ) -> SSHAgent | None:
        """Return the agent at SSH_AUTH_SOCK; None when that is not set."""
        path = environment.get("SSH_AUTH_SOCK")
        return cls(path) if path else None

    def identities(self) -> list[AgentKey]:
        """Return its keys and certificates, in its order. Raise ConfigError when it does not respond."""
        response = self._request(bytes([_LIST]), _KEYS)
        try:
            return [AgentKey(self, response.string(), _name(response.string())) for _ in range(response.uint32())]
        except SignatureError as error:
            raise ConfigError(f"ssh agent {self.path}: {error}") from None

    def sign(self, key: AgentKey, data: bytes) -> bytes:
        """Return the signature of `data` by one of its keys. Raise ConfigError when it does not sign."""
        flags = _SHA2_512 if _kind(key.blob) == RSA else 0
        request = bytes([_SIGN]) + string(key.blob) + string(data) + uint32(flags)
        try:
            return self._request(request, _SIGNED).string()
        except SignatureError as error:
            raise ConfigError(f"ssh agent {self.path}: {error}") from None

    def _request(self, request: bytes, expected: int) -> SSHReader:
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(_LIST_TIMEOUT if expected == _KEYS else _SIGN_TIMEOUT)
                connection.connect(self.path)
                connection.sendall(string(request))
                size = int.from_bytes(_receive(connection, 4), "big")
                if not 0 < size <= _MAX_RESPONSE:
                    raise OSError(0, f"invalid response size: {size} bytes")
                response = _receive(connection, size)
        except OSError as error:
            raise ConfigError(f"ssh agent {self.path}: {error.strerror or error}") from None
        if response[0] != expected:
            reason = (
                "it does not list its keys"
                if expected == _KEYS
                else "it refused to sign (check with 'ssh-add -l' that it still has the key)"
            )
            raise ConfigError(f"ssh agent {self.path}: {reason}")
        return SSHReader(response[1:], "its response")


def _receive(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise OSError(0, "connection closed")
        data += part
    return data


def _kind(blob: bytes) -> str:
    """Return the key type of a key or certificate; empty when the blob is not valid."""
    try:
        return SSHReader(blob, "the key").text().removesuffix(CERTIFICATE)
    except SignatureError:
        return ""


def _name(comment: bytes) -> str:
    return comment.decode("utf-8", errors="replace")
