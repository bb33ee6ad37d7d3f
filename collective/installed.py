"""Find the agents and data functions that installed distributions bring, by their entry points.

    [options.entry_points]
    collective.plugins =
        acme = acme_agents            a package with the folders `agents` and `ddl`, as in /etc/collective

The package is located but not imported.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

log = logging.getLogger(__name__)

GROUP = "collective.plugins"


@cache
def folders() -> tuple[Path, ...]:
    """Return the folder of each package, sorted by the name of its entry point; missing packages are logged."""
    return tuple(folder for entry in sorted(entries(GROUP)) for folder in _located(entry.name, entry.value))


def entries(group: str) -> list[EntryPoint]:
    """Return the entry points of a group in all installed distributions."""
    if not any(_may_have(folder, group) for folder in sys.path):
        return []
    from importlib.metadata import (
        entry_points,
    )  # takes 20 ms, which callers without such distributions need not wait for

    return list(entry_points(group=group))


def _may_have(folder: str, group: str) -> bool:
    """Return whether a distribution in a folder of Python's search path, or in an archive, may have such a group."""
    if os.path.isfile(folder):  # noqa: PTH113 - faster, and called for each entry
        return True
    try:
        files = [
            f"{entry.path}/entry_points.txt" for entry in os.scandir(folder or ".") if entry.name.endswith("-info")
        ]
    except OSError:
        return False
    return any(group in _content(file) for file in files)


def _content(file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def code_folders() -> list[Path]:
    """Return the folders of code."""
    return [folder / "agents" for folder in folders()]


def ddl_folders() -> list[Path]:
    """Return the folders of DDLs."""
    return [folder / "ddl" for folder in folders()]


def _located(name: str, package: str) -> Iterator[Path]:
    from importlib.util import find_spec

    try:
        found = find_spec(package)
        if found is None or not found.submodule_search_locations:
            raise ImportError(f"no package '{package}'")
    except (ImportError, ValueError) as error:
        log.warning("plugins.missing", extra={"error": f"entry point '{name}' of {GROUP}: {error} (reinstall it)"})
        return
    yield Path(found.submodule_search_locations[0])
