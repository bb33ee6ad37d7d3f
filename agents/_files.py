"""Reach files below allowed folders only, without following symbolic links, and replace them atomically.

    place = locate("/srv/app/app.conf", settings["write"])     walks from the allowed folder with O_NOFOLLOW
    place.status()   place.open()   place.replace(write, …)    act in the opened parent folder, by the last name

The path of an allowed folder may contain symbolic links, because it is the administrator's. Other users must not be
able to replace the folder itself by a link, so only root and the node's user may change the folders above it. Below
it every component must be a real folder, so that users who can write there cannot lead the node (often root) elsewhere.
"""

from __future__ import annotations

import contextlib
import grp
import itertools
import os
import pwd
import secrets
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from collective.agent import Aborted
from collective.ownership import replaceable

NEW_MODE = 0o644  # of a file that did not exist
# The bits that a new file has from the old one: another user may have set setuid on it, for an owner that is root now.
_KEPT = 0o777
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a fifo must not block
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_UNFINISHED = ".collective-new"  # the end of the names of files that are being written
_ABANDONED = 86400.0  # seconds after which such a file was left by an action that was killed
_BLOCK = 1 << 20  # bytes

Write = Callable[[BinaryIO], None]


@dataclass(frozen=True)
class Owner:
    """Who a file shall belong to, and its mode; None keeps what it has."""

    uid: int | None = None
    gid: int | None = None
    mode: int | None = None

    @classmethod
    def named(cls, owner: str | None, group: str | None, mode: str | None) -> Owner:
        """Return the owner with these names, and a mode in octal digits; raise Aborted for unknown names."""
        try:
            uid = None if owner is None else pwd.getpwnam(owner).pw_uid
            gid = None if group is None else grp.getgrnam(group).gr_gid
        except KeyError as error:
            raise Aborted(f"unknown user or group: {error.args[0]}") from None
        return cls(uid, gid, None if mode is None else int(mode, 8))

    def differs(self, found: os.stat_result) -> bool:
        """Return whether an existing file has another owner, group or mode."""
        wanted = (self.uid, self.gid, self.mode)
        existing = (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode))
        return any(one not in (None, other) for one, other in zip(wanted, existing, strict=True))

    def apply(self, descriptor: int, old: os.stat_result | None) -> None:
        """Give an open file this owner; what is None is that of the file that it replaces."""
        uid = self.uid if self.uid is not None else old.st_uid if old else -1
        gid = self.gid if self.gid is not None else old.st_gid if old else -1
        if uid not in (-1, os.geteuid()) or gid not in (-1, os.getegid()):
            os.fchown(descriptor, uid, gid)
        mode = self.mode if self.mode is not None else old.st_mode & _KEPT if old else NEW_MODE
        os.fchmod(descriptor, mode)


