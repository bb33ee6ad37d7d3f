"""Hold the facts and classes of this node, and keep them as good as their sources are.

`current` and `classes` are replaced whole, never changed in place, so that whoever reads them sees one state. A
broken source is reported once, until it breaks in another way, and keeps its last good values.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from collective.errors import CollectiveError, ConfigError
from collective.node.facts import sources
from collective.node.facts.sources import Source

log = logging.getLogger(__name__)

Find = Callable[[], Iterable[Source]]


class Facts:
    """The facts of `files` over those of `further` over the built-in ones, and the classes of `class_files`.

    `further` are functions that list sources anew for each refresh: what a folder holds changes. Class files hold
    words between blanks. What is quick to read is known at once; the slow sources wait for `start` or `refresh`.
    """

    def __init__(self, files: Sequence[Path], class_files: Sequence[Path], further: Sequence[Find] = ()) -> None:
        self._files = [sources.file(path) for path in files]
        self._class_files = class_files
        self._further = further
        self._good: dict[str, Mapping[str, Any]] = {}
        self._good_words: dict[str, frozenset[str]] = {}
        self._problems: dict[str, str] = {}
        self._wake = threading.Event()
        self._first = threading.Event()
        self._stopping = False
        self.current: Mapping[str, Any] = {}
        self.classes: frozenset[str] = frozenset()
        found = self._find()
        self._read_all(source for source in found if not source.slow)
        self._replace(found)

    def start(self, period: float, wait: float, changed: Callable[[], None]) -> None:
        """Refresh now, every `period` seconds, and when woken, in a thread; call `changed` there after a change.

        Returns when the first refresh is done, or after `wait` seconds: what is slower comes later.
        """
        threading.Thread(target=self._run, args=(period, changed), name="facts", daemon=True).start()
        self._first.wait(wait)

    def wake(self) -> None:
        """Have the thread refresh now, not at the end of its period."""
        self._wake.set()

    def stop(self) -> None:
        """Have the thread end, when it is done with what it reads now."""
        self._stopping = True
        self._wake.set()

    def refresh(self) -> bool:
        """Read every source again; tell whether facts or classes have changed. One thread at a time may call it."""
        before = (self.current, self.classes)
        found = self._find()
        self._read_all(found)
        self._replace(found)
        return before != (self.current, self.classes)

    def _run(self, period: float, changed: Callable[[], None]) -> None:
        while not self._stopping:
            if self.refresh():
                changed()
            self._first.set()
            self._wake.wait(period)
            self._wake.clear()

    def _find(self) -> list[Source]:
        return [sources.BUILT_IN, *(source for find in self._further for source in find()), *self._files]

    def _read_all(self, found: Iterable[Source]) -> None:
        for source in found:
            self._guarded("facts.broken", source.label, self._good, source.read)
        for path in self._class_files:
            self._guarded("classes.broken", str(path), self._good_words, partial(_read_words, path))

    def _guarded(self, event: str, label: str, good: dict[str, Any], read: Callable[[], Any]) -> None:
        """Keep what `read` returns as good; when it fails say so, unless that is what was said last."""
        try:
            good[label] = read()
            self._problems.pop(label, None)
        except Exception as error:
            said = str(error) if isinstance(error, CollectiveError) else f"{label}: {type(error).__name__}: {error}"
            if self._problems.get(label) != said:
                log.error(event, extra={"error": said})
            self._problems[label] = said

    def _replace(self, found: Iterable[Source]) -> None:
        labels = [source.label for source in found]
        for gone in self._good.keys() - set(labels):
            del self._good[gone]  # a file that was taken out of a folder is not a broken one
        merged: dict[str, Any] = {}
        for label in labels:
            merged.update(self._good.get(label, {}))
        self.current = merged
        self.classes = frozenset().union(*self._good_words.values())


def _read_words(path: Path) -> frozenset[str]:
    try:
        return frozenset(path.read_text(encoding="utf-8").split())
    except FileNotFoundError:
        return frozenset()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8: {error.reason} at byte {error.start}") from None
