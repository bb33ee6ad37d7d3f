"""Which key may sign in whose name: OpenSSH's `allowed_signers` file (ssh-keygen(1), ALLOWED SIGNERS).

    alice@example.com ssh-ed25519 AAAA… what follows is a comment
    bob,bob@example.com namespaces="collective,git",valid-before="20271231" ssh-rsa AAAA…
    *@ops.example.com cert-authority ssh-ed25519 AAAA…

Times are `YYYYMMDD` or `YYYYMMDDHHMM[SS]`, of the machine's own zone, or with a `Z` behind them of UTC.
Names on a plain key's line are exact. Patterns (`*`, `?`, `!` in front) are for authorities, whose certificates name
people one by one: a key that may sign in any name that fits a pattern could name itself after somebody else.
"""

from __future__ import annotations

import fnmatch
import re
import time
from calendar import timegm
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from collective.errors import ConfigError, SignatureError
from collective.signing import NAMESPACE
from collective.signing.certificates import Certificate, is_certificate
from collective.signing.keys import PublicKey, fingerprint

PATTERN = re.compile(r"[*?!]")
_OPTION = re.compile(r'(?P<name>[A-Za-z-]+)(?:="(?P<value>(?:[^"\\]|\\.)*)")?(?:,(?=\S)|(?=\s))')
_NAMES = re.compile(r'\s*(?:"(?P<quoted>[^"]+)"|(?P<plain>[^\s"]+))\s+(?=\S)')
_TIME = re.compile(r"(?P<digits>[0-9]{8}|[0-9]{12}|[0-9]{14})(?P<utc>Z?)", re.IGNORECASE)
_KEY_TYPES = ("ssh-", "ecdsa-", "sk-")  # what a key's type begins with, and no option
_WITH_VALUE = ("namespaces", "valid-after", "valid-before")


@dataclass(frozen=True)
class AllowedSigner:
    """One line: a key, the names that it may sign in, and under which conditions. Times are Unix seconds."""

    names: tuple[str, ...]
    key: PublicKey
    authority: bool = False
    namespaces: tuple[str, ...] = ("*",)
    valid_after: int = 0
    valid_before: int | None = None

    def check(self, name: str, when: float) -> None:
        """Raise SignatureError when this line does not let its key sign (or vouch) for `name` at `when`."""
        if not self.speaks_for(name):
            raise SignatureError(f"{self.key.fingerprint} may not sign as '{name}', but as {', '.join(self.names)}")
        if not fits(NAMESPACE, self.namespaces):
            raise SignatureError(f"{self.key.fingerprint} may sign for {', '.join(self.namespaces)} only")
        if int(when) < self.valid_after:
            raise SignatureError(f"{self.key.fingerprint} is not valid yet")
        if self.valid_before is not None and int(when) > self.valid_before:
            raise SignatureError(f"{self.key.fingerprint} has expired")

    def speaks_for(self, name: str) -> bool:
        """Tell whether `name` is among the names; only an authority's are patterns."""
        return fits(name, self.names) if self.authority else name in self.names


@dataclass(frozen=True)
class Trusted:
    """The key that a signature is to be checked with, and the authority that vouches for it, if one does."""

    key: PublicKey
    authority: PublicKey | None = None


@dataclass(frozen=True)
class AllowedSigners:
    """The lines of a file, by their keys' blobs."""

    entries: dict[bytes, list[AllowedSigner]] = field(default_factory=dict)

    def signer(self, blob: bytes, name: str, when: float) -> Trusted:
        """Return who may sign in `name` at `when` with the key or certificate in `blob`; raise SignatureError.

        `blob` may come from anybody: no key in it is used before it is found here, or vouched for by one that is.
        """
        if not is_certificate(blob):
            return Trusted(self._entry(blob, name, when, authority=False).key)
        certificate = Certificate.read(blob)
        entry = self._entry(certificate.authority, name, when, authority=True)
        return Trusted(certificate.check(name, when), entry.key)

    def _entry(self, blob: bytes, name: str, when: float, *, authority: bool) -> AllowedSigner:
        """Return the first line for the key `blob` that lets it sign; the last one's refusal when none does."""
        role = "authority" if authority else "key"
        refusal = SignatureError(f"the {role} {fingerprint(blob)} is not among the allowed signers")
        for entry in self.entries.get(blob, ()):
            if entry.authority != authority:
                continue
            try:
                entry.check(name, when)
            except SignatureError as error:
                refusal = error
            else:
                return entry
        raise refusal

    def __iter__(self) -> Iterator[AllowedSigner]:
        for entries in self.entries.values():
            yield from entries


