"""The bar on standard error: drawn now and then, and never left half written."""

from __future__ import annotations

import io

from collective.clients.render.formatting import Paint
from collective.clients.render.progress import Progress


class Clock:
    """A clock that stands still until it is set."""

    now = 0.0

    def __call__(self) -> float:
        """Return the time that was set."""
        return self.now


def test_draws_now_and_then() -> None:
    """Updates within a tenth of a second are not drawn; the last state always is."""
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
    """The spinner goes through its four signs."""
    stream, clock = io.StringIO(), Clock()
    progress = Progress(stream, True, 32, clock=clock)
    for number in range(5):
        clock.now = number
        progress.update(0, 1)
    assert [part[1] for part in stream.getvalue().split("\r")[1:]] == ["|", "/", "-", "\\", "|"]


def test_silent_when_not_enabled() -> None:
    """Without a terminal nothing is written, whatever happens."""
    stream = io.StringIO()
    progress = Progress(stream, False, 80, clock=Clock())
    progress.update(0, 4)
    progress.clear()
    progress.finish()
    assert stream.getvalue() == ""


def test_finish_without_update() -> None:
    """A bar that never began ends without a trace."""
    stream = io.StringIO()
    Progress(stream, True, 80, clock=Clock()).finish()
    assert stream.getvalue() == ""


def test_clear_makes_room() -> None:
    """Clearing overwrites every column that was drawn, colours not counted, and the next update draws at once."""
    stream = io.StringIO()
    progress = Progress(stream, True, 32, clock=Clock(), paint=Paint(True))
    progress.update(1, 4)
    before = stream.getvalue()
    progress.clear()
    assert stream.getvalue()[len(before) :] == f"\r{' ' * 24}\r"
    progress.update(2, 4)
    assert "2 / 4" in stream.getvalue()


def test_shorter_state_covers_the_longer() -> None:
    """A state with fewer digits leaves nothing of the one before."""
    stream, clock = io.StringIO(), Clock()
    progress = Progress(stream, True, 32, clock=clock)
    progress.update(10, 100)
    clock.now = 1.0
    progress.update(0, 5)
    assert stream.getvalue().endswith("\r / [ >           ] 0 / 5   ")
