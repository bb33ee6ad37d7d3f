"""Jobs and orders on disk, and the options that describe a job."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from support.jobs import ALICE, BOB, OpenJobs, stored
from support.node_server import request

from collective.clients import job_options
from collective.errors import Failed, UsageError
from collective.fleet.background import Background
from collective.node.actions.job import ActionResult
from collective.node.jobs import store as job_store
from collective.node.jobs.orders import Freeze, Frozen, Revocations
from collective.node.jobs.store import CANCELLED, ENDED, RUNNING, SCHEDULED, JobStore


def test_a_stored_job_begins_once(tmp_path: Path, open_jobs: OpenJobs) -> None:
    """The state of a job survives the daemon, and an end is recorded for the expected state only."""
    database = open_jobs(tmp_path / "jobs.sqlite")
    store = JobStore(database)
    store.add(stored())
    store.add(stored(start=99.0))
    assert (store.next_start(), store.due(4.0), [job.id for job in store.due(5.0)]) == (5.0, [], ["a"])
    assert (store.begin("a", 6.0), store.begin("a", 7.0)) == (True, False)
    database.close()
    store = JobStore(open_jobs(tmp_path / "jobs.sqlite"))
    assert [(job.id, job.state, job.began) for job in store.running()] == [("a", RUNNING, 6.0)]
    ok = ActionResult(data={"x": 1})
    assert not store.end("a", CANCELLED, ok, 8.0, before=[SCHEDULED])
    assert store.end("a", ENDED, ok, 8.0, before=[RUNNING])
    found = store.find("a")
    assert found is not None
    assert (found.state, found.body, found.result) == (
        ENDED,
        "",
        {"statuscode": 0, "statusmsg": "OK", "reason": None, "data": {"x": 1}},
    )
    store.purge(17.9)
    assert store.find("a") is not None
    store.purge(18.1)
    assert store.find("a") is None


def test_the_number_of_jobs_and_their_size_are_limited(monkeypatch: pytest.MonkeyPatch, open_jobs: OpenJobs) -> None:
    """One caller cannot fill the store for the others, and a result that is too large is replaced by an error."""
    monkeypatch.setattr(job_store, "CALLER_JOBS", 2)
    monkeypatch.setattr(job_store, "MOST_JOBS", 3)
    store = JobStore(open_jobs(None))
    for job_id in "ab":
        store.add(stored(job_id))
    with pytest.raises(Failed, match=f"2 jobs of '{ALICE}'"):
        store.add(stored("c"))
    store.add(stored("d", BOB))
    with pytest.raises(Failed, match="this node has 3 jobs"):
        store.add(stored("e", BOB))
    store.end("a", ENDED, ActionResult(data={"x": "y" * job_store.LARGEST_KEPT}), 1.0, before=[SCHEDULED])
    found = store.find("a")
    assert found is not None
    assert found.result is not None
    assert (found.result["statuscode"], "more than the limit" in found.result["statusmsg"]) == (5, True)


def test_orders_survive_a_restart(tmp_path: Path, open_jobs: OpenJobs) -> None:
    """A freeze and a revocation are in force again when the file is opened again."""
    database = open_jobs(tmp_path / "jobs.sqlite")
    Freeze(database, lambda: 1.0).freeze(ALICE, "test")
    revoked = request()
    Revocations(database, lambda: 1.0).add(revoked.id, ALICE, everyone=False)
    database.close()
    database = open_jobs(tmp_path / "jobs.sqlite")
    assert Freeze(database, lambda: 2.0).state == Frozen(ALICE, "test", 1.0)
    orders = Revocations(database, lambda: 2.0)
    assert (orders.by(revoked), orders.by(replace(revoked, caller=BOB)), orders.by(request())) == (ALICE, None, None)
    Freeze(database, lambda: 3.0).thaw()
    assert Freeze(database, lambda: 4.0).state is None


NOON = datetime(2026, 11, 27, 12, 0, tzinfo=timezone(timedelta(hours=1)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12:01", NOON + timedelta(minutes=1)),
        ("02:30", NOON.replace(day=28, hour=2, minute=30)),
        ("12:00:00", NOON.replace(day=28)),
        ("2026-11-28T02:30", NOON.replace(day=28, hour=2, minute=30)),
        ("2026-11-27T11:30+00:00", NOON.replace(hour=12, minute=30)),
    ],
)
def test_a_time_is_the_next_one(text: str, expected: datetime) -> None:
    """A time without a date is today or tomorrow, and one without a zone is local."""
    assert job_options.read_time(text, NOON) == expected.timestamp()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("25:00", "must be a time such as 02:30"),
        ("tomorrow", "must be a time such as 02:30"),
        ("2026-11-27T11:00", "this time is over"),
        ("2027-01-01T00:00", "more than 30 days from now"),
    ],
)
def test_an_invalid_time_is_refused(text: str, message: str) -> None:
    """The error names the option and the value."""
    with pytest.raises(UsageError, match=f"--at '{text}': {message}"):
        job_options.read_time(text, NOON)


@pytest.mark.parametrize("fields", [{"splay": -1.0}, {"delay": 2592001.0}, {"grace": float("nan")}, {"keep": 1e9}])
def test_an_invalid_job_is_refused(fields: dict[str, float]) -> None:
    """The error names the argument, its value and the limit."""
    with pytest.raises(UsageError, match=f"{next(iter(fields))} '.*at most 2592000"):
        Background(**fields)
