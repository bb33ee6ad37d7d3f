"""Keep on disk what policies count: the calls of each caller within the last hour, and the uses of approvals.

It is in the file of jobs and orders (jobs/store.py has the tables), so that a restart of the daemon does not begin the
hour again and an approved call cannot be repeated. Every method may raise Failed (`busy`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from collective.errors import Failed
from collective.node.storage.database import Database

MOST_USES = 10_000  # of approvals that have not expired


class CountedCall(NamedTuple):
    """A call of a caller: the run (or what else is counted once), when, and for how many nodes."""

    caller: str
    run: str
    time: float
    targets: int


class CallHistory:
    """The calls of the last hour. Times are in Unix seconds."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> list[CountedCall]:
        """Return the calls, oldest first; there may be some that are older than an hour."""
        query = "SELECT caller, run, time, targets FROM calls ORDER BY time"
        with self._database.transaction() as connection:
            return [CountedCall(*row) for row in connection.execute(query)]

    def store(self, changed: Iterable[CountedCall], gone: Iterable[CountedCall], before: float) -> None:
        """Write calls that are new or have changed; delete those that are `gone`, and those before a time."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM calls WHERE time < ?", (before,))
            connection.executemany(
                "DELETE FROM calls WHERE caller = ? AND run = ?", [(one.caller, one.run) for one in gone]
            )
            connection.executemany("INSERT OR REPLACE INTO calls VALUES (?, ?, ?, ?)", list(changed))


class ApprovalUses:
    """The requests that an approval was used for, by digest, until it expires.

    Their ids would not do: callers choose them, and the journal forgets an id long before an approval expires.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def is_used_up(self, run: str, digest: str, uses: int) -> bool:
        """Return whether the approval of a run was used for as many requests as it allows, this one not among them."""
        query = "SELECT count(*), max(request = ?) FROM approval_uses WHERE run = ?"
        with self._database.transaction() as connection:
            count, known = connection.execute(query, (digest, run)).fetchone()
        return count >= uses and not known

    def add(self, run: str, digest: str, until: float, now: float) -> None:
        """Record a use of an approval that expires at the time `until`."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM approval_uses WHERE until < ?", (now,))
            if connection.execute("SELECT count(*) FROM approval_uses").fetchone()[0] >= MOST_USES:
                raise Failed(f"this node has {MOST_USES} uses of approvals (try again later)", reason="busy")
            connection.execute("INSERT OR IGNORE INTO approval_uses VALUES (?, ?, ?)", (run, digest, until))
