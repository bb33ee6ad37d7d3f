"""The place of this machine in a cluster, in the node's state folder: `clusters/<name>.json`.

It is locked while a process on this machine uses it, so that two do not take one place.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from collective.errors import ClusterRefused, ConfigError
from collective.replaced_file import replace_file


@dataclass(frozen=True)
class KeptPlace:
    """The place that this machine had last. `started`: the program was started in it, and may have left data."""

    token: str
    started: bool = False


class PlaceFile:
    """The file of one cluster; `folder` is created when it is missing."""

    def __init__(self, folder: Path, name: str) -> None:
        self._name = name
        self._path = folder / f"{name}.json"
        self._lock = folder / f"{name}.lock"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out during the block. Raises ClusterRefused if one uses it, and ConfigError."""
        try:
            self._lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise ConfigError(f"{self._lock}: cannot be opened: {error.strerror} (run it as the node's user)") from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            raise ClusterRefused(
                self._name, "another process on this node has joined it (stop that one first)"
            ) from None
        try:
            yield
        finally:
            os.close(handle)

    def read(self) -> KeptPlace | None:
        """Return the place; None if this machine has none. Raises ConfigError."""
        try:
            value = json.loads(self._path.read_text(encoding="utf-8"))
            return KeptPlace(str(value["token"]), value["started"] is True)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not what this command has written"
            raise ConfigError(f"{self._path}: cannot be read: {reason} (remove it if the data is lost)") from None

    def write(self, place: KeptPlace) -> None:
        """Store the place. Raises ConfigError."""
        try:
            replace_file(self._path, json.dumps(asdict(place)).encode(), durable=True)
        except OSError as error:
            raise ConfigError(f"{self._path}: cannot be written: {error.strerror}") from None

    def remove(self) -> None:
        """Forget the place."""
        with suppress(FileNotFoundError):
            self._path.unlink()
