"""Bundles of plug-ins: code and DDLs as one string, for `crpc plugin push`.

    pack(Path("load")) ─► Bundle ─► text, digest ─► request ─► unpack(text, digest) ─► files

A bundle has files of the folders `agents` and `ddl` only. The request that carries it is signed by the caller's key.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collective import bounded_json
from collective.errors import InvalidInput, MessageError, UsageError

LARGEST = 700_000  # characters of a bundle: a request has at most 1 MiB
UNPACKED = 4 * 1024 * 1024  # bytes of all files
MOST_FILES = 200
_PATH = re.compile(r"(agents|ddl)(/[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}){1,3}")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z._+-]{0,39}")


@dataclass(frozen=True)
class BundledFile:
    """The content of one file, and whether it is a program."""

    content: bytes
    executable: bool


@dataclass(frozen=True)
class Bundle:
    """The files of a plug-in by path, and the plug-in's name and version."""

    name: str
    version: str
    files: Mapping[str, BundledFile]

    def text(self) -> str:
        """Return the bundle as one string. The same files make the same string."""
        files = {
            path: [base64.b64encode(file.content).decode("ascii"), file.executable]
            for path, file in sorted(self.files.items())
        }
        document = json.dumps({"name": self.name, "version": self.version, "files": files}, separators=(",", ":"))
        return base64.b64encode(zlib.compress(document.encode(), 9)).decode("ascii")


def digest(text: str) -> str:
    """Return the SHA-256 of a bundle's text, in hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def pack(folder: Path, name: str | None = None) -> Bundle:
    """Return the bundle of a folder with `agents` and `ddl` in it; its version is that of the first DDL.

    The name is that of the only DDL unless it is given. Raises UsageError for a folder that is not a plug-in.
    """
    files = {
        str(path.relative_to(folder)): BundledFile(path.read_bytes(), bool(path.stat().st_mode & 0o100))
        for part in ("agents", "ddl")
        for path in sorted((folder / part).rglob("*"))
        if path.is_file() and path.suffix != ".pyc" and not path.name.startswith(".")
    }
    ddls = sorted(path for path in files if path.startswith("ddl/") and path.endswith(".json"))
    if not ddls or not any(path.startswith("agents/") for path in files):
        raise UsageError(f"{folder}: no plug-in: it must have code in 'agents' and a DDL in 'ddl'")
    if name is None and len(ddls) > 1:
        raise UsageError(f"{folder}: has {len(ddls)} DDLs (name the plug-in with name=NAME)")
    name = name or Path(ddls[0]).stem
    version = _version(folder / ddls[0])
    _check(name, version, files)
    bundle = Bundle(name, version, files)
    if len(bundle.text()) > LARGEST:
        raise UsageError(f"{folder}: the bundle has {len(bundle.text())} characters, more than the limit of {LARGEST}")
    return bundle


def unpack(text: str, expected: str) -> Bundle:
    """Return the bundle in `text`, whose digest must be `expected`; raise InvalidInput for anything else."""
    if digest(text) != expected:
        raise InvalidInput("the bundle does not match its digest")
    try:
        unpacker = zlib.decompressobj()
        packed = base64.b64decode(text, validate=True)
        document = bounded_json.parse(unpacker.decompress(packed, 2 * UNPACKED).decode(), "bundle")
        files = {
            str(path): BundledFile(base64.b64decode(content, validate=True), executable is True)
            for path, (content, executable) in document["files"].items()
        }
        bundle = Bundle(str(document["name"]), str(document["version"]), files)
    except (binascii.Error, zlib.error, ValueError, KeyError, TypeError, AttributeError, MessageError):
        raise InvalidInput("the bundle cannot be unpacked") from None
    try:
        _check(bundle.name, bundle.version, files)
    except UsageError as error:
        raise InvalidInput(str(error)) from None
    return bundle


def _version(path: Path) -> str:
    try:
        document: Any = json.loads(path.read_text(encoding="utf-8"))
        return str(document["metadata"]["version"])
    except (OSError, ValueError, KeyError, TypeError):
        raise UsageError(f"{path}: has no metadata.version (check it with 'crpc check')") from None


def _check(name: str, version: str, files: Mapping[str, BundledFile]) -> None:
    if not _NAME.fullmatch(name):
        raise UsageError(f"invalid plug-in name '{name}': use a-z, 0-9 and '_'")
    if not _VERSION.fullmatch(version):
        raise UsageError(f"invalid version '{version}' of the plug-in '{name}'")
    if len(files) > MOST_FILES or sum(len(file.content) for file in files.values()) > UNPACKED:
        raise UsageError(f"the plug-in '{name}' has more than {MOST_FILES} files, or more than {UNPACKED} bytes")
    for path in files:
        if not _PATH.fullmatch(path) or ".." in path:
            raise UsageError(f"invalid path '{path}' in a plug-in: use agents/NAME and ddl/NAME")
