"""Set and remove local facts: those in one file of the node's folder `facts.d`.

Settings: `folder`, the folder of facts (/etc/collective/facts.d, or below the user's XDG configuration folder). It
must be one of `fact_folders` in node.yaml. The file is `local.json`. Other files of the folder are not changed, and
replace or are replaced by it, in the order of their names.

The node reads its facts again after each of these actions, so a filter sees the change within seconds.
A dry run returns whether the file would change.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from collective.agent import Aborted, Reply, Settings, action
from collective.agents._files import Owner, locate
from collective.ownership import replaceable
from collective.user_folders import user_folder

FILE = "local.json"
_LARGEST = 1024 * 1024  # bytes of the file

Values = dict[str, Any]


@action
def set(name: str, value: Any, *, settings: Settings, dry_run: bool = False) -> Reply:
    """Set a local fact."""
    return _changed(settings, dry_run, lambda facts: {**facts, name: value}, name)


@action
def remove(name: str, *, settings: Settings, dry_run: bool = False) -> Reply:
    """Remove a local fact."""
    return _changed(settings, dry_run, lambda facts: {key: facts[key] for key in facts if key != name}, name)


@action
def list(*, settings: Settings) -> Reply:
    """List the local facts."""
    return {"facts": _read(_folder(settings) / FILE)}


@action
def refresh() -> Reply:
    """Have the node read its facts again; it does so after every action of this agent."""
    return {}


def _changed(settings: Settings, dry_run: bool, change: Callable[[Values], Values], name: str) -> Reply:
    folder = _folder(settings)
    with contextlib.nullcontext() if dry_run else _locked(folder):
        before = _read(folder / FILE)
        after = change(before)
        changed = json.dumps(before, sort_keys=True) != json.dumps(after, sort_keys=True)
        if changed and not dry_run:
            _write(folder, after)
    return {"name": name, "changed": changed, "before": before.get(name)}


def _write(folder: Path, facts: Values) -> None:
    content = json.dumps(facts, indent=2, sort_keys=True).encode() + b"\n"
    if len(content) > _LARGEST:
        raise Aborted(f"{folder / FILE}: more than {_LARGEST} bytes")
    with locate(str(folder / FILE), [str(folder)], "folder") as place:
        place.replace(lambda file: _write_all(file, content), Owner())


def _write_all(file: Any, content: bytes) -> None:
    file.write(content)


def _read(path: Path) -> Values:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise Aborted(f"{path}: cannot be read: {error} (repair or delete the file)") from None
    if not isinstance(found, dict):
        raise Aborted(f"{path}: must be a JSON object (repair or delete the file)")
    return found


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lock the folder, so that two actions do not lose each other's change. Raises Aborted without a folder."""
    if problem := replaceable(folder):
        raise Aborted(problem)
    try:
        folder.mkdir(mode=0o755, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise Aborted(f"{folder}: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _folder(settings: Settings) -> Path:
    if "folder" in settings:
        return Path(settings["folder"])
    return Path("/etc/collective/facts.d") if os.geteuid() == 0 else user_folder("CONFIG") / "facts.d"
