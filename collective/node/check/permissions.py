"""Find files of the daemon that other users can change, and paths that the daemon cannot write.

Nothing is created: for a path that does not exist, the nearest existing folder is checked.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from collective.ownership import writable_by_others


def problems(read: Iterable[Path], written: Mapping[str, Path], user: int) -> Iterator[str]:
    """Yield problems of paths that are read, and of paths written, by configuration key. `user` is the daemon's uid."""
    targets = dict.fromkeys(target for path in read for target in _with_link_target(path))
    only_parents = _parents(targets) - set(map(_nearest, targets))
    for part in dict.fromkeys(part for target in targets for part in (target, *target.parents)):
        if error := writable_by_others(part, (0, user), may_be_sticky=part in only_parents):
            yield error
    for key, path in written.items():
        if error := _not_writable(path):
            yield f"{key}: {error}"


def below(folder: Path) -> Iterator[Path]:
    """Yield everything below a folder, at any depth and through links, each folder once."""
    seen: set[str] = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        real_path = os.path.realpath(place)
        if real_path in seen:
            folders.clear()
            continue
        seen.add(real_path)
        folders.sort()
        yield from (Path(place, name) for name in sorted([*folders, *files]))


def _with_link_target(path: Path) -> Iterator[Path]:
    """Yield a path, and its target if it is a link."""
    yield path.absolute()
    yield Path(os.path.realpath(path))  # Path.resolve() raises for circular links


def _parents(paths: Iterable[Path]) -> set[Path]:
    return {folder for path in paths for folder in path.parents}


def _nearest(path: Path) -> Path:
    """Return the path, or its nearest existing parent: a user who can write there can create the path."""
    return next(part for part in (path, *path.parents) if os.path.exists(part))  # noqa: PTH110 - Path's may raise


def _not_writable(path: Path) -> str | None:
    """Return the problem if `path` cannot be written or created; None if it can."""
    part = _nearest(path)
    if part != path and not part.is_dir():
        return f"{part}: not a folder (delete it, or configure another path)"
    needed = os.W_OK | os.X_OK if part.is_dir() else os.W_OK
    return None if os.access(part, needed) else f"{part}: not writable (change its owner, or configure another path)"
