"""Sign payloads before they are sent, and verify the signatures of received ones.

    sign(payload)                             → signature          sshsig.signing_with(key)
    verify(payload, signature, caller, when)  → fingerprint        node/trust.py

    ssh_encoding     the data types of SSH (RFC 4251)
    keys             public and private keys, and their signatures
    key_files        private keys in files
    certificates     OpenSSH user certificates
    ssh_agent        client of the ssh agent
    sshsig           OpenSSH file signatures, which `ssh-keygen -Y verify` verifies too
    allowed_signers  OpenSSH's file of keys and the caller names that they may sign for
    revoked_keys     the file of revoked keys
    caller_key       the caller's key, from a file or the ssh agent

`keys` imports `cryptography`, which is slow to import. Import `keys` only where it is needed.
"""

from __future__ import annotations

from collections.abc import Callable

NAMESPACE = "collective"  # of signatures (PROTOCOL.sshsig): they are not valid for any other purpose
RUN_NAMESPACE = "collective-run"  # of statements in the record of a run
PLAN_NAMESPACE = "collective-plan"  # of signatures on saved plans: none of them is valid for a request

# Return the signature of a payload for the envelope: an SSHSIG in base64. None: unsigned.
SignPayload = Callable[[str], "str | None"]

# Return the fingerprint of the key that signed a payload for a caller, at a time in Unix seconds; None for an unsigned
# payload where those are accepted. Raise SignatureError otherwise.
VerifyPayload = Callable[[str, "str | None", str, float], "str | None"]


def unsigned(_payload: str) -> None:
    """Return no signature. For tests and labs without keys."""


def accept_unsigned(_payload: str, _signature: str | None, _caller: str, _when: float) -> None:
    """Accept every payload. For tests and labs without keys."""
