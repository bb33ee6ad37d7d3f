"""Steps that run repeatedly in a thread."""

from __future__ import annotations

import queue

import pytest

from collective.periodic import PeriodicThread

LONG = 3600.0  # seconds, longer than any test runs


def test_the_first_step_runs_at_once_and_wake_runs_the_next() -> None:
    """The first step runs at once, and `wake` ends the pause before the next one."""
    steps: queue.Queue[int] = queue.Queue()
    thread = PeriodicThread("test", lambda: steps.put(1), LONG)
    thread.start()
    steps.get(timeout=30)
    thread.wake()
    steps.get(timeout=30)
    thread.stop(10)


def test_a_step_chooses_its_own_pause() -> None:
    """A number that the step returns replaces the period."""
    steps: queue.Queue[int] = queue.Queue()

    def step() -> float:
        steps.put(1)
        return 0.0

    thread = PeriodicThread("test", step, LONG)
    thread.start()
    for _ in range(3):
        steps.get(timeout=30)
    thread.stop(10)


def test_stop_ends_the_thread_and_waits_for_its_step() -> None:
    """After `stop` no further step runs."""
    steps: queue.Queue[int] = queue.Queue()
    thread = PeriodicThread("test", lambda: steps.put(1), LONG)
    thread.start()
    steps.get(timeout=30)
    thread.stop(10)
    thread.wake()
    assert steps.empty()


def test_without_a_period_a_step_runs_only_when_woken() -> None:
    """With a period of None the thread waits for `wake` before every step, and also before the first."""
    steps: queue.Queue[int] = queue.Queue()
    thread = PeriodicThread("test", lambda: steps.put(1), None)
    thread.start()
    with pytest.raises(queue.Empty):
        steps.get(timeout=0.05)
    thread.wake()
    steps.get(timeout=30)
    thread.stop(10)
    assert steps.empty()


def test_finish_runs_once_after_the_last_step() -> None:
    """`finish` runs in the thread, and `stop` waits for it."""
    calls: queue.Queue[str] = queue.Queue()
    thread = PeriodicThread("test", lambda: calls.put("step"), LONG, finish=lambda: calls.put("finish"))
    thread.start()
    assert calls.get(timeout=30) == "step"
    thread.stop(10)
    assert calls.get(timeout=30) == "finish"
    assert calls.empty()
