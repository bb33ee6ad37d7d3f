"""Signatures in OpenSSH's format for file signatures (PROTOCOL.sshsig).

    signature   "SSHSIG" · uint32 version · string public key · string namespace · string reserved ·
                string hash · string signature
    signed      "SSHSIG" · string namespace · string reserved · string hash · string digest of the payload

`ssh-keygen -Y verify` verifies them if BEGIN and END lines are added to the base64. The hash is SHA-512, the default of
`ssh-keygen -Y sign`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass

from collective.errors import SignatureError
from collective.signing import NAMESPACE, SignPayload
from collective.signing.keys import PublicKey, Signer
from collective.signing.ssh_encoding import SSHReader, string, uint32

_MAGIC = b"SSHSIG"
_VERSION = 1
_HASH = "sha512"
MAX_LENGTH = 64 * 1024  # characters of base64; certificates with many names and RSA signatures are much shorter


@dataclass(frozen=True)
class Signature:
    """A parsed signature. `signer` is the blob of the key or certificate in it, which is untrusted."""

    signer: bytes
    _made: bytes
    _namespace: str

    @classmethod
    def read(cls, text: str, purpose: str = NAMESPACE) -> Signature:
        """Return the signature in a base64 text. Raise SignatureError when it is not valid or has another purpose."""
        if len(text) > MAX_LENGTH:
            raise SignatureError(f"the signature is longer than {MAX_LENGTH} characters")
        try:
            reader = SSHReader(base64.b64decode(text, validate=True), "the signature")
        except (binascii.Error, ValueError):
            raise SignatureError("the signature is not base64") from None
        if reader.take(len(_MAGIC)) != _MAGIC or reader.uint32() != _VERSION:
            raise SignatureError("the signature is not an SSHSIG of version 1")
        signer, namespace, reserved, hash_ = reader.string(), reader.string(), reader.string(), reader.string()
        made = reader.string()
        reader.end()
        if reserved:
            raise SignatureError("the signature has a later version (its reserved field is not empty)")
        if namespace != purpose.encode():
            raise SignatureError(f"the signature has the namespace '{_shown(namespace)}', not '{purpose}'")
        if hash_ != _HASH.encode():
            raise SignatureError(f"the signature uses the hash '{_shown(hash_)}', not {_HASH}")
        return cls(signer, made, purpose)

    def verify(self, payload: str, key: PublicKey) -> None:
        """Verify that `key` signed `payload`. Raise SignatureError otherwise."""
        key.verify(_signed(payload, self._namespace), self._made)


def sign(signer: Signer, payload: str, namespace: str = NAMESPACE) -> str:
    """Return the signature of a payload in base64; it is valid in one namespace."""
    made = signer.sign(_signed(payload, namespace))
    whole = _MAGIC + uint32(_VERSION) + _strings(signer.blob, namespace, b"", _HASH, made)
    return base64.b64encode(whole).decode("ascii")


def signing_with(signer: Signer) -> SignPayload:
    """Return a function that signs payloads with a key."""
    return lambda payload: sign(signer, payload)


def _signed(payload: str, namespace: str) -> bytes:
    digest = hashlib.sha512(payload.encode()).digest()
    return _MAGIC + _strings(namespace, b"", _HASH, digest)


def _strings(*values: bytes | str) -> bytes:
    return b"".join(string(value) for value in values)


def _shown(name: bytes) -> str:
    return name[:60].decode("ascii", errors="replace")
