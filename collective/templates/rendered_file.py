"""Keep a file as its template says: render, compare, check, replace, reload, and restore it when the reload fails.

RenderedFile(settings, commands).update(membership, own) ─► Update

1  render                    an error changes nothing                              FILE:LINE: …
2  compare                   the same content, mode and owner: nothing to do
3  check the candidate       the file stays as it is                               check: exit code 1: …
4  replace, reload           the file before is restored, and the reload repeated  reload: exit code 1: …
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Protocol

from collective.errors import ConfigError
from collective.membership import Membership
from collective.membership.serf_convention import Self
from collective.template_settings import CANDIDATE, TemplateSettings
from collective.templates.destination import Destination, LockedFile
from collective.templates.rendering import read_source, render
from collective.templates.values import template_values


class CommandRunner(Protocol):
    """Runs the lines of `check` and `reload`."""

    def run(self, line: str) -> str | None:
        """Run a line; return None if it succeeds, or what is wrong, in words."""
        ...

    def stop(self) -> None:
        """Kill what is running."""
        ...


@dataclass(frozen=True)
class Update:
    """What an update has done. `before` is None if there was no file; `members` are those alive."""

    text: str
    before: str | None
    changed: bool
    reloaded: bool
    members: int


class RenderedFile:
    """The file of one template. `commands` runs its check and its reload."""

    def __init__(self, settings: TemplateSettings, commands: CommandRunner) -> None:
        self.settings = settings
        self._commands = commands
        self._destination = Destination(settings)

    def update(self, membership: Membership, own: Self) -> Update:
        """Render, and change the file if it differs. Raises ConfigError, which says what is wrong where."""
        text = self._render(membership, own)
        with self._destination.locked() as file:
            before = file.text()
            changed = not file.has(text)
            reloads = bool(self.settings.reload) and (changed or file.is_interrupted)
            if changed:
                self._check(file.write(text), file)
                file.replace()
            if reloads:
                self._reload(file)
            file.keep()
        return Update(text, before, changed, reloads, len(membership.alive))

    def preview(self, membership: Membership, own: Self, *, check: bool) -> Update:
        """Return what `update` would do. With `check`, the candidate is written and checked, and removed again."""
        text = self._render(membership, own)
        with self._destination.locked() as file:
            before, changed = file.text(), not file.has(text)
            reloads = bool(self.settings.reload) and (changed or file.is_interrupted)
            if changed and check and self.settings.check:
                self._check(file.write(text), file)
                file.discard()
        return Update(text, before, changed, reloads, len(membership.alive))

    def is_current(self, update: Update) -> bool:
        """Return whether template and file are as they were after an update. Raises ConfigError."""
        with self._destination.locked() as file:
            return file.has(update.text)

    def _render(self, membership: Membership, own: Self) -> str:
        path = self.settings.src
        return render(read_source(path), path, template_values(membership, own))

    def _check(self, candidate: object, file: LockedFile) -> None:
        """Run the check; remove the candidate if it fails."""
        if not self.settings.check:
            return
        try:
            problem = self._commands.run(self.settings.check.replace(CANDIDATE, shlex.quote(str(candidate))))
        except BaseException:
            file.discard()
            raise
        if problem:
            file.discard()
            raise ConfigError(f"{self.settings.dest}: not changed: check '{self.settings.check}': {problem}")

    def _reload(self, file: LockedFile) -> None:
        """Run the reload; restore the file before if it fails."""
        line = self.settings.reload or ""
        problem = self._commands.run(line)
        if not problem:
            return
        where = f"{self.settings.dest}: reload '{line}': {problem}"
        if not file.restore():
            raise ConfigError(f"{where}: the file was removed, because there was none before")
        if again := self._commands.run(line):
            raise ConfigError(f"{where}: the file before was restored, but with it: {again}")
        raise ConfigError(f"{where}: the file before was restored and reloaded")
