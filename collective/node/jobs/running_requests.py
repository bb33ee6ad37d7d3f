"""The requests whose actions run now, so that they can be listed and stopped."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from collective.node.requests.context import AdmittedRequest


@dataclass(frozen=True)
class RunningRequest:
    """A request whose action runs since `began`, in Unix seconds by the server's clock."""

    id: str
    run: str | None
    digest: str
    caller: str
    agent: str
    action: str
    began: float


class RunningRequests:
    """The requests that run now; safe for any number of threads. `now` returns the server's time."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._running: dict[str, RunningRequest] = {}
        self._lock = threading.Lock()

    @contextmanager
    def registered(self, admitted: AdmittedRequest) -> Iterator[None]:
        """List a request for the time of a block."""
        request, digest = admitted.request, admitted.context.digest
        running = RunningRequest(
            request.id, request.run, digest, request.caller, request.agent, request.action, self._now()
        )
        with self._lock:
            self._running[digest] = running
        try:
            yield
        finally:
            with self._lock:
                self._running.pop(digest, None)

    def all(self) -> list[RunningRequest]:
        """Return all of them, oldest first."""
        with self._lock:
            return list(self._running.values())
