"""Bound each call of a boto3 client: one deadline covers credentials, DNS, connect, read and retries.

boto3's timeouts restart with each packet, address and attempt. A server that sends one byte a second, or a credential
helper that never ends, would block the calling thread for minutes or forever. Each call therefore runs in a thread of
its own, which the caller stops waiting for at the deadline.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

_MAX_ABANDONED = 50  # calls past their deadline that have not ended: a stuck helper must not fill the machine
_SLOWEST_LINK = 64 * 1024  # bytes a second at which a large message may be sent before its deadline
_BODIES = ("MessageBody", "Message")  # the parameters that can be large
_END = object()


class Deadlines:
    """The time limits of all calls of one `AWS` object, in seconds.

    A call may take `normal` seconds. After a call that has missed its deadline, the next ones may take `suspect`
    seconds until one succeeds: a command makes several calls, and each of them would wait for the same server.
    """

    def __init__(self, normal: float, suspect: float) -> None:
        self._normal = normal
        self._suspect = suspect
        self._missed = False
        self._abandoned: list[_CallThread] = []
        self._lock = threading.Lock()

    def run(self, function: Callable[[], Any], extra: float = 0.0) -> Any:
        """Return the result of `function`; raise CallFailed when it takes `extra` seconds more than the limit."""
        seconds = extra + (self._suspect if self._missed else self._normal)
        with self._lock:
            self._abandoned = [thread for thread in self._abandoned if thread.is_alive()]
            if len(self._abandoned) >= _MAX_ABANDONED:
                raise CallFailed(f"{_MAX_ABANDONED} earlier calls have not ended (check the credential helper and DNS)")
        thread = _CallThread(function)
        try:
            thread.start()
        except RuntimeError as error:
            raise CallFailed(f"{error} (raise TasksMax of the service, or its limit of memory)") from None
        try:
            return thread.result(seconds)
        except _Late:
            self._missed = True
            with self._lock:
                self._abandoned.append(thread)
            hint = "check the network, the proxy and the credential helper"
            raise CallFailed(f"no response within {seconds:.0f} s ({hint})") from None
        finally:
            self._missed = self._missed and not thread.succeeded


class CallFailed(Exception):
    """A call has missed its deadline, or its response is not from AWS. `errors.translated` makes it Unreachable."""


class _Late(Exception):
    """A call has missed its deadline."""


class _CallThread(threading.Thread):
    """One call. It is a daemon thread, so that a call that never ends does not keep the process alive."""

    def __init__(self, function: Callable[[], Any]) -> None:
        super().__init__(name="aws", daemon=True)
        self._function = function
        self._ended = threading.Event()
        self._result: Any = None
        self._error: BaseException | None = None
        self.abandoned = False

    @property
    def succeeded(self) -> bool:
        """Whether the call has ended without an error."""
        return self._ended.is_set() and self._error is None

    def run(self) -> None:
        """Make the call."""
        try:
            self._result = self._function()
        except BaseException as error:
            self._error = error
        self._ended.set()

    def result(self, seconds: float) -> Any:
        """Return the result, or raise the error of the call; raise _Late after `seconds`."""
        if not self._ended.wait(seconds):
            self.abandoned = True
            raise _Late
        if self._error is not None:
            raise self._error
        return self._result


def refuse_abandoned(**_: Any) -> None:
    """Raise CallFailed in the thread of an abandoned call, so that it is not retried; botocore calls this."""
    thread = threading.current_thread()
    if isinstance(thread, _CallThread) and thread.abandoned:
        raise CallFailed("the call has missed its deadline")


class BoundedClient:
    """A boto3 client whose operations, pages and waiters are bounded. Everything else is that of the client."""

    def __init__(self, client: Any, deadlines: Deadlines) -> None:
        self._client = client
        self._deadlines = deadlines

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        return partial(self._call, found) if name in self._client.meta.method_to_api_mapping else found

    def get_paginator(self, operation: str) -> BoundedPaginator:
        """Return a paginator whose pages are bounded."""
        return BoundedPaginator(self._client.get_paginator(operation), self._deadlines)

    def get_waiter(self, name: str) -> BoundedWaiter:
        """Return a waiter that is bounded."""
        return BoundedWaiter(self._client.get_waiter(name), self._deadlines)

    def _call(self, operation: Callable[..., Any], /, **parameters: Any) -> Any:
        return self._deadlines.run(partial(operation, **parameters), _extra(parameters))


class BoundedPaginator:
    """A paginator each of whose pages has the deadline of a call."""

    def __init__(self, paginator: Any, deadlines: Deadlines) -> None:
        self._paginator = paginator
        self._deadlines = deadlines

    def paginate(self, **parameters: Any) -> Iterator[Any]:
        """Yield the pages."""
        pages = iter(self._paginator.paginate(**parameters))
        while (page := self._deadlines.run(partial(next, pages, _END))) is not _END:
            yield page


class BoundedWaiter:
    """A waiter that takes the deadline of a call longer than its own settings allow."""

    def __init__(self, waiter: Any, deadlines: Deadlines) -> None:
        self._waiter = waiter
        self._deadlines = deadlines

    def wait(self, **parameters: Any) -> None:
        """Wait as configured by `WaiterConfig`."""
        settings = parameters["WaiterConfig"]
        self._deadlines.run(partial(self._waiter.wait, **parameters), settings["Delay"] * settings["MaxAttempts"])


def _extra(parameters: dict[str, Any]) -> float:
    """Return the seconds that a call may take longer because it is a long poll or sends a large message."""
    body = next((parameters[name] for name in _BODIES if name in parameters), "")
    return float(parameters.get("WaitTimeSeconds", 0)) + len(body) / _SLOWEST_LINK
