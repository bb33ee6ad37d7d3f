"""Notice that this package was replaced while the daemon runs: its processes would run the code of two versions.

pip lists the files of a distribution with their digests in `RECORD`. A checkout has no such file, and is not compared.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

from collective.version import __version__

log = logging.getLogger(__name__)

_PACKAGES = Path(__file__).parents[2]
_REPLACED = (
    f"the installed package collective-rpc was replaced while collectived {__version__} runs (restart collectived)"
)

_Stamp = tuple[int, int, int]  # inode, size in bytes, time of the last change in nanoseconds


class InstalledVersion:
    """The version that was installed in the folder `packages` when this object was made."""

    def __init__(self, packages: Path = _PACKAGES) -> None:
        self._record = packages / f"collective_rpc-{__version__}.dist-info" / "RECORD"
        self._stamp, self._digest = _stamp(self._record), _digest(self._record)
        self._is_reported = False

    @property
    def problems(self) -> tuple[str, ...]:
        """The line that another version, or another build of this one, is installed by now; logged once."""
        if self._digest is None or not self._is_replaced():
            return ()
        if not self._is_reported:
            self._is_reported = True
            log.error("package.replaced", extra={"error": _REPLACED})
        return (_REPLACED,)

    def _is_replaced(self) -> bool:
        """Return whether the file lists other content. The same content may be installed once more."""
        stamp = _stamp(self._record)
        if stamp == self._stamp:
            return False
        if _digest(self._record) != self._digest:
            return True
        self._stamp = stamp
        return False


def _stamp(path: Path) -> _Stamp | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_ino, found.st_size, found.st_mtime_ns)


def _digest(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None
