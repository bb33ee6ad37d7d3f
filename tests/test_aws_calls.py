"""Calls to AWS have a deadline each; a call that has missed it is abandoned, and is not retried."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from collective.aws.calls import CallFailed, Deadlines, refuse_abandoned

LONG = 30.0  # seconds that no test waits


def test_results_and_errors_are_those_of_the_call() -> None:
    """The calling thread gets them, as if it had made the call itself."""
    deadlines = Deadlines(LONG, LONG)
    assert deadlines.run(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        deadlines.run(lambda: 1 // 0)


def test_a_call_that_does_not_end_is_abandoned() -> None:
    """The error has the limit, and a hint; botocore's next attempt of that call is refused in its thread."""
    deadlines = Deadlines(0.01, LONG)
    going_on, refused = threading.Event(), threading.Event()

    def call() -> None:
        going_on.wait(LONG)
        try:
            refuse_abandoned()
        except CallFailed:
            refused.set()

    with pytest.raises(CallFailed, match=r"no response within 0 s \(check the network"):
        deadlines.run(call)
    going_on.set()
    assert refused.wait(LONG)
    refuse_abandoned()  # in other threads nothing is refused


def test_after_a_missed_deadline_calls_get_less_time_until_one_succeeds() -> None:
    """A command makes several calls to the same server, and must not wait long for each of them."""
    deadlines = Deadlines(0.2, 0.01)
    end = threading.Event()
    waits: list[str] = []
    for _ in range(2):
        with pytest.raises(CallFailed) as caught:
            deadlines.run(lambda: end.wait(LONG), extra=1.0 if not waits else 0.0)
        waits.append(str(caught.value).partition(" s ")[0])
    assert waits == ["no response within 1", "no response within 0"]
    end.set()
    assert deadlines.run(lambda: 7, extra=LONG) == 7
    with pytest.raises(CallFailed, match="no response within 0 s"):
        deadlines.run(threading.Event().wait)


def test_abandoned_calls_are_bounded() -> None:
    """A helper that never ends must not fill the machine with threads; once calls have ended, others are made."""
    deadlines = Deadlines(0.0, 0.0)
    end = threading.Event()
    before = threading.active_count()
    errors = []
    for _ in range(60):
        with pytest.raises(CallFailed) as caught:
            deadlines.run(lambda: end.wait(LONG))
        errors.append(str(caught.value))
    assert threading.active_count() - before == 50
    assert sum("50 earlier calls have not ended" in error for error in errors) == 10
    end.set()
    for thread in threading.enumerate():
        if thread.name == "aws":
            thread.join(LONG)
    assert deadlines.run(lambda: 7, extra=LONG) == 7


LIMITED = """
import resource, threading
from collective.aws.calls import CallFailed, Deadlines
threading.stack_size(64 * 2**20)
size = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + 32 * 2**20, resource.RLIM_INFINITY))
try: Deadlines(5.0, 5.0).run(lambda: 1)
except CallFailed as error: print(error)
"""


def test_a_call_for_which_no_thread_can_be_started_fails() -> None:
    """The daemon then pauses and tries again, as after any other failure of a call."""
    done = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True, check=False)
    assert done.stdout == "can't start new thread (raise TasksMax of the service, or its limit of memory)\n"
