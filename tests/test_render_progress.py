"""The progress bar on standard error, and the full-screen view of a rollout."""

from __future__ import annotations

import io
import re
import sys
from contextlib import suppress

import pytest
from support.rendering import make_reply

from collective.clients.displays import ERASE, LEAVE, Bar, FullScreen
from collective.clients.render.formatting import Paint
from collective.clients.render.live import screen_lines
from collective.clients.render.progress import bar_line
from collective.clients.render.width import width
from collective.fleet.progress import CallProgress

START = CallProgress(total=47, running=47, awaited=tuple(f"web{number:02}" for number in range(1, 21)))
MIDDLE = CallProgress(
    total=47, ok=10, failed=2, silent=1, running=5, waiting=29, wave=4, waves=10, max_fail=4, elapsed=60.0
)
END = CallProgress(total=47, ok=44, failed=1, running=2, awaited=("web07", "web\x1b[2J12"))
DONE = CallProgress(total=47, ok=47)


def plain(text: str) -> str:
    """Return text without colours."""
    return re.sub("\x1b\\[[0-9]*m", "", text)


@pytest.mark.parametrize(
    ("progress", "line"),
    [
        (START, "\r | [ >                     ] 0 / 47  running 47"),
        (MIDDLE, "\r | [ =====>                ] 12 / 47  failed 2  silent 1  running 5  to send 29"),
        (END, "\r | [ ===================>  ] 45 / 47  failed 1  waiting for web07, web\\x1b[2J12"),
        (DONE, "\r * [ ==========================================================> ] 47 / 47"),
    ],
    ids=["start", "middle", "end", "done"],
)
def test_the_bar_has_counts_and_the_last_awaited_names(progress: CallProgress, line: str) -> None:
    """Counts that are zero are omitted; when few nodes are left, their names are shown instead of their number."""
    assert bar_line(progress, 80) == line


@pytest.mark.parametrize("columns", [1, 10, 20, 30, 40, 60, 80, 100, 200])
@pytest.mark.parametrize("progress", [START, MIDDLE, END, DONE])
def test_the_bar_fits_on_one_line(progress: CallProgress, columns: int) -> None:
    """On a narrow terminal the names are omitted first, then the counts, then the bar itself."""
    line = plain(bar_line(progress, columns, paint=Paint(True))).removeprefix("\r")
    assert len(line) < max(columns, len("47 / 47") + 1)


def test_a_long_name_does_not_hide_the_bar() -> None:
    """Names that do not fit give way to the number of running nodes."""
    line = bar_line(CallProgress(total=5, ok=4, running=1, awaited=("x" * 200,)), 60)
    assert line == "\r | [ ============>    ] 4 / 5  running 1"


def test_text_and_bar_do_not_mix() -> None:
    """A text erases the bar; the next update draws it again, and the end is an empty line."""
    stream = io.StringIO()
    bar = Bar(stream, lambda: DONE)
    bar.draw()
    assert bar.keep("text", stream) is False
    assert stream.getvalue().endswith(f"47 / 47\x1b[K{ERASE}")
    assert bar.keep("text", stream) is False
    assert stream.getvalue().count(ERASE) == 1
    with bar:
        pass
    assert stream.getvalue().endswith("47 / 47\x1b[K\n\n")


def test_the_estimate_is_proportional() -> None:
    """The remaining time is estimated from the nodes that have finished; before the first one there is no estimate."""
    assert START.remaining is None
    assert MIDDLE.remaining == pytest.approx(60 / 13 * 34)
    assert DONE.remaining is None


def test_the_full_screen() -> None:
    """Title and time, bar, counts with the limit of failures and the wave, and the last failures, the latest first."""
    failures = [make_reply("web01", {}, 1, statusmsg="no\nroom"), make_reply("web02", {}, 5, reason="timeout")]
    lines = screen_lines("service restart on 47 nodes of production", MIDDLE, failures, (80, 24))
    assert lines == [
        "service restart on 47 nodes of production       01:00 elapsed, about 02:36 left",
        "",
        " | [ =====>                ] 12 / 47  failed 2  silent 1  running 5  to send 29",
        "",
        "   ok 10   failed 2 (stops at 4 failed or silent)   silent 1   running 5",
        "   to send 29   wave 4 of 10",
        "",
        "Last failures:",
        "   web02  Timed Out  no",
        "   web01  Request Aborted  no\\nroom",
    ]


@pytest.mark.parametrize("size", [(20, 5), (40, 10), (80, 24), (200, 60)])
def test_the_full_screen_fits(size: tuple[int, int]) -> None:
    """No line is wider than the terminal, and there are no more lines than it has."""
    failures = [make_reply(f"web{number}.日本.example", {}, 1, statusmsg="x" * 300) for number in range(99)]
    progress = CallProgress(total=500, ok=100, failed=99, running=301, awaited=tuple("n" * 60 for _ in range(20)))
    lines = screen_lines("t" * 300, progress, failures, size, paint=Paint(True))
    assert len(lines) <= size[1]
    assert max(width(plain(line)) for line in lines) < size[0]


def test_the_full_screen_leaves_the_terminal_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    """The view ends on the normal screen with a cursor, also after an error, and then writes what it has kept."""
    stream = io.StringIO()
    view = FullScreen(stream, "title", lambda: MIDDLE)
    with suppress(KeyError), view:
        view.take(make_reply("web1", {}, 1))
        view.keep("kept\n", sys.stdout)
        raise KeyError
    assert stream.getvalue().endswith(LEAVE)
    assert capsys.readouterr().out == "kept\n"
