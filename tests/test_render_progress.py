"""The progress bar on standard error."""

from __future__ import annotations

import io

from collective.clients.render.formatting import Paint
from collective.clients.render.progress import Progress


class Clock:
    """A clock that is set by the test."""

    now = 0.0

    def __call__(self) -> float:
        """Return the time that was set."""
        return self.now


def test_updates_are_rate_limited() -> None:
    """Updates within a tenth of a second are not drawn; the last state is always drawn."""
    stream, clock = io.StringIO(), Clock()
    progress = Progress(stream, True, 32, clock=clock)
    progress.update(0, 4)
    progress.update(1, 4)
    clock.now = 0.1
    progress.update(2, 4)
    progress.update(4, 4)
    progress.finish()
    assert stream.getvalue() == ("\r | [ >           ] 0 / 4\r / [ =====>      ] 2 / 4\r * [ ==========> ] 4 / 4\n\n")


def test_spinner_turns() -> None:
    """The spinner has four characters."""
    stream, clock = io.StringIO(), Clock()
    progress = Progress(stream, True, 32, clock=clock)
    for number in range(5):
        clock.now = number
        progress.update(0, 1)
    assert [part[1] for part in stream.getvalue().split("\r")[1:]] == ["|", "/", "-", "\\", "|"]


def test_silent_when_not_enabled() -> None:
    """A disabled bar writes nothing."""
    stream = io.StringIO()
    progress = Progress(stream, False, 80, clock=Clock())
    progress.update(0, 4)
    progress.clear()
    progress.finish()
    assert stream.getvalue() == ""


def test_finish_without_update() -> None:
    """A bar that was never updated writes nothing."""
    stream = io.StringIO()
    Progress(stream, True, 80, clock=Clock()).finish()
    assert stream.getvalue() == ""


def test_clear_erases_the_bar() -> None:
    """`clear` overwrites every visible column, and the next update is drawn at once."""
    stream = io.StringIO()
    progress = Progress(stream, True, 32, clock=Clock(), paint=Paint(True))
    progress.update(1, 4)
    before = stream.getvalue()
    progress.clear()
    assert stream.getvalue()[len(before) :] == f"\r{' ' * 24}\r"
    progress.update(2, 4)
    assert "2 / 4" in stream.getvalue()


def test_a_shorter_bar_overwrites_a_longer_one() -> None:
    """A state with fewer digits erases the remaining columns."""
    stream, clock = io.StringIO(), Clock()
    progress = Progress(stream, True, 32, clock=clock)
    progress.update(10, 100)
    clock.now = 1.0
    progress.update(0, 5)
    assert stream.getvalue().endswith("\r / [ >           ] 0 / 5   ")
