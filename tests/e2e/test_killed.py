"""Tests of SIGKILL to a real daemon at every step of a request: nothing runs twice, and the caller learns the outcome.

`make kills` does each twenty times. The proxy sees what the daemon sends and receives, and so knows the steps around
the journal. tests/test_simulation.py covers every single step, without processes.
"""

from __future__ import annotations

import json
import os
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support import failures
from support.crpc_process import Completed, make_crpc
from support.daemons import IDENTITY, Daemon, aws_environment, configure, daemon
from support.proxy import Proxy
from support.waiting import wait_until

TIMES = int(os.environ.get("KILLS", "2"))
TIMEOUT = "90"  # seconds; a message whose poll died stays invisible for some of them


Reply = tuple[int, str | None]


class KilledNode:
    """A daemon behind a proxy, and callers that reach the server without it."""

    def __init__(self, folder: Path, server: str) -> None:
        self.folder = folder
        self.proxy = Proxy(server)
        self._crpc = make_crpc({**aws_environment(server), "COLLECTIVE_CONFIG": str(folder)})

    def call(self, command: str = "true") -> Callable[[], Reply]:
        """Call a shell command that leaves a line; return a function that waits for the status code and the reason."""
        words = ["shell", "run", f"command=echo ran >> {self.folder}/ran; {command}", "-I", IDENTITY]
        done: list[Completed] = []
        caller = threading.Thread(target=lambda: done.append(self._crpc(*words, "-t", TIMEOUT, "--json")))
        caller.start()

        def wait() -> Reply:
            caller.join()
            (reply,) = json.loads(done[0].stdout)["replies"]
            return reply["statuscode"], reply["reason"]

        return wait

    def ran(self) -> int:
        """Return how many commands have run since the last call of this method."""
        path = self.folder / "ran"
        count = len(path.read_text().splitlines()) if path.exists() else 0
        path.unlink(missing_ok=True)
        return count

    @contextmanager
    def killed_at(self, step: str = "", holds: Callable[[bytes], bool] = lambda _: True) -> Iterator[Daemon]:
        """Run a daemon that is killed at the first such step of the proxy, or by its action; returns after its death.

        What is being transmitted in that step does not arrive.
        """
        with daemon(self.folder, self.proxy.url) as running:

            def watch(seen: str, content: bytes) -> None:
                if seen == step and holds(content):
                    running.process.kill()
                    running.process.wait()
                    raise ConnectionAbortedError

            self.proxy.watch = watch
            yield running
            running.process.wait(60)
        self.proxy.watch = lambda _step, _content: None


@pytest.fixture
def node(tmp_path: Path, moto_server: str) -> Iterator[KilledNode]:
    """Return a node that runs one action at a time, in a collective of its own."""
    configure(tmp_path, collective=f"kill-{uuid.uuid4().hex[:8]}", max_actions=1)
    node = KilledNode(tmp_path, moto_server)
    with node.proxy:
        yield node


@pytest.fixture(params=range(TIMES))
def again(request: pytest.FixtureRequest) -> None:
    """Repeat a test KILLS times."""


@pytest.mark.failure(failures.SIGNAL, "SIGKILL of the daemon after it received a request")
def test_killed_before_the_journal(node: KilledNode, again: None) -> None:
    """A request that was received and not stored is delivered again, and runs once."""
    with node.killed_at("after ReceiveMessage", lambda content: b"Body" in content):
        reply = node.call()
    assert node.ran() == 0
    with daemon(node.folder, node.proxy.url):
        assert reply() == (0, None)
    assert node.ran() == 1


@pytest.mark.failure(failures.SIGNAL, "SIGKILL of the daemon after it stored a request")
def test_killed_between_journal_and_acknowledgement(node: KilledNode, again: None) -> None:
    """A queued request that is delivered again runs once; the one before it is reported as interrupted."""
    proxy = node.proxy
    with node.killed_at("before DeleteMessageBatch", lambda _: proxy.counts["DeleteMessageBatch"] == 2):
        first = node.call("sleep 60")
        wait_until((node.folder / "ran").exists, 30)
        wait_until(lambda: proxy.counts["DeleteMessageBatch"] == 1, 30)
        second = node.call()
    assert node.ran() == 1
    with daemon(node.folder, node.proxy.url):
        assert first() == (5, "interrupted")
        assert second() == (0, None)
    assert node.ran() == 1


@pytest.mark.failure(failures.SIGNAL, "SIGKILL of the daemon during an action")
def test_killed_during_the_action(node: KilledNode, again: None) -> None:
    """An action whose daemon died is not run again; the next daemon reports it as interrupted."""
    with node.killed_at() as running:
        reply = node.call(f"kill -9 {running.process.pid}; sleep 60")
    with daemon(node.folder, node.proxy.url):
        assert reply() == (5, "interrupted")
    assert node.ran() == 1


@pytest.mark.failure(failures.SIGNAL, "SIGKILL of the daemon before it sends the reply")
def test_killed_before_the_reply(node: KilledNode, again: None) -> None:
    """A reply that was not sent is sent by the next daemon."""
    with node.killed_at("before SendMessage"):
        reply = node.call()
    with daemon(node.folder, node.proxy.url):
        assert reply() == (0, None)
    assert node.ran() == 1


@pytest.mark.failure(failures.SIGNAL, "SIGKILL of the daemon after it sent the reply")
def test_killed_after_the_reply(node: KilledNode, again: None) -> None:
    """A reply may be sent again if the daemon died before it recorded the first; the caller sees one."""
    with node.killed_at("after SendMessage"):
        reply = node.call()
        assert reply() == (0, None)
    with daemon(node.folder, node.proxy.url):
        wait_until(lambda: node.proxy.counts["SendMessage"] >= 2, 30)
    assert node.ran() == 1
