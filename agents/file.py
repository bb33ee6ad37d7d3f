"""Read, write and remove files below the folders that the settings allow.

Settings: `read` and `write`, lists of folders (none by default; a file below a `write` folder can be read too),
`max_size`, the largest file in bytes that `put` writes, and `staging`, a private folder (mode 0700) for incomplete
files.

Symbolic links below an allowed folder are never followed. A file is replaced atomically: whatever happens, there is
either the whole old file or the whole new one. A large file is sent in pieces with the same `transfer`, and takes
effect with its last piece. `crpc file put` and `crpc file get` do that.

A dry run returns whether the file would change.
"""

from __future__ import annotations

import base64
import binascii
import grp
import hashlib
import os
import pwd
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from collective.agent import Aborted, Facts, InvalidInput, Reply, Settings, action, check
from collective.agents import _transfers
from collective.agents._files import Owner, Place, locate, movable
from collective.agents._staging import staging_path
from collective.agents._transfers import Piece
from collective.user_folders import user_folder

_TYPES: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISREG, "file"),
    (stat.S_ISDIR, "directory"),
    (stat.S_ISLNK, "link"),
)
_VARIABLE = re.compile(r"\$(?:\$|\{([^{}\n]*)\})")


@action
def status(path: str, *, settings: Settings) -> Reply:
    """Return the attributes and the digest of a file."""
    with locate(path, _readable(settings), "read") as place:
        found = place.status()
        if found is None:
            return {"name": path, "present": False}
        return {"name": path, "present": True, **_attributes(place, found)}


@action
def read(path: str, offset: int = 0, length: int = 65536, encoding: str = "text", *, settings: Settings) -> Reply:
    """Return a part of a file, as text or in base64."""
    with locate(path, _readable(settings), "read") as place, place.open() as file:
        found = os.fstat(file.fileno())
        file.seek(offset)
        piece = file.read(length)
    text = base64.b64encode(piece).decode() if encoding == "base64" else piece.decode(errors="replace")
    end = offset + len(piece)
    return {
        "content": text,
        "size": found.st_size,
        "next": end,
        "truncated": end < found.st_size,
        "version": f"{found.st_ino}-{found.st_mtime_ns}-{found.st_size}",
    }


@action
def put(
    path: str,
    sha256: str,
    size: int,
    content: str = "",
    offset: int = 0,
    transfer: str | None = None,
    mode: str | None = None,
    owner: str | None = None,
    group: str | None = None,
    backup: bool = False,
    *,
    settings: Settings,
    caller: str,
    dry_run: bool = False,
) -> Reply:
    """Write a file, or one piece of it."""
    if size > settings["max_size"]:
        raise Aborted(f"{path}: {size} bytes, more than {settings['max_size']} (settings/file.yaml: max_size)")
    wanted = Owner.named(owner, group, mode)
    with locate(path, settings["write"], "write") as place:
        complete = {"changed": False, "complete": True, "received": size}
        # Not before each piece, because it takes long to read a large file.
        if offset == 0 and not _differs(place, size, sha256, wanted):
            return complete
        if dry_run:
            return {"changed": True, "complete": False, "received": 0}
        piece = Piece(_decoded(content), offset, transfer, size, sha256)
        try:
            pieces = staging_path(_staging(settings), caller, transfer or os.urandom(16).hex())
            return _take(place, piece, pieces, wanted, backup)
        except _transfers.PieceMissing:
            if _differs(place, size, sha256, wanted):
                raise
            return complete  # the last piece was sent again


@action
def template(
    path: str,
    template: str,
    variables: Mapping[str, str] | None = None,
    mode: str | None = None,
    backup: bool = False,
    *,
    settings: Settings,
    facts: Facts,
    dry_run: bool = False,
) -> Reply:
    """Write a file from a template with facts and variables."""
    try:
        content = _rendered(template, variables or {}, facts).encode()
    except UnicodeEncodeError:
        raise InvalidInput("template: not valid UTF-8") from None
    wanted = Owner.named(None, None, mode)
    with locate(path, settings["write"], "write") as place:
        changed = _differs(place, len(content), hashlib.sha256(content).hexdigest(), wanted)
        if not changed or dry_run:
            return {"changed": changed, "size": len(content)}
        kept = _kept(place, backup)
        place.replace(lambda file: _write_all(file, content), wanted)
        return {"changed": True, "size": len(content), **kept}


