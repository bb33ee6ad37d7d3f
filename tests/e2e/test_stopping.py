"""Test of SIGTERM with many requests in progress: the daemon reports unfinished ones, or leaves them queued."""

from __future__ import annotations

import json
import signal
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import failures
from support.daemons import configure, daemon
from support.footprint import Record
from support.request_flood import LoadCaller, load_caller
from support.waiting import wait_until

REQUESTS = 50


@pytest.fixture
def caller(tmp_path: Path, moto_server: str) -> Iterator[LoadCaller]:
    """Return a caller of a node with a `shutdown_timeout` of 1 s."""
    configure(tmp_path, collective=f"stop-{uuid.uuid4().hex[:8]}", shutdown_timeout=1.0)
    with load_caller(json.loads((tmp_path / "node.yaml").read_text())["collective"], moto_server) as caller:
        yield caller


@pytest.mark.failure(failures.SIGNAL, "SIGTERM to the daemon during 50 requests")
def test_sigterm_amid_fifty_requests(tmp_path: Path, caller: LoadCaller, moto_server: str, record: Record) -> None:
    """Each request gets one reply, from this daemon or the next: ok if it ran, interrupted if it ran at most once."""
    ran = tmp_path / "ran"
    with daemon(tmp_path, moto_server) as first:
        requests = [caller.run(f"sleep 0.6; echo {number} >> {ran}") for number in range(REQUESTS)]
        caller.send(requests)
        wait_until(ran.exists, 30)
        first.process.send_signal(signal.SIGHUP)
        first.process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        assert first.process.wait(30) == 0
        took = time.monotonic() - began
    (tmp_path / "log").rename(tmp_path / "log.first")
    with daemon(tmp_path, moto_server) as second:
        replies = caller.wait_for(requests, 40)
        assert not caller.receive(1.0)
        assert not second.events("node.internal_error")
    ends = {request.data["command"].split()[3]: replies[request.id].reason for request in requests}
    assert set(ends.values()) <= {None, "interrupted"}
    times = Counter(ran.read_text().split())
    assert max(times.values()) == 1
    assert {number for number, reason in ends.items() if reason is None} <= times.keys()
    assert {len(caller.replies[request.id]) for request in requests} == {1}
    interrupted = sum(reason == "interrupted" for reason in ends.values())
    record(f"SIGTERM amid {REQUESTS} requests: ended after {took:.1f} s, {interrupted} interrupted, the rest ok")
