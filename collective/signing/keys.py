"""SSH keys: private keys sign, public keys verify.

    kind     key type                         signature algorithms
    ed25519  ssh-ed25519                      ssh-ed25519                        RFC 8709
    ECDSA    ecdsa-sha2-nistp256, 384, 521    the same name                      RFC 5656
    RSA      ssh-rsa, 2048 bits and more      rsa-sha2-512, rsa-sha2-256         RFC 8332; SHA-1 is rejected

A blob is a key in SSH encoding (RFC 4253, section 6.6). A line is its type and its blob in base64, as in `.pub` files.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from collective import lines
from collective.errors import SignatureError
from collective.signing.ssh_encoding import SSHReader, mpint, string

ED25519, RSA = "ssh-ed25519", "ssh-rsa"
CERTIFICATE = "-cert-v01@openssh.com"
RSA_SHA2_512 = "rsa-sha2-512"
RSA_BITS = 2048  # NIST SP 800-131A: the minimum for signatures

# Key types, and the number of values (strings, mpints) in the blob of a public key.
KINDS = {ED25519: 1, "ecdsa-sha2-nistp256": 2, "ecdsa-sha2-nistp384": 2, "ecdsa-sha2-nistp521": 2, RSA: 2}

_RSA_HASHES: dict[str, hashes.HashAlgorithm] = {RSA_SHA2_512: hashes.SHA512(), "rsa-sha2-256": hashes.SHA256()}
_CURVE_HASHES: dict[str, hashes.HashAlgorithm] = {
    "secp256r1": hashes.SHA256(),
    "secp384r1": hashes.SHA384(),
    "secp521r1": hashes.SHA512(),
}


class Signer(Protocol):
    """A key that can sign: a private key or a key in the ssh agent."""

    @property
    def blob(self) -> bytes:
        """The public key or certificate that verifies the signatures."""
        ...

    def sign(self, data: bytes) -> bytes:
        """Return the signature of `data` in SSH encoding: the algorithm name and the signature value."""
        ...


def fingerprint(blob: bytes) -> str:
    """Return the fingerprint of a key as ssh-keygen shows it: `SHA256:…`."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode("ascii").rstrip("=")


def check_kind(kind: str) -> str:
    """Return the key type if it is supported; raise SignatureError otherwise."""
    if kind.startswith("sk-"):
        raise SignatureError(f"{kind}: security keys (FIDO) are not supported (supported: {', '.join(KINDS)})")
    if kind not in KINDS:
        raise SignatureError(f"unsupported key type '{kind[:60]}' (supported: {', '.join(KINDS)})")
    return kind


