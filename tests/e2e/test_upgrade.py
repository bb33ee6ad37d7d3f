"""Tests of SIGHUP with changed plugins, and of restarts, under steady load: no call is lost or runs twice.

A few callers in this process call one after the other with the Fleet API; each call leaves a line in a file.
"""

from __future__ import annotations

import itertools
import json
import signal
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import failures
from support.daemons import IDENTITY, aws_environment, configure, daemon
from support.waiting import wait_until

from collective import Fleet, Targets
from collective.aws.session import AWS
from collective.config import load_client
from collective.errors import Forbidden
from collective.messages import Reply
from collective.transport.sqs import SQSTransport

CALLERS = 3
TIMEOUT = 60.0  # seconds; a message whose poll died stays invisible for five

CODE = """
import time
from collective.agent import action

@action
def note(number):
    time.sleep(0.1)
    with open({ran!r}, "a") as file:
        file.write(f"{{number}}\\n")
    return {{"version": {version}}}
"""


def ddl(**version: object) -> str:
    """Return the DDL of the agent; `version` are keywords for the schema of its output."""
    properties = {"version": {"title": "Version", "type": "integer", **version}}
    body = {
        "description": "Leave a line",
        "timeout": 30,
        "idempotent": True,
        "input": {"type": "object", "required": ["number"], "properties": {"number": {"type": "integer"}}},
        "output": {"type": "object", "properties": properties},
    }
    metadata = {"name": "noting", "description": "Leaves lines", "version": "1"}
    return json.dumps({"metadata": metadata, "actions": {"note": body}})


@pytest.fixture
def folder(tmp_path: Path, moto_server: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the configuration folder of a collective of its own, whose caller is this process."""
    configure(tmp_path, collective=f"up-{uuid.uuid4().hex[:8]}")
    client = json.loads((tmp_path / "client.yaml").read_text())
    (tmp_path / "client.yaml").write_text(json.dumps({**client, "ddls": ["callers"]}))
    (tmp_path / "callers").mkdir()
    (tmp_path / "callers" / "noting.json").write_text(ddl())
    write_agent(tmp_path, 1)
    for name, value in aws_environment(moto_server).items():
        monkeypatch.setenv(name, value)
    return tmp_path


@pytest.fixture
def stream(folder: Path) -> Iterator[Stream]:
    """Return callers that are stopped after the test."""
    stream = Stream(folder)
    yield stream
    stream.stop()


def write_agent(folder: Path, version: int) -> None:
    """Write a version of the agent; its DDL accepts only this version, so that a mixture is an error."""
    (folder / "agents" / "noting.py").write_text(CODE.format(ran=str(folder / "ran"), version=version))
    (folder / "ddl" / "noting.json").write_text(ddl(const=version))


class NoAttributesTransport(SQSTransport):
    """A transport without permission to read queue attributes, so that the call waits for its whole timeout.

    With it, the caller gives up a node that has not read its queue for 7 s, which a restart takes on a busy machine.
    """

    def unread(self, queue: str) -> int:
        """Raise Forbidden."""
        raise Forbidden(f"{queue}: not allowed")


class Stream:
    """Calls without a pause. `replies` are the replies by number; `calls` is the number of calls after the stop."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count()
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._call, daemon=True) for _ in range(CALLERS)]
        self.replies: dict[int, Reply] = {}
        self.calls = 0

    def start(self) -> None:
        """Start calling."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop calling, and wait until every call has ended."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(TIMEOUT + 20)
        self.calls = next(self._numbers)

    def wait_for_more(self) -> None:
        """Wait until every caller has had replies to new calls."""
        enough = len(self.replies) + 3 * CALLERS
        wait_until(lambda: len(self.replies) >= enough, 40)

    def _call(self) -> None:
        with Fleet(load_client(self._folder / "client.yaml"), NoAttributesTransport(AWS()), None) as fleet:
            while not self._stopping.is_set():
                number = next(self._numbers)
                call = fleet.call(
                    "noting", "note", {"number": number}, targets=Targets(nodes=[IDENTITY]), timeout=TIMEOUT
                )
                for reply in call:
                    self.replies[number] = reply


def assert_all_answered_once(stream: Stream, folder: Path) -> None:
    """Check that each call has a successful reply and has left one line."""
    assert sorted(stream.replies) == list(range(stream.calls))
    assert [reply.statusmsg for reply in stream.replies.values() if reply.statuscode] == []
    assert Counter((folder / "ran").read_text().split()) == {str(number): 1 for number in range(stream.calls)}


@pytest.mark.failure(failures.SIGNAL, "SIGHUP to the daemon 20 times under load")
def test_sighup_under_load(folder: Path, stream: Stream, moto_server: str) -> None:
    """The agent changes twenty times under load: each reply is of one version, the last one of the last version."""
    with daemon(folder, moto_server) as node:
        stream.start()
        stream.wait_for_more()
        for version in range(2, 22):
            write_agent(folder, version)
            node.process.send_signal(signal.SIGHUP)
            node.wait_for("daemon.reloaded", version - 1)
        stream.wait_for_more()
        stream.stop()
        assert node.process.poll() is None
    assert_all_answered_once(stream, folder)
    versions = [stream.replies[number].data["version"] for number in sorted(stream.replies)]
    assert (versions[0], versions[-1]) == (1, 21)
    assert len(set(versions)) > 5


@pytest.mark.failure(failures.SIGNAL, "SIGTERM and a new daemon five times under load")
def test_restarts_under_load(folder: Path, stream: Stream, moto_server: str) -> None:
    """SIGTERM and the next daemon, as systemd restarts it, five times: no call is lost, interrupted or run twice."""
    for turn in range(5):
        with daemon(folder, moto_server) as node:
            if turn == 0:  # the queue exists by now
                stream.start()
            stream.wait_for_more()
            node.process.send_signal(signal.SIGTERM)
            assert node.process.wait(30) == 0
    with daemon(folder, moto_server):
        stream.wait_for_more()
        stream.stop()
    assert_all_answered_once(stream, folder)
