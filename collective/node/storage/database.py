"""One SQLite file of one daemon alone: opened, checked, and set aside under another name when it is damaged.

    Database.transaction() ── done wholly or not at all; what SQLite raises becomes Failed

Each transaction is on the disk before it is over (`synchronous=FULL`), so that neither a death of the daemon nor a
power cut undoes it; that is one fsync each. The lock is exclusive: a second daemon on one file is told so.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from collective.errors import ConfigError, Failed

log = logging.getLogger(__name__)

_PATIENCE = 1.0  # seconds that another process may take to give up its lock
_PASSING = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ENFILE, errno.EMFILE)  # of the disk, or the machine
_SETTINGS = ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = FULL", "secure_delete = ON")


class Database:
    """The file at `path`, readable by its owner alone; None: in memory. Any number of threads may use it.

    `tables` is SQL that makes what is not there yet; `version` tells it from what other versions of us made.
    """

    def __init__(self, path: Path | None, tables: str, version: int) -> None:
        """Open or make the file. Raise ConfigError when that cannot be done, Failed (`busy`) when it cannot be now."""
        self.path = path
        self._tables = tables
        self._version = version
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._closed = False
        try:
            self._open()
        except (sqlite3.OperationalError, OSError) as error:
            if _may_pass(error):
                now = f"{path}: cannot be opened: {error}: is it another daemon's, or the disk full?"
                raise Failed(now, reason="busy") from None
            raise ConfigError(f"{path}: cannot be opened: {error}: set 'state' to where it can be") from None

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Do one thing wholly or not at all. Raise Failed (`busy`) when the file cannot be read or written."""
        with self._lock:
            try:
                if self._closed:
                    raise sqlite3.OperationalError("it is closed")
                connection = self._connection or self._open()
                with connection:
                    yield connection
            except (sqlite3.Error, OSError) as error:
                self._roll_back()
                if _is_damage(error):
                    self._set_aside(error)
                raise Failed(f"{self.path}: cannot be used: {error}: try again later", reason="busy") from None

    def close(self) -> None:
        """Close the file for good: every further transaction fails."""
        with self._lock:
            self._closed = True
            self._disconnect()

    def _open(self) -> sqlite3.Connection:
        """Connect; with a new file when there is none, or it is damaged."""
        try:
            return self._connect()
        except sqlite3.Error as error:
            if not _is_damage(error):
                self._disconnect()
                raise
            self._set_aside(error)
            return self._connect()

    def _connect(self) -> sqlite3.Connection:
        if self.path:
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        connection = sqlite3.connect(self.path or ":memory:", timeout=_PATIENCE, check_same_thread=False)
        self._connection = connection
        for setting in _SETTINGS:
            connection.execute(f"PRAGMA {setting}").fetchall()
        said = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if said != "ok":
            raise sqlite3.DatabaseError(said)
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, self._version):
            raise sqlite3.DatabaseError(f"it is of format {version}, and this version knows {self._version}")
        connection.executescript(self._tables)
        if version != self._version:  # on a full disk too, what is there already can be opened: nothing is written
            connection.execute(f"PRAGMA user_version = {self._version}")
        return connection

    def _roll_back(self) -> None:
        """Undo what a commit that failed has left half done."""
        with contextlib.suppress(sqlite3.Error):
            if self._connection is not None:
                self._connection.rollback()

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _set_aside(self, error: Exception) -> None:
        """Keep a damaged file, and what belongs to it, under another name: somebody may want to look into it."""
        self._disconnect()
        if self.path is None:
            return
        kept = f"{self.path}.damaged-{time.time_ns()}"
        for suffix in ("", "-wal", "-shm"):
            part = Path(f"{self.path}{suffix}")
            if part.exists():
                part.rename(f"{kept}{suffix}")
        log.error("database.damaged", extra={"path": str(self.path), "error": str(error), "kept": kept})


def _is_damage(error: Exception) -> bool:
    """Tell whether SQLite finds fault with the file itself; the subclasses are about the disk, or about us."""
    return type(error) is sqlite3.DatabaseError


def _may_pass(error: Exception) -> bool:
    """Tell whether the same may go well later: a lock is given up, a disk gets room or is mended."""
    return isinstance(error, sqlite3.Error) or getattr(error, "errno", None) in _PASSING