@action
def remove(path: str, backup: bool = False, *, settings: Settings, dry_run: bool = False) -> Reply:
    """Remove a file, a symbolic link or an empty folder."""
    with locate(path, settings["write"], "write") as place:
        there = place.status() is not None
        if not there or dry_run:
            return {"changed": there}
        kept = _kept(place, backup)
        place.remove()
        return {"changed": True, **kept}


@check
def setup(settings: Settings) -> Iterator[str]:
    """Yield a line for each folder in the settings below which nothing can be used: missing, or not safe."""
    for folder in _readable(settings):
        if problem := movable(folder):
            yield f"folder '{folder}' in settings/file.yaml can be replaced by other users: {problem}"
        if not Path(folder).is_dir():
            yield f"folder '{folder}' in settings/file.yaml does not exist (create it, or remove it there)"


def _readable(settings: Settings) -> list[str]:
    return [*settings["read"], *settings["write"]]


def _attributes(place: Place, found: os.stat_result) -> Reply:
    kind = next((name for matches, name in _TYPES if matches(found.st_mode)), "other")
    data: Reply = {
        "type": kind,
        "size": found.st_size,
        "mode": f"{stat.S_IMODE(found.st_mode):04o}",
        "owner": _name(pwd.getpwuid, found.st_uid),
        "group": _name(grp.getgrgid, found.st_gid),
        "mtime": int(found.st_mtime),
    }
    if kind == "file":
        with place.open() as file:
            data["sha256"] = _transfers.digest(file)
    return data


def _name(find: Callable[[int], Any], number: int) -> str:
    try:
        return str(find(number)[0])
    except KeyError:
        return str(number)


def _differs(place: Place, size: int, sha256: str, wanted: Owner) -> bool:
    """Return whether a file must be written: its content, owner or mode is not the wanted one."""
    found = place.regular()
    if found is None or found.st_size != size or wanted.differs(found):
        return True
    with place.open() as file:
        return _transfers.digest(file) != sha256


def _take(place: Place, piece: Piece, path: Path, wanted: Owner, backup: bool) -> Reply:
    """Store a piece in the file `path`; with the last one, replace the file."""
    with _transfers.staged(path, piece) as pieces:
        received = os.fstat(pieces.fileno()).st_size
        if received < piece.size and piece.transfer:
            return {"changed": False, "complete": False, "received": received}
        try:
            return _completed(place, pieces, piece.sha256, wanted, backup)
        finally:
            _transfers.finish(path)


def _completed(place: Place, pieces: BinaryIO, sha256: str, wanted: Owner, backup: bool) -> Reply:
    found = _transfers.digest(pieces)
    size = pieces.tell()
    if found != sha256:
        raise Aborted(f"{place.path}: the content does not have the digest {sha256}, but {found} (send it again)")
    kept = _kept(place, backup)
    pieces.seek(0)
    place.replace(lambda file: _copy(pieces, file), wanted)
    return {"changed": True, "complete": True, "received": size, **kept}


def _kept(place: Place, backup: bool) -> Reply:
    """Make a backup if one is wanted and there is a file; return its path."""
    return {"backup": place.backup()} if backup and place.regular() is not None else {}


def _copy(source: BinaryIO, target: BinaryIO) -> None:
    while block := source.read(1 << 20):
        target.write(block)


def _write_all(file: BinaryIO, content: bytes) -> None:
    file.write(content)


def _decoded(content: str) -> bytes:
    try:
        return base64.b64decode(content, validate=True)
    except binascii.Error as error:
        raise InvalidInput(f"content: not base64: {error}") from None


def _rendered(template: str, variables: Mapping[str, str], facts: Facts) -> str:
    """Return a template with each `${name}` replaced by a variable or a fact, and `$$` by a dollar sign."""
    from collective.filters.paths import look_up  # takes longer to import than a piece takes to be written

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if name is None:
            return "$"
        found = variables[name] if name in variables else look_up(facts, name)
        if found is None or isinstance(found, (dict, list)):
            raise Aborted(f"template: no variable or fact '{name}' with a single value on this node")
        return ("true" if found else "false") if isinstance(found, bool) else str(found)

    return _VARIABLE.sub(value, template)


def _staging(settings: Settings) -> Path:
    if "staging" in settings:
        return Path(settings["staging"])
    return Path("/var/lib/collective/file") if os.geteuid() == 0 else user_folder("STATE") / "file"
