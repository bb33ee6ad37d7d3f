"""What a call draws on a real terminal (tmux) while it runs, and what it leaves behind."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.crpc_process import BIN
from support.terminal import TmuxTerminal
from support.waiting import wait_until

SLOW = "crpc shell run 'sleep 2; exit 1' --yes --concurrency 2"


@pytest.fixture
def terminal(environment: dict[str, str], needs: Callable[[str, str], None]) -> Iterator[TmuxTerminal]:
    """A terminal in which crpc uses the lab; what is written before the test is on its first line."""
    needs("tmux", "tmux")
    needs("less", "less")
    terminal = TmuxTerminal({**environment, "PATH": f"{BIN}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"})
    terminal.run("stty -a > /tmp/stty-$$; echo before")
    yield terminal
    terminal.close()


def shows(terminal: TmuxTerminal, pattern: str, seconds: float = 30) -> str:
    """Wait until the screen shows a pattern; return the screen."""
    wait_until(lambda: re.search(pattern, lines(terminal), re.MULTILINE) is not None, seconds, terminal.screen)
    return lines(terminal)


def lines(terminal: TmuxTerminal) -> str:
    """Return the lines of the screen without spaces at their ends."""
    return "\n".join(line.rstrip() for line in terminal.screen().split("\n"))


def unchanged(terminal: TmuxTerminal) -> None:
    """Check that the terminal is as it was: the normal screen, its modes, a cursor, and a shell that echoes."""
    screen = terminal.run("stty -a | cmp - /tmp/stty-$$ && rm /tmp/stty-$$ && echo same modes")
    assert "before" in screen
    assert "same modes" in screen
    assert terminal.format("#{alternate_on} #{cursor_flag}") == "0 1"


def test_the_bar_counts_and_names_the_last_nodes(terminal: TmuxTerminal) -> None:
    """While nodes work the bar has counts and names; at its end the line is complete and the results follow."""
    terminal.type(f"{SLOW}; echo ended with $?")
    shows(terminal, r"^ . \[ > +\] 0 / 5  running 2  to send 3$")
    shows(terminal, r"^ . \[ =+> +\] 4 / 5  failed 4  waiting for node05\.lab$")
    screen = shows(terminal, "^ended with 2$")
    assert re.search(r"^ \* \[ =+> \] 5 / 5  failed 5\n\nnode\[01-05\]\.lab \(5\) +Request Aborted$", screen, re.M)
    assert screen.count("/ 5  ") == 1
    unchanged(terminal)


def test_the_full_screen_moves_and_leaves_the_result(terminal: TmuxTerminal) -> None:
    """`--live` shows states, failures and awaited nodes; at its end the screen is as before, with the result below."""
    terminal.type(f"{SLOW} --live; echo ended with $?")
    first = shows(terminal, r"ok 0   failed 0   silent 0   running 2   to send 3$")
    assert "before" not in first
    assert re.search(r"^Waiting for:\n   node\[01-02\]\.lab$", first, re.MULTILINE)
    assert terminal.format("#{alternate_on} #{cursor_flag}") == "1 0"
    shows(terminal, r"elapsed, about \d\d:\d\d left$")
    shows(terminal, r"^Last failures:\n   node0\d\.lab +Request Aborted  the command failed with exit code 1$")
    screen = shows(terminal, "^ended with 2$")
    assert re.search(r"^node\[01-05\]\.lab \(5\) +Request Aborted$", screen, re.MULTILINE)
    assert "Waiting for" not in screen
    unchanged(terminal)


@pytest.mark.parametrize(("option", "answer"), [("", "n"), ("--live", "n"), ("--live", None)])
def test_an_interrupt_leaves_the_terminal_as_it_was(terminal: TmuxTerminal, option: str, answer: str | None) -> None:
    """After one Ctrl-C the results so far are on the normal screen; a second one ends the program."""
    terminal.type(f"{SLOW} {option}; echo ended with $?")
    shows(terminal, "running 2")
    terminal.keys("", "C-c")
    shows(terminal, r"^crpc: stopped: interrupted[^$]*\[y/N\]$")
    if answer:
        terminal.type(answer)
    else:
        terminal.keys("", "C-c")
    shows(terminal, "^ended with 4$")
    unchanged(terminal)


def test_a_suspended_view_returns(terminal: TmuxTerminal) -> None:
    """Ctrl-Z shows the normal screen with its shell, and `fg` the full screen again."""
    terminal.type("crpc shell run 'sleep 4' --yes --live")
    shows(terminal, "running 5")
    terminal.keys("", "C-z")
    wait_until(lambda: "Stopped" in terminal.screen() and "running 5" not in terminal.screen(), 20, terminal.screen)
    assert terminal.format("#{alternate_on} #{cursor_flag}") == "0 1"
    terminal.type("fg")
    shows(terminal, "Finished processing 5 / 5")
    unchanged(terminal)


def test_long_results_are_shown_in_a_pager(terminal: TmuxTerminal) -> None:
    """A result that is longer than the terminal is paged; a short one, and one with --no-pager, is not."""
    terminal.type("clear; crpc rpcutil daemon_stats --no-group; echo paged $?")
    shows(terminal, "^:$")
    assert "paged 0" not in terminal.screen()
    terminal.keys("", "q")
    shows(terminal, "^paged 0$")
    terminal.type("clear; crpc rpcutil daemon_stats --no-group --no-pager; echo complete $?")
    shows(terminal, "^complete 0$")


def test_the_first_line_arrives_before_the_last_reply(environment: dict[str, str], tmp_path: Path) -> None:
    """With --jsonl each reply is a line as soon as it is there, also in a pipe."""
    command = f"mkdir {tmp_path}/first || until [ -e {tmp_path}/go ]; do sleep 0.1; done"
    line = [str(BIN / "crpc"), "shell", "run", command, "--yes", "--concurrency", "1", "--limit", "2", "--jsonl"]
    with subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        (tmp_path / "go").touch()
        rest = [json.loads(text)["event"] for text in process.stdout]
    assert first["event"] == "reply"
    assert rest == ["reply", "end"]
    assert process.returncode == 0
