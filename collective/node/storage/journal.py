"""Record requests on disk, so that each runs at most once and a duplicate gets the reply of the first.

    begin ─► taken ── start ──► started ── finish ──► answered ── done ──► done
               ├────────────── finish ────────────────────┘                 ▲
               └────────────── done: no reply is sent ──────────────────────┘

A request is recorded (`begin`) before its message is acknowledged, and marked as started before its action runs. After
a restart, a `taken` request is resumed, a few times at most. A `started` one must not run again: its caller gets the
reason `interrupted`. An `answered` one has a reply that was not sent.

Entries are deleted when their message is too old to be accepted again, never to make room, so that a duplicate is
always detected. Each caller has a share of the journal, so that no caller can fill it for the others. A request sent or
signed before the journal was created is `too_early`: it may have run already, if an earlier journal was lost.
"""

from __future__ import annotations

import logging
import sqlite3
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collective.errors import Failed
from collective.messages import COMPRESS_ABOVE, MAX_SKEW
from collective.node.storage.database import Database
from collective.text import plural

log = logging.getLogger(__name__)

MOST_ENTRIES = 100_000
MOST_BYTES = 256 * 1024 * 1024  # queued requests and replies
CALLER_ENTRIES = 20_000  # of one caller
CALLER_BYTES = 64 * 1024 * 1024  # of one caller
CLOCK_MARGIN = 60.0  # seconds for which entries are kept longer, because the server's clock is known roughly
TAKEN, STARTED, ANSWERED, DONE = "taken", "started", "answered", "done"

_VERSION = 2
_TABLES = """
CREATE TABLE IF NOT EXISTS journal (began REAL NOT NULL, allowance REAL NOT NULL);
CREATE TABLE IF NOT EXISTS requests (
    id TEXT PRIMARY KEY, digest TEXT NOT NULL, caller TEXT NOT NULL, state TEXT NOT NULL, sent REAL NOT NULL,
    until REAL NOT NULL, expires REAL NOT NULL, reply_to TEXT NOT NULL, keeps_reply INTEGER NOT NULL,
    resumed INTEGER NOT NULL, body TEXT NOT NULL, reply BLOB NOT NULL, bytes INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS by_age ON requests (expires);
CREATE INDEX IF NOT EXISTS by_caller ON requests (caller, bytes);
CREATE INDEX IF NOT EXISTS by_state ON requests (state) WHERE state <> 'done';
"""
_COLUMNS = "id, digest, caller, state, sent, until, expires, reply_to, keeps_reply, resumed, body, reply"
_BEGIN = f"INSERT INTO requests ({_COLUMNS}, bytes) VALUES (?, ?, ?, 'taken', ?, ?, ?, ?, ?, 0, ?, '', ?)"  # noqa: S608
_START = "UPDATE requests SET state = 'started' WHERE id = ? AND state = 'taken'"
_FINISH = "UPDATE requests SET state = 'answered', body = '', reply = ?, bytes = ? WHERE id = ?"
_RESUME = "UPDATE requests SET resumed = resumed + 1 WHERE id = ?"
_DONE = "UPDATE requests SET state = 'done', body = '', bytes = length(reply) WHERE id = ? AND keeps_reply"
_DONE_WITHOUT_REPLY = (
    "UPDATE requests SET state = 'done', body = '', reply = '', bytes = 0 WHERE id = ? AND NOT keeps_reply"
)
_FIND = f"SELECT {_COLUMNS} FROM requests WHERE id = ?"  # noqa: S608 - columns only
_LEFT = "SELECT id FROM requests WHERE state <> 'done' AND state = ? ORDER BY rowid"
_DROP_OLD = "DELETE FROM requests WHERE expires < ? AND (state = 'done' OR (state = 'answered' AND until < ?))"
_OF_CALLER = "SELECT count(*), coalesce(sum(bytes), 0) FROM requests WHERE caller = ?"


@dataclass(frozen=True)
class JournalEntry:
    """A recorded request. Times are Unix seconds by the server's clock.

    `sent` is when the request was sent, `until` when its caller times out, `expires` from when its message is refused
    as too old. `body` is the message as received; it is removed when there is a reply. `reply` is the unsigned payload
    of the reply, empty before there is one; without `keeps_reply` it is removed when it has been sent. `resumed` is how
    many daemons have resumed the request.
    """

    id: str
    digest: str
    caller: str
    state: str
    sent: float
    until: float
    expires: float
    reply_to: str
    keeps_reply: bool
    resumed: int
    body: str
    reply: str


@dataclass(frozen=True)
class JournalLimits:
    """How much the journal holds, in all and of one caller."""

    entries: int = MOST_ENTRIES
    size: int = MOST_BYTES
    caller_entries: int = CALLER_ENTRIES
    caller_size: int = CALLER_BYTES


