"""Record requests on disk, so that each runs at most once and a duplicate gets the reply of the first.

    begin ─► taken ── start ──► started ── finish ──► answered ── done ──► done
               ├────────────── finish ────────────────────┘                 ▲
               └────────────── done: no reply is sent ──────────────────────┘

A request is recorded (`begin`) before its message is acknowledged, and marked as started before its action runs. After
a restart, a `taken` request is resumed. A `started` one must not run again: its caller gets the reason `interrupted`.
An `answered` one has a reply that was not sent.

Entries are deleted by age only, never to make room, so that a duplicate is always detected. A request sent or signed
before the journal was created is `too_early`: it may have run already, if an earlier journal was lost or damaged.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from collective.errors import Failed
from collective.messages import MAX_TTL
from collective.node.storage.database import Database
from collective.text import plural

log = logging.getLogger(__name__)

KEPT = 2 * MAX_TTL  # seconds; a captured request is valid for at most MAX_TTL plus twice the maximum skew (300 s)
MOST_ENTRIES = 100_000
MOST_BYTES = 256 * 1024 * 1024  # queued requests and replies
TAKEN, STARTED, ANSWERED, DONE = "taken", "started", "answered", "done"

_VERSION = 1
_TABLES = """
CREATE TABLE IF NOT EXISTS journal (began REAL NOT NULL);
CREATE TABLE IF NOT EXISTS requests (
    id TEXT PRIMARY KEY, state TEXT NOT NULL, since REAL NOT NULL, sent REAL NOT NULL, until REAL NOT NULL,
    reply_to TEXT NOT NULL, body TEXT NOT NULL, reply TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS by_age ON requests (since);
CREATE INDEX IF NOT EXISTS by_state ON requests (state) WHERE state <> 'done';
"""
_BEGIN = "INSERT INTO requests VALUES (?, ?, ?, ?, ?, ?, ?, '')"
_START = "UPDATE requests SET state = 'started' WHERE id = ? AND state = 'taken'"
_FINISH = "UPDATE requests SET state = 'answered', body = '', reply = ? WHERE id = ?"
_DONE = "UPDATE requests SET state = 'done', body = '' WHERE id = ?"
_FIND = "SELECT id, state, sent, until, reply_to, body, reply FROM requests WHERE id = ?"
_LEFT = "SELECT id FROM requests WHERE state <> 'done' AND state = ? ORDER BY since, rowid"
_DROP_OLD = "DELETE FROM requests WHERE since < ? AND state NOT IN ('taken', 'started')"


@dataclass(frozen=True)
class JournalEntry:
    """A recorded request. Times are Unix seconds by the server's clock.

    `sent` is when the request was sent, `until` when its caller times out. `body` is the message as received; it is
    removed when there is a reply. `reply` is the unsigned payload of the reply, empty before there is one.
    """

    id: str
    state: str
    sent: float
    until: float
    reply_to: str
    body: str
    reply: str


class Journal:
    """The entries of one node, by request id. `now` returns the server's time. Any number of threads may use it.

    With a `path` of None they are kept in memory, for tests. Every method may raise Failed (`busy`), for example when
    the disk is full.
    """

    def __init__(
        self,
        path: Path | None,
        now: Callable[[], float],
        *,
        most_entries: int = MOST_ENTRIES,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        """Open or create the file. Raise ConfigError when that is not possible."""
        self._database = Database(path, _TABLES, _VERSION)
        self._now = now
        self._most_entries = most_entries
        self._most_bytes = most_bytes

    def close(self) -> None:
        """Close the file. Later changes fail, as if the daemon had crashed before them."""
        self._database.close()

    def mark_beginning(self) -> None:
        """Store the creation time of a new journal; an older journal keeps its own. The server's time must be known."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO journal (began) SELECT ? WHERE NOT EXISTS (SELECT * FROM journal)", (self._now(),)
            )

    def too_early(self, when: float) -> bool:
        """Return whether a request sent or signed at that time may have run before this journal was created."""
        with self._database.transaction() as connection:
            row = connection.execute("SELECT began FROM journal").fetchone()
        if row is None:  # this file has just replaced a damaged one
            self.mark_beginning()
            return True
        return bool(when < row[0])

    def find(self, request_id: str) -> JournalEntry | None:
        """Return the entry of a request, None when it has not been recorded."""
        with self._database.transaction() as connection:
            row = connection.execute(_FIND, (request_id,)).fetchone()
        return JournalEntry(*row) if row else None

    def begin(self, request_id: str, *, sent: float, received: float, until: float, reply_to: str, body: str) -> None:
        """Record a new request. Raise Failed (`busy`) when the journal is full."""
        with self._database.transaction() as connection:
            connection.execute(_DROP_OLD, (received - KEPT,))
            count, size = _size(connection)
            if count >= self._most_entries:
                raise Failed(f"the journal is full: {plural(count, 'request')} (try again later)", reason="busy")
            if size >= self._most_bytes:
                raise Failed(f"the journal is full: {size} bytes (try again later)", reason="busy")
            connection.execute(_BEGIN, (request_id, TAKEN, received, sent, until, reply_to, body))

    def start(self, request_id: str) -> bool:
        """Mark the request as started. Return False if it was started before: its action must not run again."""
        with self._database.transaction() as connection:
            return connection.execute(_START, (request_id,)).rowcount > 0

    def finish(self, request_id: str, reply: str) -> bool:
        """Store the payload of the reply. Return whether the request has an entry."""
        with self._database.transaction() as connection:
            return connection.execute(_FINISH, (reply, request_id)).rowcount > 0

    def done(self, request_id: str) -> None:
        """Mark the request as done: its reply has been sent, or there is none."""
        with self._database.transaction() as connection:
            connection.execute(_DONE, (request_id,))

    def left(self, state: str) -> list[str]:
        """Return the ids of all requests in a state (TAKEN, STARTED, ANSWERED), oldest first."""
        with self._database.transaction() as connection:
            return [row[0] for row in connection.execute(_LEFT, (state,))]

    def size(self) -> tuple[int, int]:
        """Return the number of entries, and their size in bytes."""
        with self._database.transaction() as connection:
            return _size(connection)


def _size(connection: sqlite3.Connection) -> tuple[int, int]:
    count = connection.execute("SELECT count(*) FROM requests").fetchone()[0]
    pages, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return count, (pages - free) * size


@contextmanager
def noting() -> Iterator[None]:
    """Log an error of the journal instead of raising it, for changes that record what has already happened."""
    try:
        yield
    except Failed as error:
        log.error("journal.failed", extra={"error": str(error)})
