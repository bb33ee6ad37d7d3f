"""Callers with the same state folder do not wait for each other."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import IO

import pytest
from support.scripted_calls import network_of
from support.scripted_fleet import COLLECTIVE

from collective.fleet import reply_slots
from collective.fleet.call import Call
from collective.fleet.runs.folder import RunFolder
from collective.fleet.runs.recorder import RunRecorder

CALLERS = 10
NODES = "abcdefghijklmno"  # more than get a message each: how long the sending took is remembered


def test_ten_callers_hold_no_lock_that_another_one_waits_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten calls are open at once, each with its own queue; all get all replies, and no lock is waited for."""
    locks: list[int] = []
    waited: list[int] = []
    flock = fcntl.flock

    def counted(file: IO[str] | int, operation: int) -> None:
        locks.append(operation)
        try:
            flock(file, operation | fcntl.LOCK_NB)
        except BlockingIOError:
            if operation & fcntl.LOCK_NB:
                raise
            waited.append(operation)
            flock(file, operation)

    monkeypatch.setattr(fcntl, "flock", counted)
    network = network_of(NODES)
    fleets = [network.fleet(tmp_path) for _ in range(CALLERS)]
    calls: list[Call] = []
    for fleet in fleets:
        record = RunRecorder(RunFolder(tmp_path / "runs"))
        calls.append(fleet.call("shell", "run", {"command": "true"}, timeout=10.0, record=record))
    assert len(reply_slots.queues(tmp_path, COLLECTIVE)) == CALLERS
    for call in calls:
        assert sorted(reply.sender for reply in call) == list(NODES)
    assert len(locks) >= CALLERS
    assert waited == []
    assert len(list((tmp_path / "runs").glob("*.jsonl*"))) == CALLERS