@dataclass(frozen=True)
class PublicKey:
    """A key that verifies signatures. Keys with the same blob are equal."""

    blob: bytes

    @classmethod
    def read(cls, blob: bytes) -> PublicKey:
        """Return the key in a blob. Raise SignatureError when it is not valid or too weak."""
        key = cls(blob)
        loaded = key._loaded
        if isinstance(loaded, rsa.RSAPublicKey) and loaded.key_size < RSA_BITS:
            raise SignatureError(f"RSA key of {loaded.key_size} bits is too weak (minimum: {RSA_BITS} bits)")
        return key

    @classmethod
    def from_line(cls, line: str) -> PublicKey:
        """Return the key in a line such as `ssh-ed25519 AAAA… comment`; raise SignatureError."""
        return cls.read(blob_in_line(line))

    @property
    def kind(self) -> str:
        """The key's type, such as `ssh-ed25519`."""
        return SSHReader(self.blob, "the key").text()

    @property
    def fingerprint(self) -> str:
        """The fingerprint: `SHA256:…`."""
        return fingerprint(self.blob)

    @property
    def line(self) -> str:
        """The key as in a `.pub` file, without a comment."""
        return f"{self.kind} {base64.b64encode(self.blob).decode('ascii')}"

    def verify(self, data: bytes, signature: bytes) -> None:
        """Verify a signature of `data` in SSH encoding. Raise SignatureError when it is not valid."""
        reader = SSHReader(signature, "the signature")
        algorithm, made = reader.text(), reader.string()
        reader.end()
        try:
            self._verify(data, algorithm, made)
        except InvalidSignature:
            raise SignatureError(
                f"the signature of {self.fingerprint} is not valid (the signed content was changed)"
            ) from None

    def _verify(self, data: bytes, algorithm: str, made: bytes) -> None:
        key = self._loaded
        if isinstance(key, rsa.RSAPublicKey) and algorithm in _RSA_HASHES:
            key.verify(made, data, padding.PKCS1v15(), _RSA_HASHES[algorithm])
        elif isinstance(key, Ed25519PublicKey) and algorithm == self.kind:
            key.verify(made, data)
        elif isinstance(key, ec.EllipticCurvePublicKey) and algorithm == self.kind:
            numbers = SSHReader(made, "the signature")
            both = encode_dss_signature(numbers.mpint(), numbers.mpint())
            numbers.end()
            key.verify(both, data, ec.ECDSA(_CURVE_HASHES[key.curve.name]))
        else:
            raise SignatureError(
                f"the signature algorithm '{algorithm[:60]}' is not valid for a key of type {self.kind}"
            )

    @cached_property
    def _loaded(self) -> Ed25519PublicKey | ec.EllipticCurvePublicKey | rsa.RSAPublicKey:
        kind = check_kind(self.kind)
        if kind == ED25519:
            return self._loaded_ed25519()
        line = f"{kind} {base64.b64encode(self.blob).decode('ascii')}".encode()
        try:
            loaded = serialization.load_ssh_public_key(line)
        except (ValueError, IndexError, UnsupportedAlgorithm, NotImplementedError) as error:
            # IndexError: cryptography 42, of a key that is cut off
            raise SignatureError(f"not a key of type {kind}: {error}") from None
        assert isinstance(loaded, (Ed25519PublicKey, ec.EllipticCurvePublicKey, rsa.RSAPublicKey))  # noqa: S101 - KINDS
        return loaded

    def _loaded_ed25519(self) -> Ed25519PublicKey:
        """Return the key without the parser of cryptography, which takes ten times as long (RFC 8709, 4)."""
        reader = SSHReader(self.blob, "the key")
        reader.text()
        value = reader.string()
        reader.end()
        try:
            return Ed25519PublicKey.from_public_bytes(value)
        except ValueError as error:
            raise SignatureError(f"not a key of type {ED25519}: {error}") from None


@dataclass(frozen=True)
class PrivateKey:
    """A key that can sign."""

    _key: Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

    @cached_property
    def public(self) -> PublicKey:
        """The key that verifies the signatures of this one."""
        line = self._key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
        return PublicKey.from_line(line.decode("ascii"))

    @property
    def blob(self) -> bytes:
        """The blob of the public key."""
        return self.public.blob

    def sign(self, data: bytes) -> bytes:
        """Return the signature of `data` in SSH encoding."""
        key = self._key
        if isinstance(key, rsa.RSAPrivateKey):
            made = key.sign(data, padding.PKCS1v15(), _RSA_HASHES[RSA_SHA2_512])
            return string(RSA_SHA2_512) + string(made)
        if isinstance(key, ec.EllipticCurvePrivateKey):
            r, s = decode_dss_signature(key.sign(data, ec.ECDSA(_CURVE_HASHES[key.curve.name])))
            return string(self.public.kind) + string(mpint(r) + mpint(s))
        return string(ED25519) + string(key.sign(data))

    def text(self) -> bytes:
        """Return the key in OpenSSH's private key file format, without a passphrase."""
        return self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        )


def new() -> PrivateKey:
    """Generate an Ed25519 key."""
    return PrivateKey(Ed25519PrivateKey.generate())


def blob_in_line(line: str) -> bytes:
    """Return the blob of the key or certificate in a line `ssh-ed25519 AAAA… comment`. Raise SignatureError."""
    words = lines.words(line, 2)
    if len(words) < 2:
        raise SignatureError("not a key: must be a type, such as ssh-ed25519, and the key in base64")
    check_kind(words[0].removesuffix(CERTIFICATE))
    try:
        blob = base64.b64decode(words[1], validate=True)
        if base64.b64encode(blob).decode() != words[1]:  # such as more padding than needed, which OpenSSH refuses
            raise ValueError
    except (binascii.Error, ValueError):
        raise SignatureError(f"not a key of type {words[0]}: not base64") from None
    if SSHReader(blob, "the key").text() != words[0]:
        raise SignatureError(f"the key is not of type {words[0]}, which the line begins with")
    return blob
