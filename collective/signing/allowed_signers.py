"""The keys that may sign, and for which caller names: OpenSSH's `allowed_signers` file (ssh-keygen(1)).

    alice@example.com ssh-ed25519 AAAA… comment
    bob,bob@example.com namespaces="collective,git",valid-before="20271231" ssh-rsa AAAA…
    *@ops.example.com cert-authority ssh-ed25519 AAAA…

Times are `YYYYMMDD` or `YYYYMMDDHHMM[SS]` in local time, or in UTC with a `Z` at the end.
Names of a plain key are exact. Patterns (`*`, `?`, a leading `!`) are for authorities only, because their certificates
list exact names: a plain key with a pattern could sign for other callers.
"""

from __future__ import annotations

import fnmatch
import re
import time
from calendar import timegm
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from collective import lines
from collective.errors import ConfigError, SignatureError
from collective.signing import NAMESPACE
from collective.signing.certificates import Certificate, is_certificate
from collective.signing.keys import PublicKey, fingerprint

PATTERN = re.compile(r"[*?!]")
_OPTION = re.compile(r'(?P<name>[A-Za-z-]+)(?:="(?P<value>(?:[^"\\]|\\.)*)")?(?:,(?=[^ \t])|(?=[ \t]))')
_NAMES = re.compile(r'[ \t]*(?:"(?P<quoted>[^"]+)"|(?P<plain>[^ \t"]+))[ \t]+(?=[^ \t])')
_TIME = re.compile(r"(?P<digits>[0-9]{8}|[0-9]{12}|[0-9]{14})(?P<utc>Z?)", re.IGNORECASE)
_KEY_TYPES = ("ssh-", "ecdsa-", "sk-")  # prefixes of key types; no option has one
_WITH_VALUE = ("namespaces", "valid-after", "valid-before")


@dataclass(frozen=True)
class AllowedSigner:
    """One line: a key, the names that it may sign for, and its restrictions. Times are Unix seconds."""

    names: tuple[str, ...]
    key: PublicKey
    authority: bool = False
    namespaces: tuple[str, ...] = ("*",)
    valid_after: int = 0
    valid_before: int | None = None

    def check(self, name: str, when: float) -> None:
        """Raise SignatureError when this line does not allow its key to sign (or certify) for `name` at `when`."""
        if not self.allows_name(name):
            raise SignatureError(f"{self.key.fingerprint} may not sign as '{name}' (allowed: {', '.join(self.names)})")
        self.check_use(when)

    def check_use(self, when: float) -> None:
        """Raise SignatureError when this line does not allow its key to sign requests at `when`, for any name."""
        if not matches_patterns(NAMESPACE, self.namespaces):
            raise SignatureError(
                f"{self.key.fingerprint} may sign in the namespaces {', '.join(self.namespaces)}, not '{NAMESPACE}'"
            )
        if int(when) < self.valid_after:
            raise SignatureError(f"{self.key.fingerprint} is not valid yet")
        if self.valid_before is not None and int(when) > self.valid_before:
            raise SignatureError(f"{self.key.fingerprint} has expired")

    def allows_name(self, name: str) -> bool:
        """Return whether `name` is one of the names, which are patterns for an authority."""
        return matches_patterns(name, self.names) if self.authority else name in self.names


@dataclass(frozen=True)
class TrustedKey:
    """The key to verify a signature with, and the authority that certifies it, if any."""

    key: PublicKey
    authority: PublicKey | None = None


@dataclass(frozen=True)
class AllowedSigners:
    """The lines of a file, by key blob."""

    entries: dict[bytes, list[AllowedSigner]] = field(default_factory=dict)

    def signer(self, blob: bytes, name: str, when: float) -> TrustedKey:
        """Return the key in `blob` (a key or certificate), if it may sign for `name` at `when`; raise SignatureError.

        `blob` is untrusted: a key in it is used only if this file has the key, or an authority that certifies it.
        """
        if not is_certificate(blob):
            return TrustedKey(self._entry(blob, name, when, authority=False).key)
        certificate = Certificate.read(blob)
        entry = self._entry(certificate.authority, name, when, authority=True)
        return TrustedKey(certificate.check(name, when), entry.key)

    def _entry(self, blob: bytes, name: str, when: float, *, authority: bool) -> AllowedSigner:
        """Return the first line that allows the key `blob` to sign; else raise the error of the last line."""
        role = "authority" if authority else "key"
        rejection = SignatureError(f"the {role} {fingerprint(blob)} is not in the allowed signers")
        for entry in self.entries.get(blob, ()):
            if entry.authority != authority:
                continue
            try:
                entry.check(name, when)
            except SignatureError as error:
                rejection = error
            else:
                return entry
        raise rejection

    def __iter__(self) -> Iterator[AllowedSigner]:
        for entries in self.entries.values():
            yield from entries


