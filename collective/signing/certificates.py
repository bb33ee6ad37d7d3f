"""OpenSSH's user certificates: a key, the names that it may sign in, and the signature of an authority below it all.

PROTOCOL.certkeys: string type · string nonce · the key's values · uint64 serial · uint32 role · string id ·
string principals · uint64 valid after · uint64 valid before · string critical options · string extensions ·
string reserved · string authority's key · string signature of everything before.

Read with our own few lines: `cryptography` reads them too, but believes authorities that sign with SHA-1.
"""

from __future__ import annotations

from dataclasses import dataclass

from collective.errors import SignatureError
from collective.signing.keys import CERTIFICATE, KINDS, PublicKey, check_kind
from collective.signing.ssh_encoding import SSHReader, string

_USER = 1  # PROTOCOL.certkeys: SSH_CERT_TYPE_USER


def is_certificate(blob: bytes) -> bool:
    """Tell whether a blob is a certificate, not a plain key. Raise SignatureError when it is neither."""
    return SSHReader(blob, "the key").text().endswith(CERTIFICATE)


@dataclass(frozen=True)
class Certificate:
    """What an authority says of a key. `valid_after` and `valid_before` are Unix seconds.

    Nothing of it is to be believed before `check`: `key` and `authority` are blobs as they were found.
    """

    key: bytes
    role: int
    principals: tuple[str, ...]
    valid_after: int
    valid_before: int
    critical: tuple[str, ...]
    authority: bytes
    _signed: bytes
    _signature: bytes

    @classmethod
    def read(cls, blob: bytes) -> Certificate:
        """Return the certificate in a blob; raise SignatureError for what is none."""
        reader = SSHReader(blob, "the certificate")
        kind = check_kind(reader.text().removesuffix(CERTIFICATE))
        reader.string()  # the nonce
        key = string(kind) + b"".join(string(reader.string()) for _ in range(KINDS[kind]))
        reader.uint64()  # the serial number
        role = reader.uint32()
        reader.string()  # the id, for people
        principals = _texts(reader.string())
        valid_after, valid_before = reader.uint64(), reader.uint64()
        critical = _names(reader.string())
        reader.string()  # extensions, which nobody has to know
        reader.string()  # reserved
        authority = reader.string()
        signed = blob[: reader.position]
        signature = reader.string()
        reader.end()
        return cls(key, role, principals, valid_after, valid_before, critical, authority, signed, signature)

    def check(self, name: str, when: float) -> PublicKey:
        """Return the key, when the certificate lets it sign in `name` at `when`; raise SignatureError.

        The authority's signature is checked with the key that the certificate names: whether that one is an
        authority at all is for the caller to know.
        """
        PublicKey.read(self.authority).verify(self._signed, self._signature)
        if self.role != _USER:
            raise SignatureError("the certificate is one for hosts, not for users")
        if self.critical:
            raise SignatureError(f"the certificate is restricted by '{self.critical[0]}', which cannot be kept here")
        if name not in self.principals:
            raise SignatureError(f"the certificate is for {', '.join(self.principals) or 'no name'}, not for '{name}'")
        if int(when) < self.valid_after:
            raise SignatureError("the certificate is not valid yet")
        if int(when) >= self.valid_before:
            raise SignatureError("the certificate has expired")
        return PublicKey.read(self.key)


def _texts(packed: bytes) -> tuple[str, ...]:
    """Return the strings that are packed in a string."""
    reader, texts = SSHReader(packed, "the certificate"), []
    while reader.more:
        texts.append(reader.string().decode("utf-8", errors="replace"))
    return tuple(texts)


def _names(packed: bytes) -> tuple[str, ...]:
    """Return the names of options, each of which has a value behind it."""
    return _texts(packed)[::2]
