"""Targets for signatures, and for the keys and certificates in them."""

from __future__ import annotations

import base64
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import SSHCertificateBuilder, SSHCertificateType

from collective.errors import SignatureError
from collective.signing import allowed_signers, sshsig
from collective.signing.allowed_signers import signer_line
from collective.signing.certificates import Certificate, is_certificate
from collective.signing.keys import PrivateKey, PublicKey
from collective.signing.ssh_encoding import string
from collective.signing.sshsig import Signature
from fuzz import Target, refusing
from fuzz.mutations import STRING, in_blob, join_blob, split_blob

PAYLOAD = "{}"
WHEN = 1000.0  # Unix seconds


def _rsa_key() -> rsa.RSAPrivateKey:
    """Return the RSA key of the two largest primes of 1024 bits."""
    p, q, e = 2**1024 - 105, 2**1024 - 179, 65537
    d = pow(e, -1, (p - 1) * (q - 1))
    public = rsa.RSAPublicNumbers(e, p * q)
    return rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), public).private_key()


# The keys are the same in each process, so that findings are reproducible.
_AUTHORITY, _ALICE, _CERTIFIED = (Ed25519PrivateKey.from_private_bytes(bytes([number] * 32)) for number in (1, 2, 3))
AUTHORITY = PrivateKey(_AUTHORITY)
KEYS = {
    "alice": PrivateKey(_ALICE),
    "bob": PrivateKey(ec.derive_private_key(2**200, ec.SECP256R1())),
    "carol": PrivateKey(_rsa_key()),
}
LINES = "".join(signer_line(name, key.public) for name, key in KEYS.items())
SIGNERS = allowed_signers.parse(LINES + f"* cert-authority {AUTHORITY.public.line}\n", Path("allowed_signers"))

SIGNATURE_LAYOUT = (6, 4, STRING, STRING, STRING, STRING, STRING)
# Type, nonce, key, serial, role, id, principals, after, before, critical, extensions, reserved, authority, signature.
CERTIFICATE_LAYOUT = (*(STRING,) * 3, 8, 4, STRING, STRING, 8, 8, *(STRING,) * 5)


def certificate(*critical: bytes) -> bytes:
    """Return the blob of a certificate for alice and bob with critical options."""
    builder = SSHCertificateBuilder().public_key(_CERTIFIED.public_key())
    builder = builder.type(SSHCertificateType.USER).valid_principals([b"alice", b"bob"])
    builder = builder.valid_after(0).valid_before(2**40)
    for option in critical:
        builder = builder.add_critical_option(option, b"true")
    return base64.b64decode(builder.sign(_AUTHORITY).public_bytes().split()[1])


def signer(blob: bytes) -> None:
    """Look up and parse the signer of a signature, as a node does."""
    for name in ("alice", "bob"):
        with refusing(SignatureError):
            SIGNERS.signer(blob, name, WHEN)
    with refusing(SignatureError):
        Certificate.read(blob).check("alice", WHEN) if is_certificate(blob) else PublicKey.read(blob)


def signed_by_authority(blob: bytes) -> None:
    """Sign the content of a certificate with the authority, so that more of it is parsed."""
    try:
        parts = split_blob(blob, CERTIFICATE_LAYOUT)
    except SignatureError:
        return
    parts[-2] = AUTHORITY.blob
    signed = join_blob(parts[:-1], CERTIFICATE_LAYOUT[:-1])
    signer(signed + string(AUTHORITY.sign(signed)))


def signature(text: str) -> None:
    """Verify a signature as a node does."""
    with refusing(SignatureError):
        read = Signature.read(text)
        name = next((name for name, key in KEYS.items() if key.blob == read.signer), "alice")
        read.verify(PAYLOAD, SIGNERS.signer(read.signer, name, WHEN).key)


def certificates(data: bytes) -> None:
    """Parse a key or certificate unchanged, and signed by an authority."""
    signer(data)
    signed_by_authority(data)


def signatures(data: bytes) -> None:
    """Parse a signature as text, and as base64 data."""
    signature(data.decode("utf-8", errors="replace"))
    signature(base64.b64encode(data).decode())


SIGNATURE = Target(
    "signature",
    signatures,
    [base64.b64decode(sshsig.sign(key, PAYLOAD)) for key in KEYS.values()],
    in_blob(*SIGNATURE_LAYOUT),
)
CERTIFICATE = Target(
    "certificate",
    certificates,
    [certificate(), certificate(b"force-command"), *(key.blob for key in KEYS.values())],
    in_blob(*CERTIFICATE_LAYOUT),
)
