"""The file that a template is for: written beside it, checked, and moved into its place.

    with Destination(settings).locked() as file:
        candidate = file.write(text)          .NAME.candidate.SUFFIX, with mode and owner
        file.replace()                        keeps the file before as .NAME.before.SUFFIX
        file.keep() or file.restore()         after the reload

A symbolic link stays, and what it leads to is replaced. The file before is kept until the reload has succeeded: if
this process is killed in between, the next one finds it, reloads, and can still restore it.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from collective.errors import ConfigError
from collective.ownership import replaceable
from collective.template_settings import TemplateSettings
from collective.templates.file_attributes import Attributes, wanted

_NO_FILE = "no file"  # where the link `.NAME.before.SUFFIX` leads when there was no file before
_HINTS = {
    errno.EBUSY: " (a mounted file cannot be replaced: mount its folder)",
    errno.EXDEV: " (a mounted file cannot be replaced: mount its folder)",
    errno.ENOSPC: " (free some space)",
}


class Destination:
    """The file at `settings.dest`. Raises ConfigError where it cannot be used."""

    def __init__(self, settings: TemplateSettings) -> None:
        self._settings = settings
        self._dest = settings.dest

    @contextmanager
    def locked(self) -> Iterator[LockedFile]:
        """Yield the file; other processes that use files in its folder by this class wait meanwhile."""
        path = self._path()
        try:
            folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise self._no_folder(path) from None
        except OSError as error:
            raise ConfigError(f"{path.parent}: cannot be opened: {error.strerror}") from None
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            with self._errors():
                yield LockedFile(path, folder, wanted(self._settings, path))
        finally:
            os.close(folder)

    def check(self) -> None:
        """Raise ConfigError if the file could not be written, as far as that is known beforehand."""
        path = self._path()
        if not path.parent.is_dir():
            raise self._no_folder(path)
        wanted(self._settings, path)

    def _no_folder(self, path: Path) -> ConfigError:
        return ConfigError(f"{self._dest}: the folder {path.parent} does not exist (create it)")

    def _path(self) -> Path:
        """Return the file to replace: where a link leads. Raises ConfigError if other users can change that."""
        path = Path(os.path.realpath(self._dest))
        if self._dest.is_symlink() and self._dest.lstat().st_uid not in (0, os.geteuid()):
            raise ConfigError(f"{self._dest}: a symbolic link of user {self._dest.lstat().st_uid} (remove it)")
        if path.is_symlink():
            raise ConfigError(f"{self._dest}: a symbolic link that leads to itself (remove it)")
        if path.is_dir():
            raise ConfigError(f"{self._dest}: a folder (dest must name a file)")
        if path.exists() and not path.is_file():
            raise ConfigError(f"{self._dest}: not a regular file")
        for one in (self._dest.parent, path.parent):
            if problem := replaceable(one):
                raise ConfigError(f"{self._dest}: other users can change its folder: {problem}")
        return path

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            hint = _HINTS.get(error.errno or 0, "")
            raise ConfigError(f"{self._dest}: cannot be written: {error.strerror}{hint}") from None


class LockedFile:
    """The file at `path` in the open `folder`. The methods raise OSError."""

    def __init__(self, path: Path, folder: int, attributes: Attributes) -> None:
        self._path = path
        self._folder = folder
        self._attributes = attributes
        self.candidate = path.with_name(f".{path.stem}.candidate{path.suffix}")
        self._before = path.with_name(f".{path.stem}.before{path.suffix}")

    @property
    def is_interrupted(self) -> bool:
        """Whether an earlier process has replaced the file, and has not seen the reload succeed."""
        return self._before.is_symlink() or self._before.exists()

    def text(self) -> str | None:
        """Return the content of the file; None if there is none. Other bytes than UTF-8 are kept as they are."""
        try:
            return self._path.read_text(encoding="utf-8", errors="surrogateescape")
        except FileNotFoundError:
            return None

    def has(self, text: str) -> bool:
        """Return whether the file has this content, the mode and the owner."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return False
        content = text.encode()
        same = self._attributes.match(found) and found.st_size == len(content)
        return same and self._path.read_bytes() == content

    def write(self, text: str) -> Path:
        """Write the candidate, with mode and owner, and return its path."""
        self.discard()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(self.candidate, flags, 0o600), "wb") as file:
            self._attributes.set(file.fileno())
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        return self.candidate

    def discard(self) -> None:
        """Remove the candidate."""
        self.candidate.unlink(missing_ok=True)

    def replace(self) -> None:
        """Put the candidate in place of the file. The last file with which a reload has succeeded is kept."""
        if not self.is_interrupted:
            try:
                os.link(self._path, self._before, follow_symlinks=False)
            except FileNotFoundError:
                self._before.symlink_to(_NO_FILE)
        self.candidate.replace(self._path)
        os.fsync(self._folder)

    def keep(self) -> None:
        """Remove the file before: the reload has succeeded, or there is none."""
        self._before.unlink(missing_ok=True)

    def restore(self) -> bool:
        """Put the file before in its place again; return False if there was none, and now is none."""
        if self._before.is_symlink():
            self._path.unlink(missing_ok=True)
            self._before.unlink()
            return False
        with suppress(FileNotFoundError):
            self._before.replace(self._path)
        os.fsync(self._folder)
        return True
