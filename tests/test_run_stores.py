"""The record of a run in files and in memory: compare and append, and the lease."""

from __future__ import annotations

import json
import multiprocessing
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.run_store_contract import CHECKS, MakeStore, begin_event, holder, order, request_event

from collective.errors import SignatureError
from collective.fleet.runs.folder import RunFolder
from collective.fleet.steering.file_store import FileRunStore
from collective.fleet.steering.lease import RunLease
from collective.fleet.steering.run_log import LEASE, Holder, RunEntry, RunProgress
from collective.fleet.steering.run_state import RunState
from collective.fleet.steering.statements import check, signed
from collective.messages import new_id
from collective.signing import RUN_NAMESPACE, allowed_signers, keys, sshsig
from collective.testing.run_store import MemoryRunStore


@pytest.mark.parametrize("kind", ["files", "memory"])
@pytest.mark.parametrize("contract", CHECKS, ids=lambda one: one.__name__)
def test_contract(contract: Callable[[MakeStore], None], kind: str, tmp_path: Path) -> None:
    """Files and memory do what every record does."""
    memory = MemoryRunStore(time.time)
    folder = RunFolder(tmp_path / "runs")
    contract(lambda: memory if kind == "memory" else FileRunStore(folder))


def test_the_lease_of_a_process_that_was_killed_ends_at_once(tmp_path: Path) -> None:
    """The lock on the file belongs to the process."""
    folder, run = RunFolder(tmp_path), new_id()
    context = multiprocessing.get_context("fork")
    created = context.Event()

    def hold() -> None:
        store = FileRunStore(folder)
        store.create([begin_event(run), request_event()], holder())
        created.set()
        signal.pause()

    process = context.Process(target=hold)
    process.start()
    assert created.wait(20)
    store = FileRunStore(folder)
    [entry] = store.runs()
    assert not store.take(entry, holder("bob"))
    process.kill()
    process.join()
    assert store.runs()[0].state == "unfinished"
    assert store.take(entry, holder("bob"))


def test_looks_at_a_run_do_not_prevent_its_takeover(tmp_path: Path) -> None:
    """Other callers list the runs all the time; a run without a holder can be taken whenever they look."""
    folder, run = RunFolder(tmp_path), new_id()
    store = FileRunStore(folder)
    store.create([begin_event(run), request_event()], holder())
    store.release(run, holder(), None)
    [entry], [file], ended = store.runs(), folder.newest(), threading.Event()

    def look() -> None:
        while not ended.is_set():
            file.is_running()

    others = [threading.Thread(target=look) for _ in range(2)]
    for other in others:
        other.start()
    taken = 0
    for _ in range(100):
        taken += store.take(entry, holder())
        store.release(run, holder(), None)
    ended.set()
    for other in others:
        other.join()
    assert taken == 100


def test_a_line_that_was_cut_is_ignored(tmp_path: Path) -> None:
    """What a killed process has written of a line does not spoil the next one."""
    folder, run = RunFolder(tmp_path), new_id()
    store = FileRunStore(folder)
    log = store.create([begin_event(run), request_event()], holder())
    with folder.newest()[0].path.open("a") as file:
        file.write('{"event":"ord')
    assert log.append([order("a")]) == []
    found = FileRunStore(folder)
    assert [event["event"] for event in found.log(found.runs()[0]).news()] == ["begin", "request", "order"]


class LeaseTimes:
    """A clock, and a store for leases."""

    def __init__(self) -> None:
        self.time = 0.0
        self.store = MemoryRunStore(lambda: self.time)

    def lease(self, owner: Holder) -> tuple[RunLease, str]:
        """Return a lease, and its run."""
        run = new_id()
        self.store.create([begin_event(run), request_event()], owner)
        return RunLease(self.store, run, owner, lambda: self.time), run


def test_a_lease_that_is_not_renewed_is_not_relied_on() -> None:
    """Some seconds before its end its holder stops sending; a renewal in time keeps it."""
    times = LeaseTimes()
    lease, _ = times.lease(holder())
    times.time = LEASE - 6
    assert lease.problem == ""
    lease.renew()
    times.time += LEASE - 6
    assert lease.problem == ""
    times.time += 5
    assert lease.problem == "its lease could not be renewed in time"


def test_a_lease_of_another_caller_is_noticed() -> None:
    """The renewal tells that another caller has taken the run."""
    times = LeaseTimes()
    lease, run = times.lease(holder())
    times.time = LEASE + 1
    assert times.store.take(RunEntry(run, 0.0, {}), holder("bob"))
    lease.renew()
    assert lease.problem == "another caller has taken it"
    lease.release(None)
    assert times.store.renew(run, times.store.runs()[0].holder or holder(), RunProgress())


# -- what is signed


def test_a_statement_counts_only_with_a_trusted_signature() -> None:
    """A statement is for one run and one caller; a changed one, a copy, and one of another key have no effect."""
    alice, eve = keys.new(), keys.new()
    signers = allowed_signers.parse(allowed_signers.signer_line("alice", alice.public), Path("signers"))
    run = new_id()

    def stop(by: str, key: keys.PrivateKey, **members: object) -> dict[str, object]:
        content = {"event": "order", "order": "stop", "run": run, "id": new_id(), "caller": by, "time": 1.0, **members}
        return signed(content, lambda text: sshsig.sign(key, text, RUN_NAMESPACE))

    check(stop("alice", alice), signers)
    for wrong in (
        stop("alice", eve),
        stop("bob", alice),
        {**stop("alice", alice), "order": "pause"},
        {**stop("alice", alice), "signature": None},
        signed({"caller": "alice", "time": 1.0}, lambda text: sshsig.sign(alice, text)),
    ):
        with pytest.raises(SignatureError):
            check(wrong, signers)
    state = RunState(run, signers)
    other = stop("alice", alice, run=new_id())
    pause = stop("alice", alice, order="pause")
    state.apply([stop("alice", eve), other, pause])
    assert (state.stopped, state.paused, len(state.refused)) == ("", "paused by 'alice'", 2)
    state.apply([stop("alice", alice, order="resume"), json.loads(json.dumps(pause))])
    assert state.paused == ""
