"""Remember requests on disk, so that each runs at most once and a repeated one gets its first answer again.

    begin ─► taken ── start ──► started ── finish ──► answered ── done ──► done
               ├────────────── finish ────────────────────┘                 ▲
               └────────────── done: it is answered by silence ─────────────┘

A request is begun before it is acknowledged, and started before its action is run. What a daemon finds when it
starts: `taken` may go down the line again; `started` must not, and whoever waits is told so; `answered` was not sent.

Entries are dropped by age, never to make room: a live id is never forgotten. What was sent or signed before the
journal began is `too_early`, for it may have run already: the file before this one may have been lost or damaged.
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

log = logging.getLogger(__name__)

KEPT = 2 * MAX_TTL  # seconds; a captured request is valid for MAX_TTL and twice the greatest skew (300 s) at most
MOST_ENTRIES = 100_000
MOST_BYTES = 256 * 1024 * 1024  # of requests that wait, and of answers
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
    """One request that has been taken on. Times are Unix seconds by the server's clock.

    `sent` is when the request was sent, `until` when its caller leaves. `body` is the message as it came, until it
    is answered; `reply` is the payload text of the answer, unsigned, and empty as long as there is none.
    """

    id: str
    state: str
    sent: float
    until: float
    reply_to: str
    body: str
    reply: str


class Journal:
    """The entries of one node, by request id, for any number of threads. `now` returns the server's time.

    `path` None keeps them in memory, for tests. Every method may raise Failed (`busy`): a full disk, for one.
    """

    def __init__(
        self,
        path: Path | None,
        now: Callable[[], float],
        *,
        most_entries: int = MOST_ENTRIES,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        """Open or make the file; raise ConfigError when that cannot be done."""
        self._database = Database(path, _TABLES, _VERSION)
        self._now = now
        self._most_entries = most_entries
        self._most_bytes = most_bytes

    def close(self) -> None:
        """Close the file; what would be noted later is lost, as if the daemon had died before it."""
        self._database.close()

    def mark_beginning(self) -> None:
        """Note when a new journal began. The server must have told its time by now; an older journal keeps its own."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO journal (began) SELECT ? WHERE NOT EXISTS (SELECT * FROM journal)", (self._now(),)
            )

    def too_early(self, when: float) -> bool:
        """Tell whether what was sent or signed at that time may have run before this journal began."""
        with self._database.transaction() as connection:
            row = connection.execute("SELECT began FROM journal").fetchone()
        if row is None:  # the file was damaged, and this one has just taken its place
            self.mark_beginning()
            return True
        return bool(when < row[0])

    def find(self, request_id: str) -> JournalEntry | None:
        """Return the entry of a request that was taken on before."""
        with self._database.transaction() as connection:
            row = connection.execute(_FIND, (request_id,)).fetchone()
        return JournalEntry(*row) if row else None

    def begin(self, request_id: str, *, sent: float, received: float, until: float, reply_to: str, body: str) -> None:
        """Take a new request on. Raise Failed (`busy`) when there is no room."""
        with self._database.transaction() as connection:
            connection.execute(_DROP_OLD, (received - KEPT,))
            count, size = _size(connection)
            if count >= self._most_entries:
                raise Failed(f"the journal holds {count} requests: try again later", reason="busy")
            if size >= self._most_bytes:
                raise Failed(f"the journal holds {size} bytes: try again later", reason="busy")
            connection.execute(_BEGIN, (request_id, TAKEN, received, sent, until, reply_to, body))

    def start(self, request_id: str) -> bool:
        """Note that its action is about to be run; return False when that has been noted before: it must not run."""
        with self._database.transaction() as connection:
            return connection.execute(_START, (request_id,)).rowcount > 0

    def finish(self, request_id: str, reply: str) -> bool:
        """Keep the answer, the payload text of a reply; return whether there is an entry to keep it."""
        with self._database.transaction() as connection:
            return connection.execute(_FINISH, (reply, request_id)).rowcount > 0

    def done(self, request_id: str) -> None:
        """Note that nothing is left to do: the answer is on its way, or there is none."""
        with self._database.transaction() as connection:
            connection.execute(_DONE, (request_id,))

    def left(self, state: str) -> list[str]:
        """Return the ids of all requests in a state (TAKEN, STARTED, ANSWERED), oldest first."""
        with self._database.transaction() as connection:
            return [row[0] for row in connection.execute(_LEFT, (state,))]

    def size(self) -> tuple[int, int]:
        """Return how many requests are remembered, and how many bytes they take."""
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
    """Note in the journal what has happened already: when that fails, it can only be reported."""
    try:
        yield
    except Failed as error:
        log.error("journal.failed", extra={"error": str(error)})
