"""OpenSSH user certificates: a key and the names that it may sign for, signed by an authority.

PROTOCOL.certkeys: string type · string nonce · the key's values · uint64 serial · uint32 role · string id ·
string principals · uint64 valid after · uint64 valid before · string critical options · string extensions ·
string reserved · string authority's key · string signature of everything before.

Not read with `cryptography`, because that accepts signatures of authorities that use SHA-1.
"""

from __future__ import annotations

from dataclasses import dataclass

from collective.errors import SignatureError
from collective.signing.keys import CERTIFICATE, KINDS, PublicKey, check_kind
from collective.signing.ssh_encoding import SSHReader, string

_USER = 1  # PROTOCOL.certkeys: SSH_CERT_TYPE_USER


def is_certificate(blob: bytes) -> bool:
    """Return whether a blob is a certificate, not a plain key. Raise SignatureError when it is neither."""
    return SSHReader(blob, "the key").text().endswith(CERTIFICATE)


@dataclass(frozen=True)
class Certificate:
    """A certificate. `key` and `authority` are key blobs; `valid_after` and `valid_before` are Unix seconds.

    Its content is untrusted before `check`.
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
        """Return the certificate in a blob. Raise SignatureError when it is not valid."""
        reader = SSHReader(blob, "the certificate")
        kind = check_kind(reader.text().removesuffix(CERTIFICATE))
        reader.string()  # the nonce
        key = string(kind) + b"".join(string(reader.string()) for _ in range(KINDS[kind]))
        reader.uint64()  # the serial number
        role = reader.uint32()
        reader.string()  # the key id, a comment
        principals = _strings(reader.string())
        valid_after, valid_before = reader.uint64(), reader.uint64()
        critical = _option_names(reader.string())
        reader.string()  # extensions, which may be ignored
        reader.string()  # reserved
        authority = reader.string()
        signed = blob[: reader.position]
        signature = reader.string()
        reader.end()
        return cls(key, role, principals, valid_after, valid_before, critical, authority, signed, signature)

    def check(self, name: str, when: float) -> PublicKey:
        """Return the key if the certificate allows it to sign for `name` at `when`; raise SignatureError.

        This verifies the signature with the authority's key in the certificate. The caller must check that this
        authority is trusted.
        """
        PublicKey.read(self.authority).verify(self._signed, self._signature)
        if self.role != _USER:
            raise SignatureError("the certificate is a host certificate, not a user certificate")
        if self.critical:
            raise SignatureError(
                f"the certificate has the critical option '{self.critical[0]}', which is not supported"
            )
        if name not in self.principals:
            raise SignatureError(f"the certificate is for {', '.join(self.principals) or 'no name'}, not for '{name}'")
        if int(when) < self.valid_after:
            raise SignatureError("the certificate is not valid yet")
        if int(when) >= self.valid_before:
            raise SignatureError("the certificate has expired")
        return PublicKey.read(self.key)


def _strings(packed: bytes) -> tuple[str, ...]:
    """Return the strings packed in an SSH string."""
    reader, strings = SSHReader(packed, "the certificate"), []
    while reader.more:
        strings.append(reader.string().decode("utf-8", errors="replace"))
    return tuple(strings)


def _option_names(packed: bytes) -> tuple[str, ...]:
    """Return the names of packed options, each of which is followed by its value."""
    return _strings(packed)[::2]


def certified_key(blob: bytes) -> bytes:
    """Return the blob of the plain key in a blob: the certified key of a certificate, else the key itself."""
    return Certificate.read(blob).key if is_certificate(blob) else blob
