"""Decide when a file is rendered again: members, template, own facts or the file have changed, or an error is retried.

updates = Updates(file)
updates.step(watcher.snapshot, own, changed=bool(events))     after each read of the registry
"""

from __future__ import annotations

import time
from collections.abc import Callable

from collective.errors import ConfigError
from collective.membership import Membership
from collective.membership.serf_convention import Self
from collective.templates.rendered_file import RenderedFile, Update
from collective.templates.rendering import read_source

RETRY = 60.0  # seconds after an error until the same is tried again


class Updates:
    """Updates `file` when it may differ. `clock` returns monotonic seconds."""

    def __init__(self, file: RenderedFile, clock: Callable[[], float] = time.monotonic) -> None:
        self.file = file
        self._clock = clock
        self._due = True
        self._last: Update | None = None  # None after an error
        self._inputs: tuple[str | None, Self] | None = None
        self._earliest = self._retry = clock()

    def step(self, membership: Membership, own: Self, *, changed: bool) -> Update | None:
        """Update the file if need be; `changed`: there were events. Returns None if nothing was done.

        Raises ConfigError, and then tries again after RETRY seconds, or when something has changed.
        """
        self._due = self._due or changed
        if not membership.time:  # the registry was not read yet, and stored members may be outdated
            return None
        now, inputs = self._clock(), (self._source(), own)
        self._due = self._due or inputs != self._inputs or self._differs(now)
        if not self._due or now < self._earliest:
            return None
        self._due, self._last, self._inputs = False, None, inputs
        self._retry = now + RETRY
        self._earliest = now + self.file.settings.min_interval
        self._last = self.file.update(membership, own)
        if not self._last.changed:
            self._earliest = now
        return self._last

    def _differs(self, now: float) -> bool:
        """Return whether someone else has changed the file, or the last update has failed long enough ago."""
        if self._last is None:
            return now >= self._retry
        try:
            return not self.file.is_current(self._last)
        except ConfigError:
            return True

    def _source(self) -> str | None:
        try:
            return read_source(self.file.settings.src)
        except ConfigError:
            return None
