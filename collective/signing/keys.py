"""SSH keys: public ones check signatures, private ones make them.

    kind     key                              its signatures
    ed25519  ssh-ed25519                      ssh-ed25519                        RFC 8709
    ECDSA    ecdsa-sha2-nistp256, 384, 521    the same name                      RFC 5656
    RSA      ssh-rsa, 2048 bits and more      rsa-sha2-512, rsa-sha2-256         RFC 8332; SHA-1 is refused

A blob is a key as SSH writes it (RFC 4253, section 6.6); a line is its name and its blob in base64, as in `.pub` files.
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

from collective.errors import SignatureError
from collective.signing.ssh_encoding import SSHReader, mpint, string

ED25519, RSA = "ssh-ed25519", "ssh-rsa"
CERTIFICATE = "-cert-v01@openssh.com"
RSA_SHA2_512 = "rsa-sha2-512"
RSA_BITS = 2048  # NIST SP 800-131A: the smallest RSA key that may still sign

# Key types, and how many values (strings, mpints) a public key of each has in its blob.
KINDS = {ED25519: 1, "ecdsa-sha2-nistp256": 2, "ecdsa-sha2-nistp384": 2, "ecdsa-sha2-nistp521": 2, RSA: 2}

_RSA_HASHES: dict[str, hashes.HashAlgorithm] = {RSA_SHA2_512: hashes.SHA512(), "rsa-sha2-256": hashes.SHA256()}
_CURVE_HASHES: dict[str, hashes.HashAlgorithm] = {
    "secp256r1": hashes.SHA256(),
    "secp384r1": hashes.SHA384(),
    "secp521r1": hashes.SHA512(),
}


class Signer(Protocol):
    """What can sign: a private key, or the ssh agent in its place. `blob` is the public key, or a certificate of it."""

    @property
    def blob(self) -> bytes:
        """The public key or certificate that signatures are checked with."""
        ...

    def sign(self, data: bytes) -> bytes:
        """Return the signature of `data` as SSH writes it: the algorithm's name, and what it makes."""
        ...


def fingerprint(blob: bytes) -> str:
    """Return what people compare keys by, as ssh-keygen shows it: `SHA256:…`."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode("ascii").rstrip("=")


def check_kind(kind: str) -> str:
    """Return the type of a key when such keys may sign; raise SignatureError otherwise."""
    if kind.startswith("sk-"):
        raise SignatureError(f"{kind}: keys on security tokens cannot sign requests: use a key of {', '.join(KINDS)}")
    if kind not in KINDS:
        raise SignatureError(f"'{kind[:60]}' is no type of key that can be used: there are {', '.join(KINDS)}")
    return kind


@dataclass(frozen=True)
class PublicKey:
    """A key that checks signatures. Keys are the same when their blobs are."""

    blob: bytes

    @classmethod
    def read(cls, blob: bytes) -> PublicKey:
        """Return the key in a blob; raise SignatureError for what is none, or too weak."""
        key = cls(blob)
        loaded = key._loaded
        if isinstance(loaded, rsa.RSAPublicKey) and loaded.key_size < RSA_BITS:
            raise SignatureError(f"an RSA key of {loaded.key_size} bits is too weak: {RSA_BITS} are asked for")
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
        """What people compare: `SHA256:…`."""
        return fingerprint(self.blob)

    @property
    def line(self) -> str:
        """The key as `.pub` files show it, without a comment."""
        return f"{self.kind} {base64.b64encode(self.blob).decode('ascii')}"

    def verify(self, data: bytes, signature: bytes) -> None:
        """Check a signature of `data`, as SSH writes it; raise SignatureError when it does not fit."""
        reader = SSHReader(signature, "the signature")
        algorithm, made = reader.text(), reader.string()
        reader.end()
        try:
            self._verify(data, algorithm, made)
        except InvalidSignature:
            raise SignatureError(
                f"the signature of {self.fingerprint} does not fit: what it signs was changed"
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
            raise SignatureError(f"a signature by '{algorithm[:60]}' is none that a key of {self.kind} may make")

    @cached_property
    def _loaded(self) -> Ed25519PublicKey | ec.EllipticCurvePublicKey | rsa.RSAPublicKey:
        kind = check_kind(self.kind)
        line = f"{kind} {base64.b64encode(self.blob).decode('ascii')}".encode()
        try:
            loaded = serialization.load_ssh_public_key(line)
        except (ValueError, UnsupportedAlgorithm, NotImplementedError) as error:
            raise SignatureError(f"no key of {kind}: {error}") from None
        assert isinstance(loaded, (Ed25519PublicKey, ec.EllipticCurvePublicKey, rsa.RSAPublicKey))  # noqa: S101 - KINDS
        return loaded


@dataclass(frozen=True)
class PrivateKey:
    """A key that signs."""

    _key: Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

    @cached_property
    def public(self) -> PublicKey:
        """The key that checks what this one signs."""
        line = self._key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
        return PublicKey.from_line(line.decode("ascii"))

    @property
    def blob(self) -> bytes:
        """The public key's blob."""
        return self.public.blob

    def sign(self, data: bytes) -> bytes:
        """Return the signature of `data` as SSH writes it."""
        key = self._key
        if isinstance(key, rsa.RSAPrivateKey):
            made = key.sign(data, padding.PKCS1v15(), _RSA_HASHES[RSA_SHA2_512])
            return string(RSA_SHA2_512) + string(made)
        if isinstance(key, ec.EllipticCurvePrivateKey):
            r, s = decode_dss_signature(key.sign(data, ec.ECDSA(_CURVE_HASHES[key.curve.name])))
            return string(self.public.kind) + string(mpint(r) + mpint(s))
        return string(ED25519) + string(key.sign(data))

    def text(self) -> bytes:
        """Return the key as OpenSSH keeps it in a file, without a passphrase."""
        return self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        )


def new() -> PrivateKey:
    """Make an Ed25519 key."""
    return PrivateKey(Ed25519PrivateKey.generate())


def blob_in_line(line: str) -> bytes:
    """Return the blob of a key or certificate in a line such as `ssh-ed25519 AAAA… comment`; raise SignatureError."""
    words = line.split(maxsplit=2)
    if len(words) < 2:
        raise SignatureError("no key: a line has a type, such as ssh-ed25519, and the key in base64")
    check_kind(words[0].removesuffix(CERTIFICATE))
    try:
        blob = base64.b64decode(words[1], validate=True)
    except (binascii.Error, ValueError):
        raise SignatureError(f"no key of {words[0]}: not base64") from None
    if SSHReader(blob, "the key").text() != words[0]:
        raise SignatureError(f"a key of another type than {words[0]}, which it is called")
    return blob
