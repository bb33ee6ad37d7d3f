"""Keep background jobs and their results on disk.

    add ─► scheduled ── begin ──► running ── end ──► ended │ cancelled
              ├── cancelled              └─ daemon crashed ─► interrupted
              ├── expired    the node was off, or frozen, for longer than the grace time
              └── refused    the policy, or the DDL, no longer allows it

A job begins at most once: `begin` succeeds for a scheduled job only. What has ended is kept for the time that its
caller asked for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collective.errors import Aborted, Failed
from collective.node.actions.job import ActionResult
from collective.node.storage.database import Database
from collective.text import plural

MOST_JOBS = 10_000
CALLER_JOBS = 1_000  # of one caller
LARGEST_KEPT = 1024 * 1024  # bytes of a result

SCHEDULED, RUNNING = "scheduled", "running"
ENDED, CANCELLED, EXPIRED, REFUSED, INTERRUPTED = "ended", "cancelled", "expired", "refused", "interrupted"

_VERSION = 1
_TABLES = """
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY, run TEXT, digest TEXT NOT NULL, caller TEXT NOT NULL, agent TEXT NOT NULL,
    action TEXT NOT NULL, created REAL NOT NULL, start REAL NOT NULL, grace REAL NOT NULL, keep REAL NOT NULL,
    state TEXT NOT NULL, began REAL, ended REAL, body TEXT NOT NULL, result TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS jobs_by_start ON jobs (start) WHERE state = 'scheduled';
