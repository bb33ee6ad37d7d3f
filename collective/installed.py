"""Find the agents and data functions that installed distributions bring, by their entry points.

    [options.entry_points]
    collective.plugins =
        acme = acme_agents            a package with the folders `agents` and `ddl`, as in /etc/collective

The package is located but not imported.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import cache
from pathlib import Path

log = logging.getLogger(__name__)

GROUP = "collective.plugins"


@cache
def folders() -> tuple[Path, ...]:
    """Return the folder of each package, sorted by the name of its entry point; missing packages are logged."""
    from importlib.metadata import entry_points  # takes 10 ms, which callers of the standard agents do not spend

    return tuple(folder for entry in sorted(entry_points(group=GROUP)) for folder in _located(entry.name, entry.value))


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
