"""Bound each call of a boto3 client: one deadline covers credentials, DNS, connect, read and retries.

boto3's timeouts restart with each packet, address and attempt. A server that sends one byte a second, or a credential
helper that never ends, would block the calling thread for minutes or forever. Each call therefore runs in another
thread, which the caller stops waiting for at the deadline. Threads are used again: to start one takes longer than to
hand it a call.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

_MAX_ABANDONED = 50  # calls past their deadline that have not ended: a stuck helper must not fill the machine
_IDLE = 5.0  # seconds after its last call when a thread ends
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
        self._idle = _IdleThreads()
        self._lock = threading.Lock()

    def run(self, function: Callable[[], Any], extra: float = 0.0) -> Any:
        """Return the result of `function`; raise CallFailed when it takes `extra` seconds more than the limit."""
        seconds = extra + (self._suspect if self._missed else self._normal)
        thread, call = self._thread(), _Call(function)
        thread.calls.put(call)
        try:
            succeeded, result = call.result.get(timeout=seconds)
        except BaseException as error:  # Empty, or KeyboardInterrupt: the call goes on
            self._abandon(thread, call)
            if not isinstance(error, Empty):
                raise
            self._missed = True
            hint = "check the network, the proxy and the credential helper"
            raise CallFailed(f"no response within {seconds:.0f} s ({hint})") from None
        self._idle.add(thread)
        if not succeeded:
            raise result
        self._missed = False
        return result

    def _thread(self) -> _CallThread:
        """Return a thread without a call: an idle one, or a new one."""
        while thread := self._idle.take():
            if thread.is_alive():  # in a forked process it is not
                return thread
        with self._lock:
            self._abandoned = [thread for thread in self._abandoned if thread.is_alive()]
            if len(self._abandoned) >= _MAX_ABANDONED:
                raise CallFailed(f"{_MAX_ABANDONED} earlier calls have not ended (check the credential helper and DNS)")
        thread = _CallThread(self._idle)
        try:
            thread.start()
        except RuntimeError as error:
            raise CallFailed(f"{error} (raise TasksMax of the service, or its limit of memory)") from None
        return thread

    def _abandon(self, thread: _CallThread, call: _Call) -> None:
        call.abandoned = True
        with self._lock:
            self._abandoned.append(thread)
        thread.calls.put(None)


class CallFailed(Exception):
    """A call has missed its deadline, or its response is not from AWS. `errors.translated` makes it Unreachable."""


class _Call:
    """A function to call in another thread; `result` gets whether it has succeeded, and its result or error."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self.function = function
        self.result: SimpleQueue[tuple[bool, Any]] = SimpleQueue()
        self.abandoned = False

    def run(self) -> None:
        """Call the function."""
        try:
            found = True, self.function()
        except BaseException as error:
            found = False, error
        self.result.put(found)


class _IdleThreads:
    """The threads without a call; several threads may use it."""

    def __init__(self) -> None:
        self._threads: list[_CallThread] = []
        self._lock = threading.Lock()

    def add(self, thread: _CallThread) -> None:
        """Add a thread whose call has ended."""
        with self._lock:
            self._threads.append(thread)

    def take(self) -> _CallThread | None:
        """Remove and return the thread that has been idle for the shortest time; None if there is none."""
        with self._lock:
            return self._threads.pop() if self._threads else None

    def remove(self, thread: _CallThread) -> bool:
        """Remove a thread that wants to end; return False if it has just been taken, and gets a call."""
        with self._lock:
            if thread not in self._threads:
                return False
            self._threads.remove(thread)
            return True


class _CallThread(threading.Thread):
    """Makes the calls in `calls`, one after the other, until it has been among the `idle` threads for a time.

    It is a daemon thread, so that a call that never ends does not keep the process alive. None in `calls` ends it: a
    call has missed its deadline.
    """

    def __init__(self, idle: _IdleThreads) -> None:
        super().__init__(name="aws", daemon=True)
        self.calls: SimpleQueue[_Call | None] = SimpleQueue()
        self.call: _Call | None = None
        self._idle = idle

    def run(self) -> None:
        """Make calls until there are no more."""
        while True:
            try:
                self.call = self.calls.get(timeout=_IDLE)
            except Empty:
                if self._idle.remove(self):
                    return
                continue
            if self.call is None:
                return
            self.call.run()
            self.call = None  # which has the message


def refuse_abandoned(**_: Any) -> None:
    """Raise CallFailed in the thread of an abandoned call, so that it is not retried; botocore calls this."""
    thread = threading.current_thread()
    if isinstance(thread, _CallThread) and thread.call and thread.call.abandoned:
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
