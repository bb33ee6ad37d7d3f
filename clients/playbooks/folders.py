"""Find the file of a playbook by path or name."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from collective.errors import UsageError
from collective.suggestions import suggest

_SUFFIXES = (".yaml", ".yml")


def find(name: str, folders: Sequence[Path]) -> Path:
    """Return the file `name`, or that of the playbook with this name; raise UsageError for an unknown one."""
    if "/" in name or name.endswith(_SUFFIXES):
        return Path(name)
    known = paths(folders)
    if name not in known:
        raise UsageError(f"unknown playbook '{name}' ({suggest(name, known, 'playbooks: ' + ', '.join(known))})")
    return known[name]


def paths(folders: Sequence[Path]) -> dict[str, Path]:
    """Return the file of each playbook by name, sorted; own playbooks hide shipped ones with the same name."""
    found: dict[str, Path] = {}
    for folder in (*folders, shipped()):
        for path in sorted(folder.glob("*.yaml")):
            found.setdefault(path.stem, path)
    return dict(sorted(found.items()))


def shipped() -> Path:
    """Return the folder of the shipped examples."""
    return Path(str(resources.files("collective.conf").joinpath("playbooks")))
