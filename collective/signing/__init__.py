"""Who asked, and who answered: what signs a payload on its way out, and what checks it on its way in.

    sign(payload)                             → signature          sshsig.signing_with(a key)
    verify(payload, signature, caller, when)  → fingerprint        node/trust.py

    wire             RFC 4251: the strings and numbers that everything below is made of
    keys             public keys, private keys, and what they sign
    keyfiles         private keys in files
    certificates     OpenSSH's certificates: a key that an authority vouches for
    agent            the ssh agent: it signs, and never shows its keys
    sshsig           OpenSSH's signatures of files, which `ssh-keygen -Y verify` checks too
    allowed_signers  OpenSSH's file: which key may sign in whose name
    revoked_keys     … and which may no longer
    reread           files that are read again when they change
    choice           the caller's key: from a file, or in the agent

`cryptography` does the mathematics; it is loaded by `keys`, which is therefore imported only when it is needed.
"""

from __future__ import annotations

from collections.abc import Callable

NAMESPACE = "collective"  # PROTOCOL.sshsig: what the signature is for, so that it serves for nothing else

# Return the signature of a payload, as the envelope carries it: the text of an SSHSIG, in base64.
SignPayload = Callable[[str], "str | None"]

# Return the fingerprint of the key that signed a payload in the name of a caller, at a time in Unix seconds;
# None for one that need not be signed. Raise SignatureError for everything that is not to be believed.
VerifyPayload = Callable[[str, "str | None", str, float], "str | None"]


def unsigned(_payload: str) -> None:
    """Sign nothing: for tests and labs without keys."""


def accept_unsigned(_payload: str, _signature: str | None, _caller: str, _when: float) -> None:
    """Believe whoever may write to the queue: for tests and labs without keys."""