CREATE TABLE IF NOT EXISTS revoked (
    id TEXT NOT NULL, caller TEXT NOT NULL, everyone INTEGER NOT NULL, until REAL, PRIMARY KEY (id, caller)
);
CREATE TABLE IF NOT EXISTS frozen (caller TEXT NOT NULL, reason TEXT NOT NULL, since REAL NOT NULL);
CREATE TABLE IF NOT EXISTS calls (
    caller TEXT NOT NULL, run TEXT NOT NULL, time REAL NOT NULL, targets INTEGER NOT NULL, PRIMARY KEY (caller, run)
);
CREATE TABLE IF NOT EXISTS approval_uses (
    run TEXT NOT NULL, request TEXT NOT NULL, until REAL NOT NULL, PRIMARY KEY (run, request)
);
"""
_COLUMNS = "id, run, digest, caller, agent, action, created, start, grace, keep, state, began, ended, body, result"


@dataclass(frozen=True)
class StoredJob:
    """One job; its `id` is that of its request. Times are in Unix seconds by the server's clock.

    `start` is when it may begin, `grace` for how many seconds after that, `keep` for how many seconds its result is
    kept. `body` is the request as received, empty once it has ended. `result` has statuscode, statusmsg, reason and
    data.
    """

    id: str
    run: str | None
    digest: str
    caller: str
    agent: str
    action: str
    created: float
    start: float
    grace: float
    keep: float
    state: str = SCHEDULED
    began: float | None = None
    ended: float | None = None
    body: str = ""
    result: Mapping[str, Any] | None = None


def open_database(path: Path | None) -> Database:
    """Open or create the file of jobs, orders and what policies count; None: in memory. Raise ConfigError or Failed."""
    return Database(path, _TABLES, _VERSION)


class JobStore:
    """The jobs of one node. Any number of threads may use it. Every method may raise Failed (`busy`)."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, job: StoredJob) -> None:
        """Store a scheduled job; one that is known is kept as it is.

        Raise Failed (`busy`) when there are too many, and Aborted when another request's job has the id: callers choose
        ids, and a job is kept for longer than the journal keeps its request.
        """
        with self._database.transaction() as connection:
            known = connection.execute("SELECT digest FROM jobs WHERE id = ?", (job.id,)).fetchone()
            if known is not None:
                if known[0] != job.digest:
                    raise Aborted(f"another job of this node has the id '{job.id}' (send the request again)")
                return
            count = "SELECT count(*) FROM jobs"
            every = connection.execute(count).fetchone()[0]
            own = connection.execute(f"{count} WHERE caller = ?", (job.caller,)).fetchone()[0]
            for found, most, whose in ((every, MOST_JOBS, ""), (own, CALLER_JOBS, f" of '{job.caller}'")):
                if found >= most:
                    raise Failed(f"this node has {plural(found, 'job')}{whose} (try again later)", reason="busy")
            values = (job.id, job.run, job.digest, job.caller, job.agent, job.action, job.created, job.start)
            connection.execute(
                f"INSERT INTO jobs ({_COLUMNS}) "  # noqa: S608 - columns only
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'scheduled', NULL, NULL, ?, '')",
                (*values, job.grace, job.keep, job.body),
            )

    def find(self, job_id: str, caller: str = "") -> StoredJob | None:
        """Return the job with this id, or of the run with this id, those of `caller` first; None for an unknown one.

        Callers choose the run of a request, so a job of the same run never stands for the job with the id.
        """
        order = "id = ? OR run = ? ORDER BY id = ? DESC, caller = ? DESC, created"
        return next(iter(self._select(order, job_id, job_id, job_id, caller)), None)

    def all(self) -> list[StoredJob]:
        """Return every job, oldest first, without the requests and results."""
        return self._select("1 ORDER BY created", columns=_COLUMNS.replace("body, result", "'', ''"))

    def due(self, now: float) -> list[StoredJob]:
        """Return the scheduled jobs whose time has come, oldest first."""
        return self._select("state = 'scheduled' AND start <= ? ORDER BY start", now)

    def running(self) -> list[StoredJob]:
        """Return the jobs that run, or ran when an earlier daemon stopped."""
        return self._select("state = 'running'")

    def next_start(self) -> float | None:
        """Return when the next scheduled job starts; None if there is none."""
        with self._database.transaction() as connection:
            found = connection.execute("SELECT min(start) FROM jobs WHERE state = 'scheduled'").fetchone()
        return None if found[0] is None else float(found[0])

    def begin(self, job_id: str, now: float) -> bool:
        """Mark a scheduled job as running; return False if it is not scheduled any more."""
        with self._database.transaction() as connection:
            return (
                connection.execute(
                    "UPDATE jobs SET state = 'running', began = ? WHERE id = ? AND state = 'scheduled'", (now, job_id)
                ).rowcount
                > 0
            )

    def end(self, job_id: str, state: str, result: ActionResult, now: float, *, before: Sequence[str]) -> bool:
        """Store how a job that is in one of the states `before` has ended; return whether it was."""
        kept = json.dumps(result._asdict(), ensure_ascii=False)
        if len(kept) > LARGEST_KEPT:
            text = f"the result has {len(kept)} bytes, more than the limit of {LARGEST_KEPT} bytes"
            kept = json.dumps({"statuscode": 5, "statusmsg": text, "reason": "crashed", "data": {}})
        marks = ", ".join("?" * len(before))
        with self._database.transaction() as connection:
            return (
                connection.execute(
                    f"UPDATE jobs SET state = ?, ended = ?, result = ?, body = '' WHERE id = ? AND state IN ({marks})",  # noqa: S608
                    (state, now, kept, job_id, *before),
                ).rowcount
                > 0
            )

    def purge(self, now: float) -> None:
        """Delete the jobs that have ended and need not be kept any more."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM jobs WHERE ended IS NOT NULL AND ended + keep < ?", (now,))

    def _select(self, where: str, *values: Any, columns: str = _COLUMNS) -> list[StoredJob]:
        query = f"SELECT {columns} FROM jobs WHERE {where}"  # noqa: S608 - constants only
        with self._database.transaction() as connection:
            rows = connection.execute(query, values).fetchall()
        return [_job(row) for row in rows]


def _job(row: Sequence[Any]) -> StoredJob:
    members = [*row[:-1], json.loads(row[-1]) if row[-1] else None]
    return StoredJob(*members)
