"""The text of a playbook, and where each value is in it: errors name file and line."""

from __future__ import annotations

import hashlib
import stat
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from collective import lines
from collective.errors import ConfigError
from collective.ownership import replaceable
from collective.yaml_file import FAST_LOADER, line_of, parse_yaml, read_text

MOST_BYTES = 1024 * 1024  # of one file
MOST_VALUES = 200_000  # of one file, with what its aliases repeat
DEEPEST = 128  # levels of nesting, aliases included


@dataclass(frozen=True)
class SourceFile:
    """A file that was read; `path` is as it was given."""

    path: Path
    text: str

    @cached_property
    def tree(self) -> yaml.Node | None:
        """The nodes of the document, with their lines."""
        return yaml.compose(self.text, Loader=FAST_LOADER)

    @property
    def digest(self) -> str:
        """The SHA-256 of the text, in hexadecimal digits."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def document(self) -> Any:
        """Return the content. Raises ConfigError, naming the line, also for duplicate keys."""
        found = parse_yaml(self.text, str(self.path))
        _check_aliases(found, self.path)
        return found


@dataclass(frozen=True)
class SourcePlace:
    """A place in a file: the keys and list indices that lead to it."""

    file: SourceFile
    keys: tuple[str | int, ...] = ()

    def at(self, *keys: str | int) -> SourcePlace:
        """Return a place below this one."""
        return SourcePlace(self.file, (*self.keys, *keys))

    @property
    def line(self) -> int:
        """The line, from 1."""
        return line_of(self.file.tree, self.keys)

    def __str__(self) -> str:
        """Return `file:line`."""
        return f"{self.file.path}:{self.line}"

    def error(self, text: str) -> ConfigError:
        """Return the error for a problem at this place."""
        return ConfigError(f"{self}: {text}")


def read_source(path: Path) -> SourceFile:
    """Read a file; raise ConfigError if it is too large, or if others can change it: it can run commands here."""
    try:
        found = path.stat()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    if not stat.S_ISREG(found.st_mode):
        raise ConfigError(f"{path}: not a regular file")
    if found.st_size > MOST_BYTES:
        raise ConfigError(f"{path}: {found.st_size} bytes, the limit is {MOST_BYTES} (include other files)")
    if problem := replaceable(path):
        raise ConfigError(f"{path}: not used: {problem}")
    text = read_text(path)
    # YAML ends lines at U+2028, U+0085 and CR as well: a step could hide behind a comment.
    if problems := lines.problems(text, str(path)):
        raise ConfigError(problems[0])
    return SourceFile(path, text)


def _check_aliases(document: Any, path: Path) -> None:
    """Raise ConfigError for a document that contains itself, or that its aliases make too large."""
    waiting, left = [(document, 0)], MOST_VALUES
    while waiting:
        found, depth = waiting.pop()
        left -= 1
        if depth > DEEPEST:
            raise ConfigError(f"{path}: nested more than {DEEPEST} levels deep (does an alias contain itself?)")
        if left < 0:
            raise ConfigError(f"{path}: more than {MOST_VALUES} values with what aliases repeat (include other files)")
        parts = found.values() if isinstance(found, dict) else found if isinstance(found, list) else ()
        waiting += [(part, depth + 1) for part in parts]