class Journal:
    """The entries of one node, by request id. `now` returns the server's time. Any number of threads may use it.

    With a `path` of None they are kept in memory, for tests. An empty file beside it, `<path>.began`, says that there
    has been a journal: without it, a missing journal is that of a new node. Every method may raise Failed (`busy`), for
    example when the disk is full.
    """

    def __init__(
        self,
        path: Path | None,
        now: Callable[[], float],
        *,
        limits: JournalLimits = JournalLimits(),
    ) -> None:
        """Open or create the file. Raise ConfigError when that is not possible."""
        self._database = Database(path, _TABLES, _VERSION)
        self._now = now
        self._marker = path.with_name(f"{path.name}.began") if path else None
        self._limits = limits
        self._secret: set[str] = set()  # requests whose messages have secrets, until they are deleted

    def close(self) -> None:
        """Close the file. Later changes fail, as if the daemon had crashed before them."""
        self._database.close()

    def mark_beginning(self) -> None:
        """Store the creation time of a new journal; an older journal keeps its own. The server's time must be known.

        If an earlier journal was lost, the requests in it may have been signed by a clock up to MAX_SKEW ahead.
        Requests of an older format are refused in any case.
        """
        replaced = self._database.replaced
        lost = replaced == "damaged" or (self._has_begun() and replaced != "older format")
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO journal SELECT ?, ? WHERE NOT EXISTS (SELECT * FROM journal)",
                (self._now(), MAX_SKEW if lost else 0.0),
            )

        if self._marker is not None:
            with suppress(OSError):
                self._marker.touch(mode=0o600)

    def _has_begun(self) -> bool:
        return self._marker is not None and self._marker.exists()

    def too_early(self, sent: float, signed: float) -> bool:
        """Return whether a request sent and signed at these times may have run before this journal was created."""
        with self._database.transaction() as connection:
            row = connection.execute("SELECT began, allowance FROM journal").fetchone()
        if row is None:  # this file has just replaced a damaged one
            self.mark_beginning()
            return True
        began, allowance = row
        return bool(sent < began or signed < began + allowance)

    def find(self, request_id: str) -> JournalEntry | None:
        """Return the entry of a request, None when it has not been recorded."""
        with self._database.transaction() as connection:
            row = connection.execute(_FIND, (request_id,)).fetchone()
        if row is None:
            return None
        members = [*row[:-1], _unpacked(row[-1])]
        return JournalEntry(*members)

    def begin(self, entry: JournalEntry, received: float, *, secret: bool = False) -> None:
        """Record a new request. Raise Failed (`busy`) when the journal, or the caller's share of it, is full.

        When the message of a `secret` request is deleted, it leaves no copy in the write-ahead log.
        """
        oldest = received - CLOCK_MARGIN
        with self._database.transaction() as connection:
            connection.execute(_DROP_OLD, (oldest, oldest))
            self._check_room(connection, entry.caller)
            values = (entry.id, entry.digest, entry.caller, entry.sent, entry.until, entry.expires, entry.reply_to)
            connection.execute(_BEGIN, (*values, entry.keeps_reply, entry.body, len(entry.body)))
        if secret:
            self._secret.add(entry.id)

    def _check_room(self, connection: sqlite3.Connection, caller: str) -> None:
        limits = self._limits
        whole, own = _size(connection), connection.execute(_OF_CALLER, (caller,)).fetchone()
        for (count, size), entries, most, whose in (
            (whole, limits.entries, limits.size, ""),
            (own, limits.caller_entries, limits.caller_size, f" for '{caller}'"),
        ):
            if count >= entries:
                raise Failed(f"the journal is full{whose}: {plural(count, 'request')} (try again later)", reason="busy")
            if size >= most:
                raise Failed(f"the journal is full{whose}: {size} bytes (try again later)", reason="busy")

    def resume(self, request_id: str) -> None:
        """Note that a request is resumed, before anything else is done with it."""
        with self._database.transaction() as connection:
            connection.execute(_RESUME, (request_id,))
        self._secret.add(request_id)  # it may have some

    def start(self, request_id: str) -> bool:
        """Mark the request as started. Return False if it was started before: its action must not run again."""
        with self._database.transaction() as connection:
            return connection.execute(_START, (request_id,)).rowcount > 0

    def finish(self, request_id: str, reply: str) -> bool:
        """Store the payload of the reply. Return whether the request has an entry."""
        with self._database.transaction() as connection:
            stored = _packed(reply)
            found = connection.execute(_FINISH, (stored, len(stored), request_id)).rowcount > 0
        self._forget(request_id)
        return found

    def done(self, request_id: str) -> None:
        """Mark the request as done: its reply has been sent, or there is none."""
        with self._database.transaction() as connection:
            connection.execute(_DONE, (request_id,))
            connection.execute(_DONE_WITHOUT_REPLY, (request_id,))
        self._forget(request_id)

    def _forget(self, request_id: str) -> None:
        if request_id in self._secret:
            self._secret.discard(request_id)
            self._database.overwrite_log()

    def left(self, state: str) -> list[str]:
        """Return the ids of all requests in a state (TAKEN, STARTED, ANSWERED), oldest first."""
        with self._database.transaction() as connection:
            return [row[0] for row in connection.execute(_LEFT, (state,))]

    def size(self) -> tuple[int, int]:
        """Return the number of entries, and their size in bytes."""
        with self._database.transaction() as connection:
            return _size(connection)


def _packed(reply: str) -> str | bytes:
    return zlib.compress(reply.encode()) if len(reply) > COMPRESS_ABOVE else reply


def _unpacked(stored: Any) -> str:
    return zlib.decompress(stored).decode() if isinstance(stored, bytes) else str(stored)


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
