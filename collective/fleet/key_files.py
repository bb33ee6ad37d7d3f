"""The files of a caller's state that list keys of nodes, a line for each; lines of other collectives are preserved."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from collective.errors import ConfigError, SignatureError
from collective.replaced_file import replace_file
from collective.signing.keys import PublicKey, blob_in_line

_LINES = re.compile(r"[^\n]*\n|[^\n]+")  # only a newline ends a line


class _LineFile:
    """Lines that begin with a collective and a node. With `keep` false the file is only read."""

    fields = ""

    def __init__(self, path: Path, collective: str, *, keep: bool = True) -> None:
        self._path = path
        self._collective = collective
        self._keep = keep

    def _own_lines(self) -> list[tuple[int, list[str]]]:
        """Return this collective's lines as number and fields."""
        found = []
        for number, line in enumerate(self._lines(), start=1):
            fields = line.split(maxsplit=2)
            if fields and fields[0] == self._collective:
                found.append((number, fields))
        return found

    def _lines(self) -> list[str]:
        try:
            return _LINES.findall(self._path.read_bytes().decode("utf-8"))
        except FileNotFoundError:
            return []
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not UTF-8"
            raise ConfigError(f"{self._path}: cannot be read: {reason}") from None

    def _write(self, text: str) -> None:
        """Replace the file at once."""
        if not self._keep:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            replace_file(self._path, text.encode())
        except OSError as error:
            raise self._unwritable(error) from None

    def _invalid(self, number: int) -> ConfigError:
        return ConfigError(f"{self._path}:{number}: invalid line: must be '{self.fields}' (delete the line)")

    def _unwritable(self, error: OSError) -> ConfigError:
        return ConfigError(f"{self._path}: cannot write keys of nodes: {error.strerror} (set 'state' in client.yaml)")


class KeyFile(_LineFile):
    """One key per node; the first line of a node counts."""

    fields = "collective node type key"

    def read(self) -> dict[str, PublicKey]:
        """Return this collective's keys by node."""
        keys: dict[str, PublicKey] = {}
        for number, fields in self._own_lines():
            try:
                keys.setdefault(fields[1], PublicKey(blob_in_line(fields[2])))
            except (SignatureError, IndexError):
                raise self._invalid(number) from None
        return keys

    def add(self, keys: Mapping[str, PublicKey]) -> None:
        """Append lines."""
        if not self._keep:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with self._path.open("a", encoding="ascii") as file:
                file.write("".join(self._line(node, key) for node, key in keys.items()))
        except OSError as error:
            raise self._unwritable(error) from None

    def replace(self, node: str, key: PublicKey | None) -> None:
        """Replace all lines of a node; without a key, delete them."""
        others = [line for line in self._lines() if line.split()[:2] != [self._collective, node]]
        self._write("".join(others) + (self._line(node, key) if key else ""))

    def _line(self, node: str, key: PublicKey) -> str:
        return f"{self._collective} {node} {key.line}\n"


class RevocationFile(_LineFile):
    """The fingerprints of revoked keys, each with its node."""

    fields = "collective node fingerprint"

    def read(self) -> dict[str, str]:
        """Return the nodes of this collective's revoked keys, by fingerprint."""
        revoked: dict[str, str] = {}
        for number, fields in self._own_lines():
            if len(fields) != 3:
                raise self._invalid(number)
            revoked[fields[2].strip()] = fields[1]
        return revoked

    def write(self, revoked: Mapping[str, str]) -> None:
        """Replace this collective's lines."""
        others = [line for line in self._lines() if line.split()[:1] != [self._collective]]
        lines = [f"{self._collective} {node} {fingerprint}\n" for fingerprint, node in revoked.items()]
        self._write("".join([*others, *lines]))