@dataclass(frozen=True)
class Place:
    """A name in an open folder. `path` is for messages."""

    path: str
    name: str
    folder: int

    def status(self) -> os.stat_result | None:
        """Return the attributes of the file, not those of what a symbolic link points to; None if it is absent."""
        try:
            return os.stat(self.name, dir_fd=self.folder, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def regular(self) -> os.stat_result | None:
        """Return the attributes of a regular file; None if it is absent. Raises Aborted for anything else."""
        found = self.status()
        if found is not None and not stat.S_ISREG(found.st_mode):
            raise Aborted(f"{self.path}: not a regular file")
        return found

    @contextlib.contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Open an existing regular file for reading. Raises Aborted if it is something else or cannot be read."""
        try:
            descriptor = os.open(self.name, _READ, dir_fd=self.folder)
        except OSError as error:
            raise Aborted(f"{self.path}: {error.strerror}") from None
        if problem := self._problem(os.fstat(descriptor)):
            os.close(descriptor)
            raise Aborted(f"{self.path}: {problem}")
        with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor
            yield file

    def _problem(self, found: os.stat_result) -> str:
        """Return why an open file must not be read; an empty string if it may be.

        Where Linux does not forbid it (fs.protected_hardlinks), a user can make a hard link to a file that only root
        can read, which looks like any other file.
        """
        if not stat.S_ISREG(found.st_mode):
            return "not a regular file"
        folder = os.fstat(self.folder)
        is_shared = folder.st_uid not in (0, os.geteuid()) or folder.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        if found.st_nlink > 1 and found.st_uid != folder.st_uid and is_shared:
            return "it has several names (hard links), in a folder that other users can change"
        return ""

    def replace(self, write: Write, owner: Owner) -> None:
        """Write a new file and rename it to this name: there is always either the whole old or the whole new file."""
        self._remove_abandoned()
        old = self.regular()
        name = f".{self.name[:200]}.{secrets.token_hex(8)}{_UNFINISHED}"
        try:
            with open(os.open(name, _CREATE, 0o600, dir_fd=self.folder), "wb") as file:  # noqa: PTH123 - a descriptor
                write(file)
                file.flush()
                owner.apply(file.fileno(), old)
                os.fsync(file.fileno())
            os.rename(name, self.name, src_dir_fd=self.folder, dst_dir_fd=self.folder)
            os.fsync(self.folder)
        except OSError as error:
            raise Aborted(f"{self.path}: cannot be written: {error.strerror}") from None
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self.folder)

    def backup(self) -> str:
        """Copy the file to a new name with the time, beside it; return that path."""
        first = f"{self.name}.backup-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
        names = itertools.chain([first], (f"{first}-{number}" for number in itertools.count(2)))
        copies = (Place(str(PurePosixPath(self.path).with_name(name)), name, self.folder) for name in names)
        copy = next(one for one in copies if one.status() is None)  # there may be one of the same second
        with self.open() as source:
            found = os.fstat(source.fileno())
            owner = Owner(found.st_uid, found.st_gid, found.st_mode & _KEPT)
            copy.replace(lambda target: _copy(source, target), owner)
        return copy.path

    def remove(self) -> None:
        """Remove the file, the symbolic link, or the empty folder. Raises Aborted if that is not possible."""
        try:
            found = self.status()
            if found is not None and stat.S_ISDIR(found.st_mode):
                os.rmdir(self.name, dir_fd=self.folder)
            else:
                os.unlink(self.name, dir_fd=self.folder)
        except OSError as error:
            raise Aborted(f"{self.path}: cannot be removed: {error.strerror}") from None

    def _remove_abandoned(self) -> None:
        """Remove what actions that were killed have left of this name: files of the node's user only."""
        with os.scandir(self.folder) as entries:
            names = [entry.name for entry in entries]
        for name in names:
            if name.startswith(f".{self.name[:200]}.") and name.endswith(_UNFINISHED):
                with contextlib.suppress(OSError):
                    found = os.stat(name, dir_fd=self.folder, follow_symlinks=False)
                    if found.st_uid == os.geteuid() and found.st_mtime < time.time() - _ABANDONED:
                        os.unlink(name, dir_fd=self.folder)


@contextlib.contextmanager
def locate(path: str, allowed: Iterable[str], kind: str) -> Iterator[Place]:
    """Yield the place of an absolute path below one of the `allowed` folders, with its parent folder opened.

    `kind` is the setting that has the folders. Raises Aborted for another path, for one with `..`, if a component is a
    symbolic link or not a folder, and if other users could replace the allowed folder.
    """
    steps = PurePosixPath(path).parts
    if ".." in steps or not path.startswith("/"):
        raise Aborted(f"{path}: not allowed: the path must be absolute and without '..'")
    if str(PurePosixPath(path)) != path:  # a policy that denies one spelling must not be passed with another one
        raise Aborted(f"{path}: not allowed: use '{PurePosixPath(path)}'")
    root, inside = _allowed(path, steps, [PurePosixPath(folder) for folder in allowed], kind)
    if problem := movable(root):
        raise Aborted(f"{path}: not allowed: {problem}")
    with contextlib.ExitStack() as opened:
        try:
            folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            opened.callback(os.close, folder)
            for step in inside[:-1]:
                folder = os.open(step, _FOLDER, dir_fd=folder)
                opened.callback(os.close, folder)
        except OSError as error:
            raise Aborted(f"{path}: a folder of this path cannot be opened: {error.strerror}{_hint(error)}") from None
        yield Place(path, inside[-1], folder)


def movable(folder: PurePosixPath | str) -> str | None:
    """Return the problem if other users could put a link to another folder in place of an allowed one."""
    real = os.path.realpath(folder)  # Path.resolve() raises for circular links
    return replaceable(Path(folder).parent) or replaceable(Path(real).parent)


def _allowed(
    path: str, steps: tuple[str, ...], folders: list[PurePosixPath], kind: str
) -> tuple[PurePosixPath, list[str]]:
    for folder in sorted(folders, key=lambda one: len(one.parts), reverse=True):
        count = len(folder.parts)
        if steps[:count] == folder.parts and len(steps) > count:
            return folder, list(steps[count:])
    known = ", ".join(map(str, folders)) or "none"
    raise Aborted(f"{path}: not below an allowed folder (settings/file.yaml: {kind}: {known})")


def _hint(error: OSError) -> str:
    is_link = error.errno in (20, 40)  # ENOTDIR, ELOOP: what O_NOFOLLOW with O_DIRECTORY returns for a link
    return " (symbolic links are not followed)" if is_link else ""


def _copy(source: BinaryIO, target: BinaryIO) -> None:
    while block := source.read(_BLOCK):
        target.write(block)
