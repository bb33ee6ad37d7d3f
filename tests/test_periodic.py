"""Steps that run again and again in a thread."""

from __future__ import annotations

import queue

from collective.periodic import PeriodicThread

LONG = 3600.0  # seconds that no test waits for


def test_the_first_step_runs_at_once_and_wake_runs_the_next() -> None:
    """The pause ends early when the thread is woken."""
    steps: queue.Queue[int] = queue.Queue()
    thread = PeriodicThread("test", lambda: steps.put(1), LONG)
    thread.start()
    steps.get(timeout=10)
    thread.wake()
    steps.get(timeout=10)
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
        steps.get(timeout=10)
    thread.stop(10)


def test_stop_ends_the_thread_and_waits_for_its_step() -> None:
    """After `stop` no further step runs."""
    steps: queue.Queue[int] = queue.Queue()
    thread = PeriodicThread("test", lambda: steps.put(1), LONG)
    thread.start()
    steps.get(timeout=10)
    thread.stop(10)
    thread.wake()
    assert steps.empty()
