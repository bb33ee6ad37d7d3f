"""The file of revoked keys: on each line a key, a certificate, or the SHA256 fingerprint of a key, and a comment.

    ssh-ed25519 AAAA… alice's old laptop
    ssh-ed25519-cert-v01@openssh.com AAAA… the certificate of a contractor
    SHA256:Dp2… lost phone

As in `ssh-keygen -Y verify -r`, a certificate revokes the key in it, and so every certificate of that key. Revoking an
authority revokes all its certificates. Binary key revocation lists (`ssh-keygen -k`) are refused.

A line that cannot be read does not void the others: they apply at once, together with the keys revoked before.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from collective import lines
from collective.errors import ConfigError, SignatureError
from collective.reread import PartlyValid
from collective.signing.allowed_signers import TrustedKey
from collective.signing.certificates import certified_key
from collective.signing.keys import blob_in_line, fingerprint

_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")
_KRL = "SSHKRL\n\0"  # PROTOCOL.krl: the beginning of a binary key revocation list
_KINDS = "a line must be a key, a certificate or a SHA256:… fingerprint"


@dataclass(frozen=True)
class RevokedKeys:
    """The fingerprints of the revoked keys in a file."""

    fingerprints: frozenset[str] = frozenset()

    def check(self, trusted: TrustedKey) -> None:
        """Raise SignatureError when the key or its authority is revoked."""
        for key in (trusted.key, trusted.authority):
            if key is not None and key.fingerprint in self.fingerprints:
                raise SignatureError(f"{key.fingerprint} is revoked")

    def __or__(self, other: RevokedKeys) -> RevokedKeys:
        return RevokedKeys(self.fingerprints | other.fingerprints)


def parse(text: str, path: Path) -> RevokedKeys:
    """Return the content of a file, in which bytes that are not UTF-8 are surrogates.

    Raise PartlyValid, with the keys of the other lines, for lines that cannot be read; ConfigError for a binary file.
    """
    if text.startswith(_KRL):
        raise ConfigError(f"{path}: binary key revocation lists (KRL) are not supported ({_KINDS})")
    found: set[str] = set()
    problems: list[str] = []
    for number, line in lines.numbered(text):
        words = line.strip(" \t")
        if words and not words.startswith("#"):
            try:
                found.add(_fingerprint(words))
            except SignatureError as error:
                problems.append(f"{path}:{number}: {error} ({_KINDS})")
        if problem := lines.problem(line):
            problems.append(f"{path}:{number}: {problem}")
    revoked = RevokedKeys(frozenset(found))
    if problems:
        raise PartlyValid(problems, lambda before: before | revoked)
    return revoked


def _fingerprint(line: str) -> str:
    """Return the fingerprint of the key that a line revokes. Raise SignatureError."""
    first = lines.words(line, 1)[0]
    if _FINGERPRINT.fullmatch(first):
        return first
    blob = blob_in_line(line)
    return fingerprint(certified_key(blob))
