"""Know what this node is: facts from files over a small built-in set, and the classes it is configured with.

Later sources win. A broken source is reported and keeps its last good values. `current` and `classes` are replaced
whole, never changed in place, so that whoever reads them sees one state.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from collective.config import read_yaml
from collective.errors import ConfigError

log = logging.getLogger(__name__)


class Facts:
    """The facts of `files` (YAML or JSON mappings) and the classes of `class_files` (a word a line)."""

    def __init__(self, files: Sequence[Path], class_files: Sequence[Path]) -> None:
        self._files = files
        self._class_files = class_files
        self._good: dict[Path, Mapping[str, Any]] = {}
        self._good_words: dict[Path, list[str]] = {}
        self.current: Mapping[str, Any] = {}
        self.classes: frozenset[str] = frozenset()
        self.refresh()

    def refresh(self) -> None:
        """Read every source again."""
        for path in self._files:
            try:
                self._good[path] = _read_facts(path)
            except ConfigError as fault:
                log.error("facts.broken", extra={"fault": str(fault)})
        merged: dict[str, Any] = dict(built_in())
        for path in self._files:
            merged.update(self._good.get(path, {}))
        self.current = merged
        for path in self._class_files:
            try:
                self._good_words[path] = _read_words(path)
            except (OSError, UnicodeDecodeError) as fault:
                log.error("classes.broken", extra={"fault": f"{path}: {fault}"})
        self.classes = frozenset(word for words in self._good_words.values() for word in words)


def built_in() -> dict[str, Any]:
    """Return what every node knows of itself without being told."""
    release = platform.freedesktop_os_release() if Path("/etc/os-release").exists() else {}
    return {
        "fqdn": socket.getfqdn(),
        "os": {"name": release.get("ID", "unknown"), "version": release.get("VERSION_ID", "")},
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "processors": os.cpu_count() or 1,
        "python": platform.python_version(),
    }


def _read_facts(path: Path) -> Mapping[str, Any]:
    if not path.exists():
        return {}
    facts = read_yaml(path)
    if facts is not None and not isinstance(facts, dict):
        raise ConfigError(f"{path}: must hold facts and values, not {type(facts).__name__}")
    try:
        # There and back: what the registry and every reply will say is what filters here look at.
        values: dict[str, Any] = json.loads(json.dumps(facts or {}, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as fault:
        raise ConfigError(f"{path}: facts must be what JSON can carry: {fault}") from None
    return values


def _read_words(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").split()
    except FileNotFoundError:
        return []