def parse(text: str, path: Path) -> AllowedSigners:
    """Return the content of a file. Raise ConfigError naming file and line."""
    signers = AllowedSigners()
    for number, line in lines.numbered(text):
        if problem := lines.problem(line):
            raise ConfigError(f"{path}:{number}: {problem}")
        words = line.strip(" \t")
        if not words or words.startswith("#"):
            continue
        try:
            entry = parse_line(line)
        except SignatureError as error:
            raise ConfigError(f"{path}:{number}: {error}") from None
        signers.entries.setdefault(entry.key.blob, []).append(entry)
    return signers


def parse_line(line: str) -> AllowedSigner:
    """Return the content of a line. Raise SignatureError when it is not valid."""
    found = _NAMES.match(line)
    if not found:
        raise SignatureError("must be: names, optional options, key type, key")
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
    """Return the line that allows `key` to sign requests as `name`, and nothing else."""
    return f'{name} namespaces="{NAMESPACE}" {key.line}\n'


def matches_patterns(name: str, patterns: Iterable[str]) -> bool:
    """Return whether a name matches at least one pattern, and none that begins with `!` (ssh_config(5))."""
    matching = [pattern for pattern in patterns if fnmatch.fnmatchcase(name, _glob(pattern.removeprefix("!")))]
    return bool(matching) and not any(pattern.startswith("!") for pattern in matching)


def _glob(pattern: str) -> str:
    """Return an SSH pattern for fnmatch, where `[` is special too. The time that fnmatch takes is not exponential."""
    return pattern.replace("[", "[[]")


def _check(entry: AllowedSigner) -> None:
    if not all(entry.names):
        raise SignatureError("empty name")
    pattern = next((name for name in entry.names if PATTERN.search(name)), None)
    if pattern and not entry.authority:
        raise SignatureError(f"'{pattern}' is a pattern, which is allowed for cert-authority only (use exact names)")
    if entry.valid_before is not None and entry.valid_before <= entry.valid_after:
        raise SignatureError("valid-before must be later than valid-after")


def _options(text: str) -> tuple[dict[str, str], str]:
    """Split the rest of a line, after its names, into options and key."""
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
            return options, text[place:].lstrip(" \t")
    rest = text[place:].split(maxsplit=1)
    raise SignatureError(f"'{rest[0][:60] if rest else ''}' is neither an option nor a key type")


def _check_option(name: str, value: str | None, options: dict[str, str]) -> None:
    if name not in (*_WITH_VALUE, "cert-authority"):
        raise SignatureError(f"unknown option '{name}' (options: cert-authority, {', '.join(_WITH_VALUE)})")
    if (value is None) == (name in _WITH_VALUE):
        raise SignatureError(
            f'{name}: needs a value in double quotes: {name}="…"' if value is None else f"{name}: must not have a value"
        )
    if name in options:
        raise SignatureError(f"{name}: given more than once")


def _time(text: str | None) -> int | None:
    """Return a time in Unix seconds."""
    if text is None:
        return None
    found = _TIME.fullmatch(text)
    if not found:
        raise SignatureError(f"invalid time '{text[:60]}': use YYYYMMDD or YYYYMMDDHHMM[SS], with Z at the end for UTC")
    digits = found["digits"].ljust(14, "0")
    try:
        parts = time.strptime(digits, "%Y%m%d%H%M%S")
        return timegm(parts) if found["utc"] else int(time.mktime(parts))
    except (ValueError, OverflowError):
        raise SignatureError(f"invalid time '{text}': no such day or hour") from None
