"""Threads that receive the replies of one call: one receive returns ten messages, and takes 20 to 100 ms on AWS.

    leader     long polls, while replies are awaited that have not been received
    followers  short polls, and only while receives return many messages: each then lets one more poll begin

So a queue is drained as fast as it fills, and an empty one is not asked again and again. No poll begins for which no
reply is left: a poll that is still open when the call ends could take the first reply of the next call.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from collective.errors import TransportError
from collective.transport import BATCH, Delivery

_MANY = BATCH // 2  # messages of one receive that let one more poll begin
MOST_WAITING = 200  # received replies that wait for the caller: it deletes them, or they are received again after 2 s
_AWAY = 3.0  # seconds for which replies are received while the caller checks those that it has taken
LONG = 1.0  # seconds from which on a poll of SQS asks all its servers: a shorter one may find nothing in a full queue
_GATHER = 0.015  # seconds in which more replies gather before the next receive, while many are awaited

Receive = Callable[[float], list[Delivery]]


class Receivers:
    """Up to `most` threads that call `receive` with a wait in seconds.

    `empty`: since the last messages, a long poll has found no others.
    """

    def __init__(self, receive: Receive, most: int) -> None:
        self._receive = receive
        self._changed = threading.Condition()
        self._received: list[Delivery] = []
        self._error: TransportError | None = None
        self._awaited = 0
        self._deadline = 0.0
        self._polling = 0
        self._tickets = 0  # polls that followers may begin
        self._closed = False
        self.empty = False
        self._looks = 0  # polls that have shown that the queue is empty
        self._followers = most - 1
        jobs = [self._lead, *[self._follow] * self._followers]
        self._threads = [threading.Thread(target=job, name="replies", daemon=True) for job in jobs]
        for thread in self._threads:
            thread.start()

    def take(self, wait: float, awaited: int) -> list[Delivery]:
        """Return all that was received; wait at most `wait` seconds for the first, or until the queue is found empty.

        `awaited` replies are missing. Raises the error of a receive.
        """
        with self._changed:
            self._awaited = awaited
            self._deadline = time.monotonic() + wait
            self._changed.notify_all()
            looks = self._looks
            self._changed.wait_for(lambda: self._received or self._error or self._looks > looks, wait)
            self._deadline = max(self._deadline, time.monotonic() + _AWAY) if self._received else self._deadline
            error, self._error = self._error, None
            if error:
                raise error
            taken, self._received = self._received, []
            self._awaited -= len(taken)
            return taken

    def _note_empty(self, found: bool, wait: float) -> None:
        """Note whether a poll has shown that the queue is empty: an open one may have taken messages."""
        if found:
            self.empty = False
        elif wait >= LONG and not self._polling:
            self.empty = True
            self._looks += 1

    def close(self) -> None:
        """Begin no further poll. Polls that are open end by themselves."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _left(self) -> int:
        """Return how many awaited replies have not been received, and will not be by the polls that are open."""
        return self._awaited - len(self._received) - self._polling * BATCH

    def _wants_more(self) -> bool:
        return self._error is None and self._left() > 0 and len(self._received) < MOST_WAITING

    def _lead(self) -> None:
        while self._may_begin(self._may_lead):
            found = self._poll(max(0.0, self._deadline - time.monotonic()))
            if 0 < found < BATCH < self._left():
                time.sleep(_GATHER)

    def _may_lead(self) -> bool:
        return self._wants_more() and time.monotonic() < self._deadline

    def _follow(self) -> None:
        while self._may_begin(self._may_follow):
            self._poll(0.0)

    def _may_follow(self) -> bool:
        if not self._tickets or not self._wants_more():
            return False
        self._tickets -= 1
        return True

    def _may_begin(self, condition: Callable[[], bool]) -> bool:
        """Wait until a poll may begin, and count it; return False when this is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or condition())
            self._polling += not self._closed
            return not self._closed

    def _poll(self, wait: float) -> int:
        """Receive once, and return the number of messages."""
        found: list[Delivery] = []
        error: TransportError | None = None
        try:
            found = self._receive(wait)
        except TransportError as exc:
            error = exc
        with self._changed:
            self._polling -= 1
            self._received += found
            self._error = self._error or error
            if not error:
                self._note_empty(bool(found), wait)
            if len(found) >= _MANY:
                self._tickets = min(self._tickets + 1 + (wait == 0), self._followers)
            self._changed.notify_all()
        return len(found)
