"""The state of a watcher: its members, and the events that no handler has received yet.

Members and events change in one transaction, and an event is deleted when it was delivered. A watcher that is stopped
loses and repeats nothing. If it is killed while an event is being delivered, that event is delivered again, with the
same number.

The file is an SQLite database, which one watcher uses at a time.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from collective.errors import ConfigError
from collective.membership.members import Event, Member

_FORMAT = 1
_LOCK_TIMEOUT = 1.0  # seconds to wait for another watcher that ends
_REMEDY = "delete it to begin again, or use another file"
_HINTS = {"locked": "another watcher uses it", "full": "free some space", "no such": _REMEDY}  # by a part of the error
_TABLES = """
CREATE TABLE IF NOT EXISTS members (identity TEXT PRIMARY KEY, document TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS events (number INTEGER PRIMARY KEY AUTOINCREMENT, document TEXT);
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
_TABLE_NAMES = {"members", "events", "settings", "sqlite_sequence"}


class StateFile:
    """The state of a watcher of `collective` in the file `path`; None: in memory. Any number of threads may use it.

    Raises ConfigError if the file cannot be used, or is that of another collective.
    """

    def __init__(self, path: Path | None, collective: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        with self._errors("opened"):
            if path:
                os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            self._connection = sqlite3.connect(
                path or ":memory:", timeout=_LOCK_TIMEOUT, check_same_thread=False, isolation_level=None
            )
            try:
                self._prepare(collective)
            except BaseException:
                self._connection.close()
                raise

    @property
    def is_new(self) -> bool:
        """Whether no members have been stored yet."""
        return self._setting("begun") is None

    def members(self) -> dict[str, Member]:
        """Return the stored members by identity."""
        rows = self._rows("SELECT identity, document FROM members")
        with self._errors("read"):
            return {identity: Member.from_data(json.loads(document)) for identity, document in rows}

    @property
    def cursor(self) -> str | None:
        """Where in the table's stream the stored events end; None without a stream."""
        return self._setting("cursor") or None

    def add(self, events: Sequence[Event], removed: Iterable[str] = (), cursor: str | None = None) -> list[Event]:
        """Store events, and the members after them; delete the members `removed`. Return the events with numbers."""
        numbered = []
        with self._transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO settings VALUES ('begun', '1'), ('cursor', ?)", (cursor or "",))
            for event in events:
                added = connection.execute("INSERT INTO events (document) VALUES (NULL)")
                data = event.to_data() | {"number": added.lastrowid}
                connection.execute(
                    "UPDATE events SET document = ? WHERE number = ?", (json.dumps(data), data["number"])
                )
                member = (event.member.identity, json.dumps(event.member.to_data()))
                connection.execute("INSERT OR REPLACE INTO members VALUES (?, ?)", member)
                numbered.append(Event.from_data(data))
            connection.executemany("DELETE FROM members WHERE identity = ?", [(name,) for name in removed])
        return numbered

    def pending(self) -> list[Event]:
        """Return the events that were not delivered, the oldest first."""
        rows = self._rows("SELECT document FROM events ORDER BY number")
        with self._errors("read"):
            return [Event.from_data(json.loads(document)) for (document,) in rows]

    def delivered(self, events: Iterable[Event]) -> None:
        """Delete events that were delivered. They may be delivered again after a power failure."""
        with self._transaction(synchronous="NORMAL") as connection:
            connection.executemany("DELETE FROM events WHERE number = ?", [(event.number,) for event in events])

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def _prepare(self, collective: str) -> None:
        self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        names = {name for (name,) in self._connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not names <= _TABLE_NAMES:
            raise ConfigError(f"{self._path}: is not the state of a watcher (use another file)")
        self._connection.execute("PRAGMA journal_mode = WAL").fetchall()
        version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, _FORMAT):
            raise sqlite3.DatabaseError(f"format {version}, this version of collective supports {_FORMAT}")
        self._connection.executescript(_TABLES)
        self._connection.execute(f"PRAGMA user_version = {_FORMAT}")
        stored = self._setting("collective")
        if stored not in (None, collective):
            raise ConfigError(
                f"{self._path}: is the state of the collective '{stored}', not '{collective}' (use another file)"
            )
        self._connection.execute("INSERT OR REPLACE INTO settings VALUES ('collective', ?)", (collective,))

    def _setting(self, name: str) -> str | None:
        rows = self._rows("SELECT value FROM settings WHERE name = ?", name)
        return str(rows[0][0]) if rows else None

    def _rows(self, query: str, *values: str) -> list[Any]:
        with self._lock, self._errors("read"):
            return self._connection.execute(query, values).fetchall()

    @contextmanager
    def _transaction(self, synchronous: str = "FULL") -> Iterator[sqlite3.Connection]:
        """Run a transaction; FULL: it is on the disk at the end (sqlite.org/pragma.html#pragma_synchronous)."""
        with self._lock, self._errors("written"):
            self._connection.execute(f"PRAGMA synchronous = {synchronous}")
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        """Translate errors of the file into ConfigError."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            text = getattr(error, "strerror", None) or str(error)
            raise ConfigError(f"{self._path}: state cannot be {what}: {text} ({_hint(error, text)})") from None
        except (ValueError, TypeError, LookupError, AttributeError):  # a document that was not written by this program
            raise ConfigError(f"{self._path}: state cannot be {what}: it is damaged ({_REMEDY})") from None


def _hint(error: sqlite3.Error | OSError, text: str) -> str:
    """Return what to do about an error of the file; SQLite reports damage as a DatabaseError of no other class."""
    for part, hint in _HINTS.items():
        if part in text:
            return hint
    return "use another file" if isinstance(error, (OSError, sqlite3.OperationalError)) else _REMEDY
