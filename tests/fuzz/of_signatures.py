"""What a stranger says of himself: a signature, and the key or certificate in it."""

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
from fuzz.mutations import STRING, in_blob, put_together, taken_apart

PAYLOAD = "{}"
WHEN = 1000.0  # Unix seconds


def _rsa_key() -> rsa.RSAPrivateKey:
    """Return the RSA key of the two largest primes of 1024 bits."""
    p, q, e = 2**1024 - 105, 2**1024 - 179, 65537
    d = pow(e, -1, (p - 1) * (q - 1))
    public = rsa.RSAPublicNumbers(e, p * q)
    return rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), public).private_key()


# The same keys in each process, so that an input that was found means the same in the next.
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
    """Return the blob of a certificate by which alice and bob may sign, restricted by critical options."""
    builder = SSHCertificateBuilder().public_key(_CERTIFIED.public_key())
    builder = builder.type(SSHCertificateType.USER).valid_principals([b"alice", b"bob"])
    builder = builder.valid_after(0).valid_before(2**40)
    for option in critical:
        builder = builder.add_critical_option(option, b"true")
    return base64.b64decode(builder.sign(_AUTHORITY).public_bytes().split()[1])


def stranger(blob: bytes) -> None:
    """Do with the signer that a signature names what a node does with it."""
    for name in ("alice", "bob"):
        with refusing(SignatureError):
            SIGNERS.signer(blob, name, WHEN)
    with refusing(SignatureError):
        Certificate.read(blob).check("alice", WHEN) if is_certificate(blob) else PublicKey.read(blob)


def vouched(blob: bytes) -> None:
    """Have the authority sign whatever a certificate says, so that there is more to be read."""
    try:
        parts = taken_apart(blob, CERTIFICATE_LAYOUT)
    except SignatureError:
        return
    parts[-2] = AUTHORITY.blob
    signed = put_together(parts[:-1], CERTIFICATE_LAYOUT[:-1])
    stranger(signed + string(AUTHORITY.sign(signed)))


def signature(text: str) -> None:
    """Check a signature as a node does."""
    with refusing(SignatureError):
        read = Signature.read(text)
        name = next((name for name, key in KEYS.items() if key.blob == read.signer), "alice")
        read.verify(PAYLOAD, SIGNERS.signer(read.signer, name, WHEN).key)


def certificates(data: bytes) -> None:
    """Read a key or certificate as it is, and with an authority behind it."""
    stranger(data)
    vouched(data)


def signatures(data: bytes) -> None:
    """Read a signature as a text, and as what a text in base64 holds."""
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