def parse(text: str, path: Path) -> AllowedSigners:
    """Return what a file says; raise ConfigError naming file and line for what it cannot mean."""
    signers = AllowedSigners()
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            entry = parse_line(line)
        except SignatureError as error:
            raise ConfigError(f"{path}:{number}: {error}") from None
        signers.entries.setdefault(entry.key.blob, []).append(entry)
    return signers


def parse_line(line: str) -> AllowedSigner:
    """Return what a line says; raise SignatureError for what it cannot mean."""
    found = _NAMES.match(line)
    if not found:
        raise SignatureError("a line has names, options if any, a key's type and the key")
    options, key = _options(line[found.end() :])
    entry = AllowedSigner(
        names=tuple((found["quoted"] or found["plain"]).split(",")),
        key=PublicKey.from_line(key),
        authority="cert-authority" in options,
        namespaces=tuple(options.get("namespaces", "*").split(",")),
        valid_after=_time(options.get("valid-after")) or 0,
        valid_before=_time(options.get("valid-before")),
    )
    _check(entry)
    return entry


def signer_line(name: str, key: PublicKey) -> str:
    """Return the line by which `key` may sign requests, and nothing else, as `name`."""
    return f'{name} namespaces="{NAMESPACE}" {key.line}\n'


def fits(name: str, patterns: Iterable[str]) -> bool:
    """Tell whether a name fits a list of patterns: one of them, and none with a `!` in front (ssh_config(5))."""
    fitting = [pattern for pattern in patterns if fnmatch.fnmatchcase(name, _glob(pattern.removeprefix("!")))]
    return bool(fitting) and not any(pattern.startswith("!") for pattern in fitting)


def _glob(pattern: str) -> str:
    """Return a pattern as fnmatch means it, which knows `[` too; fnmatch does not go back on a `*`, so it is quick."""
    return pattern.replace("[", "[[]")


def _check(entry: AllowedSigner) -> None:
    if not all(entry.names):
        raise SignatureError("a name is empty")
    pattern = next((name for name in entry.names if PATTERN.search(name)), None)
    if pattern and not entry.authority:
        raise SignatureError(f"'{pattern}' is a pattern, which only a cert-authority may have: name its owner")
    if entry.valid_before is not None and entry.valid_before <= entry.valid_after:
        raise SignatureError("valid-before is not after valid-after")


def _options(text: str) -> tuple[dict[str, str], str]:
    """Take the options off a line that has lost its names; return them, and the rest."""
    options: dict[str, str] = {}
    place = 0
    if text.startswith(_KEY_TYPES):
        return options, text
    while found := _OPTION.match(text, place):
        name = found["name"].lower()
        _check_option(name, found["value"], options)
        options[name] = re.sub(r'\\"', '"', found["value"] or "")
        place = found.end()
        if text[place - 1] != ",":
            return options, text[place:].lstrip()
    said = text[place:].split(maxsplit=1)
    raise SignatureError(f"'{said[0][:60] if said else ''}' is no option and no key's type")


def _check_option(name: str, value: str | None, options: dict[str, str]) -> None:
    if name not in (*_WITH_VALUE, "cert-authority"):
        raise SignatureError(f"'{name}' is no option: there are cert-authority, {', '.join(_WITH_VALUE)}")
    if (value is None) == (name in _WITH_VALUE):
        raise SignatureError(
            f'{name}: takes a value in quotes, such as {name}="…"' if value is None else f"{name}: takes no value"
        )
    if name in options:
        raise SignatureError(f"{name}: said twice")


def _time(text: str | None) -> int | None:
    """Return a time as Unix seconds."""
    if text is None:
        return None
    found = _TIME.fullmatch(text)
    if not found:
        raise SignatureError(f"'{text[:60]}' is no time: YYYYMMDD or YYYYMMDDHHMM[SS], with a Z behind it for UTC")
    digits = found["digits"].ljust(14, "0")
    try:
        parts = time.strptime(digits, "%Y%m%d%H%M%S")
        return timegm(parts) if found["utc"] else int(time.mktime(parts))
    except (ValueError, OverflowError):
        raise SignatureError(f"'{text}' is no time: there is no such day or hour") from None
