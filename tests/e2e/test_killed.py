"""SIGKILL of a real daemon at every step of the line: nothing runs twice, and the caller learns what happened.

`make kills` does each twenty times. A proxy sees what the daemon sends and is sent, so it knows the steps around the
journal. tests/test_simulation.py has every single step, without processes.
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
from support.crpc_process import Completed, make_crpc
from support.daemons import IDENTITY, Daemon, aws_environment, configure, daemon, wait_until
from support.proxy import Proxy

TIMES = int(os.environ.get("KILLS", "2"))
TIMEOUT = "90"  # seconds that callers wait: a message that died with a poll is hidden for some


Reply = tuple[int, str | None]


class Place:
    """A daemon behind a proxy, and callers that reach the server without it."""

    def __init__(self, folder: Path, server: str) -> None:
        self.folder = folder
        self.proxy = Proxy(server)
        self._crpc = make_crpc({**aws_environment(server), "COLLECTIVE_CONFIG": str(folder)})

    def call(self, command: str = "true") -> Callable[[], Reply]:
        """Begin to have the node run a shell command that leaves a line; return how to wait for status and reason."""
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
        """Return how many commands have been run since the last look."""
        path = self.folder / "ran"
        count = len(path.read_text().splitlines()) if path.exists() else 0
        path.unlink(missing_ok=True)
        return count

    @contextmanager
    def dying(self, step: str = "", holds: Callable[[bytes], bool] = lambda _: True) -> Iterator[Daemon]:
        """Run a daemon that is killed at the first such step of the proxy, or by itself; returns when it is dead.

        What is on its way in that step reaches nobody.
        """
        with daemon(self.folder, self.proxy.url) as node:

            def watch(seen: str, content: bytes) -> None:
                if seen == step and holds(content):
                    node.process.kill()
                    node.process.wait()
                    raise ConnectionAbortedError

            self.proxy.watch = watch
            yield node
            node.process.wait(60)
        self.proxy.watch = lambda _step, _content: None


@pytest.fixture
def place(tmp_path: Path, moto_server: str) -> Iterator[Place]:
    """A collective of its own, whose node does one thing at a time."""
    configure(tmp_path, collective=f"kill-{uuid.uuid4().hex[:8]}", max_actions=1)
    place = Place(tmp_path, moto_server)
    with place.proxy:
        yield place


@pytest.fixture(params=range(TIMES))
def again(request: pytest.FixtureRequest) -> None:
    """Do it some times."""


def test_before_the_journal(place: Place, again: None) -> None:
    """A request that was received and never read comes again, and runs once."""
    with place.dying("after ReceiveMessage", lambda content: b"Body" in content):
        reply = place.call()
    assert place.ran() == 0
    with daemon(place.folder, place.proxy.url):
        assert reply() == (0, None)
    assert place.ran() == 1


def test_after_the_journal_and_before_the_acknowledgement(place: Place, again: None) -> None:
    """A request that waits for its turn, and comes again, runs once; the one before it was interrupted."""
    proxy = place.proxy
    with place.dying("before DeleteMessageBatch", lambda _: proxy.counts["DeleteMessageBatch"] == 2):
        first = place.call("sleep 60")
        wait_until((place.folder / "ran").exists, 30)
        wait_until(lambda: proxy.counts["DeleteMessageBatch"] == 1, 30)
        second = place.call()
    assert place.ran() == 1
    with daemon(place.folder, place.proxy.url):
        assert first() == (5, "interrupted")
        assert second() == (0, None)
    assert place.ran() == 1


def test_during_the_action(place: Place, again: None) -> None:
    """An action whose daemon dies is not run again, and its caller is told so by the next daemon."""
    with place.dying() as node:
        reply = place.call(f"kill -9 {node.process.pid}; sleep 60")
    with daemon(place.folder, place.proxy.url):
        assert reply() == (5, "interrupted")
    assert place.ran() == 1


def test_before_the_reply(place: Place, again: None) -> None:
    """An answer that was on its way out is sent by the next daemon."""
    with place.dying("before SendMessage"):
        reply = place.call()
    with daemon(place.folder, place.proxy.url):
        assert reply() == (0, None)
    assert place.ran() == 1


def test_after_the_reply(place: Place, again: None) -> None:
    """An answer that was sent, unknown to the daemon, may come twice: the caller sees one, and it ran once."""
    with place.dying("after SendMessage"):
        reply = place.call()
        assert reply() == (0, None)
    with daemon(place.folder, place.proxy.url):
        wait_until(lambda: place.proxy.counts["SendMessage"] >= 2, 30)
    assert place.ran() == 1
