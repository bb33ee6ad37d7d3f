"""Hold the facts and classes of this node, and refresh them from their sources.

`current` and `classes` are replaced as a whole, never changed in place, so that a reader sees one state. A source that
fails keeps its last valid values. Its error is logged once, and again when the error changes or returns. So are the
values that a source omits because they are not JSON values.
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
from collective.periodic import PeriodicThread

log = logging.getLogger(__name__)

_MOST_NAMED = 5  # omitted values in one log line

ListSources = Callable[[], Iterable[Source]]


class Facts:
    """The facts of this node, and the classes listed in `class_files`, separated by whitespace.

    Facts of `files` replace those of `further` sources, which replace the built-in ones. Each function in `further`
    lists its sources for every refresh, because the content of a folder changes. The constructor reads all sources
    except slow ones; `start` and `refresh` read those too.
    """

    def __init__(self, files: Sequence[Path], class_files: Sequence[Path], further: Sequence[ListSources] = ()) -> None:
        self._files = [sources.file(path) for path in files]
        self._class_files = class_files
        self._further = further
        self._valid: dict[str, Mapping[str, Any]] = {}
        self._valid_classes: dict[str, frozenset[str]] = {}
        self._problems: dict[str, str] = {}
        self._refreshed = threading.Event()
        self._thread: PeriodicThread | None = None
        self.current: Mapping[str, Any] = {}
        self.classes: frozenset[str] = frozenset()
        found = self._sources()
        self._read_all(source for source in found if not source.slow)
        self._replace(found)

    def start(self, period: float, wait: float, changed: Callable[[], None]) -> None:
        """Refresh in a thread, now and every `period` seconds; the thread calls `changed` after a change.

        Return after the first refresh or after `wait` seconds, whichever is earlier.
        """
        self._thread = PeriodicThread("facts", partial(self._step, changed), period)
        self._thread.start()
        self._refreshed.wait(wait)

    def wake(self, wait: float = 0.0) -> None:
        """Refresh in the thread now instead of at the end of the period; return after that, or after `wait` seconds."""
        if self._thread:
            self._refreshed.clear()
            self._thread.wake()
            self._refreshed.wait(wait)

    def stop(self) -> None:
        """End the thread after its current refresh, without waiting for that."""
        if self._thread:
            self._thread.stop()

    def refresh(self) -> bool:
        """Read every source again; return whether facts or classes changed. Only one thread at a time may call it."""
        before = (self.current, self.classes)
        found = self._sources()
        self._read_all(found)
        self._replace(found)
        return before != (self.current, self.classes)

    @property
    def problems(self) -> tuple[str, ...]:
        """What was wrong when the sources were read last, one line per source."""
        return tuple(filter(None, list(self._problems.values())))  # a copy: another thread adds to it

    def _step(self, changed: Callable[[], None]) -> None:
        if self.refresh():
            changed()
        self._refreshed.set()

    def _sources(self) -> list[Source]:
        return [
            sources.BUILT_IN,
            *(source for list_sources in self._further for source in list_sources()),
            *self._files,
        ]

    def _read_all(self, found: Iterable[Source]) -> None:
        for source in found:
            self._read("facts.broken", source.label, self._valid, source.read)
        for path in self._class_files:
            self._read("classes.broken", str(path), self._valid_classes, partial(_read_classes, path))

    def _read(self, event: str, label: str, valid: dict[str, Any], read: Callable[[], Any]) -> None:
        """Keep the result of `read` in `valid`; log its error and the values that it omits."""
        try:
            valid[label] = read()
        except Exception as error:
            text = str(error) if isinstance(error, CollectiveError) else f"{label}: {type(error).__name__}: {error}"
            self._report(event, label, text)
        else:
            self._report("facts.omitted", label, _summary(getattr(valid[label], "omitted", ())))

    def _report(self, event: str, label: str, text: str) -> None:
        """Log the problem of a source unless it is the same as the last time. An empty text stands for success."""
        if text and self._problems.get(label) != text:
            log.error(event, extra={"error": text})
        self._problems[label] = text

    def _replace(self, found: Iterable[Source]) -> None:
        labels = [source.label for source in found]
        for removed in self._valid.keys() - set(labels):
            del self._valid[removed]  # a file deleted from a folder is not a failed source
        merged: dict[str, Any] = {}
        for label in labels:
            merged.update(self._valid.get(label, {}))
        self.current = merged
        self.classes = frozenset().union(*self._valid_classes.values())


def _summary(lines: Sequence[str]) -> str:
    more = f"; and {len(lines) - _MOST_NAMED} more" if len(lines) > _MOST_NAMED else ""
    return "; ".join(lines[:_MOST_NAMED]) + more


def _read_classes(path: Path) -> frozenset[str]:
    try:
        return frozenset(path.read_text(encoding="utf-8").split())
    except FileNotFoundError:
        return frozenset()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8: {error.reason} at byte {error.start}") from None
