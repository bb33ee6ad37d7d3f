"""An SQLite file that one daemon uses exclusively. A damaged file is renamed and replaced by a new one.

    Database.transaction()   atomic; errors of SQLite become Failed

Each transaction is on the disk when it ends (`synchronous=FULL`, one fsync), so that it survives a crash of the daemon
and a power failure. The lock is exclusive: a second daemon with the same file gets an error.
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

_LOCK_TIMEOUT = 1.0  # seconds to wait for the lock of another process
_TEMPORARY_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ENFILE, errno.EMFILE)
_SETTINGS = ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = FULL", "secure_delete = ON")


class _OlderFormat(sqlite3.DatabaseError):
    """The file was written by an older version of collective."""


class Database:
    """The database in the file `path`, readable by its owner only; None: in memory. Any number of threads may use it.

    `tables` is SQL that creates missing tables. `version` is the format version stored in the file.
    """

    def __init__(self, path: Path | None, tables: str, version: int) -> None:
        """Open or create the file. Raise ConfigError, or Failed (`busy`) for a temporary error."""
        self.path = path
        self._tables = tables
        self._version = version
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._closed = False
        self.replaced: str | None = None  # why an existing file was replaced: "damaged" or "older format"
        try:
            self._open()
        except (sqlite3.OperationalError, OSError) as error:
            if _is_temporary(error):
                text = f"{path}: cannot be opened: {error} (is the disk full, or does another daemon use the file?)"
                raise Failed(text, reason="busy") from None
            raise ConfigError(f"{path}: cannot be opened: {error} (set 'state' to a writable folder)") from None

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Run an atomic transaction. Raise Failed (`busy`) when the file cannot be read or written."""
        with self._lock:
            try:
                if self._closed:
                    raise sqlite3.OperationalError("the database is closed")
                connection = self._connection or self._open()
                with connection:
                    yield connection
            except (sqlite3.Error, OSError) as error:
                self._roll_back()
                if _is_damage(error):
                    self._set_aside(error)
                raise Failed(
                    f"{self.path}: cannot be read or written: {error} (try again later)", reason="busy"
                ) from None

    def overwrite_log(self) -> None:
        """Move the content of the write-ahead log into the file, and truncate it: it holds what was deleted since.

        Nothing happens if that fails: it is tried again after the next deletion.
        """
        with self._lock:
            if self._connection is not None:
                _empty_log(self._connection)

    def close(self) -> None:
        """Close the file permanently: every later transaction fails."""
        with self._lock:
            self._closed = True
            self._disconnect()

    def _open(self) -> sqlite3.Connection:
        """Connect to the file, or to a new one if it does not exist or is damaged."""
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
        connection = sqlite3.connect(self.path or ":memory:", timeout=_LOCK_TIMEOUT, check_same_thread=False)
        self._connection = connection
        for setting in _SETTINGS:
            connection.execute(f"PRAGMA {setting}").fetchall()
        result = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if result != "ok":
            raise sqlite3.DatabaseError(result)
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, self._version):
            error = _OlderFormat if version < self._version else sqlite3.DatabaseError
            raise error(f"the file has format {version}, this version of collective supports {self._version}")
        connection.executescript(self._tables)
        if version != self._version:  # an existing file is not written, so that it can be opened on a full disk
            connection.execute(f"PRAGMA user_version = {self._version}")
        _empty_log(connection)  # a killed daemon has left it
        return connection

    def _roll_back(self) -> None:
        """End the transaction of a failed commit."""
        with contextlib.suppress(sqlite3.Error):
            if self._connection is not None:
                self._connection.rollback()

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _set_aside(self, error: Exception) -> None:
        """Rename a damaged file and its WAL files, to keep them for analysis."""
        self._disconnect()
        if self.path is None:
            return
        kept = f"{self.path}.damaged-{time.time_ns()}"
        for suffix in ("", "-wal", "-shm"):
            part = Path(f"{self.path}{suffix}")
            if part.exists():
                part.rename(f"{kept}{suffix}")
        older = isinstance(error, _OlderFormat)
        self.replaced = "older format" if older else "damaged"
        event, level = ("database.replaced", logging.WARNING) if older else ("database.damaged", logging.ERROR)
        log.log(level, event, extra={"path": str(self.path), "error": str(error), "kept": kept})


def _empty_log(connection: sqlite3.Connection) -> None:
    with contextlib.suppress(sqlite3.Error):  # the disk is full
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _is_damage(error: Exception) -> bool:
    """Return whether the file itself is damaged; subclasses of DatabaseError have other causes."""
    return type(error) in (sqlite3.DatabaseError, _OlderFormat)


def _is_temporary(error: Exception) -> bool:
    """Return whether a retry may succeed: the lock may be released, or space on the disk become free."""
    return isinstance(error, sqlite3.Error) or getattr(error, "errno", None) in _TEMPORARY_ERRORS
