"""Which keys may sign no longer: a file with a key, or a key's SHA256 fingerprint, on each line.

    ssh-ed25519 AAAA… alice's old laptop
    SHA256:Dp2… lost in a train

An authority that is revoked takes all its certificates along.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from collective.errors import ConfigError, SignatureError
from collective.signing.allowed_signers import Trusted
from collective.signing.keys import blob_in_line, fingerprint

_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")


@dataclass(frozen=True)
class RevokedKeys:
    """The fingerprints in a file."""

    fingerprints: frozenset[str] = frozenset()

    def check(self, trusted: Trusted) -> None:
        """Raise SignatureError when the key or its authority is revoked."""
        for key in (trusted.key, trusted.authority):
            if key is not None and key.fingerprint in self.fingerprints:
                raise SignatureError(f"{key.fingerprint} is revoked")


def parse(text: str, path: Path) -> RevokedKeys:
    """Return what a file says; raise ConfigError naming file and line."""
    found = set()
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split(maxsplit=1)
        if not words or words[0].startswith("#"):
            continue
        try:
            found.add(words[0] if _FINGERPRINT.fullmatch(words[0]) else fingerprint(blob_in_line(line.strip())))
        except SignatureError as error:
            raise ConfigError(f"{path}:{number}: {error}: a line holds a key or its SHA256:… fingerprint") from None
    return RevokedKeys(frozenset(found))
