"""The file of revoked keys: a key, or the SHA256 fingerprint of a key, on each line, and an optional comment.

    ssh-ed25519 AAAA… alice's old laptop
    SHA256:Dp2… lost phone

Revoking an authority revokes all its certificates.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from collective.errors import ConfigError, SignatureError
from collective.signing.allowed_signers import TrustedKey
from collective.signing.keys import blob_in_line, fingerprint

_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")


@dataclass(frozen=True)
class RevokedKeys:
    """The fingerprints of the revoked keys in a file."""

    fingerprints: frozenset[str] = frozenset()

    def check(self, trusted: TrustedKey) -> None:
        """Raise SignatureError when the key or its authority is revoked."""
        for key in (trusted.key, trusted.authority):
            if key is not None and key.fingerprint in self.fingerprints:
                raise SignatureError(f"{key.fingerprint} is revoked")


def parse(text: str, path: Path) -> RevokedKeys:
    """Return the content of a file. Raise ConfigError naming file and line."""
    found = set()
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split(maxsplit=1)
        if not words or words[0].startswith("#"):
            continue
        try:
            found.add(words[0] if _FINGERPRINT.fullmatch(words[0]) else fingerprint(blob_in_line(line.strip())))
        except SignatureError as error:
            raise ConfigError(f"{path}:{number}: {error} (a line must be a key or its SHA256:… fingerprint)") from None
    return RevokedKeys(frozenset(found))
