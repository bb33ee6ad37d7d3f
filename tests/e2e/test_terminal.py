"""The output on a terminal (tmux): progress bar and colours; and in a pipe, which has neither."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator

import pytest
from support.crpc_process import BIN, Crpc
from support.terminal import TmuxTerminal
from support.waiting import wait_until


@pytest.fixture
def terminal(environment: dict[str, str], needs: Callable[[str, str], None]) -> Iterator[TmuxTerminal]:
    """A terminal in which crpc uses the lab."""
    needs("tmux", "tmux")
    terminal = TmuxTerminal({**environment, "PATH": f"{BIN}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"})
    yield terminal
    terminal.close()


def test_the_bar_the_summary_and_the_finishing_line(terminal: TmuxTerminal) -> None:
    """A call without failures prints no host: only the full bar, the summary and the finishing line."""
    screen = terminal.run("crpc nrpe runcommand command=check_disk -I 'node[01-04].lab'")
    assert re.search(
        r"^ \* \[ =+> \] 4 / 4\n\n+Summary of Exit Code:\n\n +OK = 4\n\nFinished processing 4 / 4 hosts in [0-9.]+ ms",
        screen,
        re.MULTILINE,
    ), screen
    assert "ended with 0" in screen


def test_a_failing_host_is_red(terminal: TmuxTerminal) -> None:
    """Only the failed host is printed, with a coloured label."""
    terminal.run("crpc nrpe runcommand command=check_disk")
    screen = terminal.screen(colors=True)
    assert re.search(r"node05\.lab +\x1b\[31mRequest Aborted", screen), screen
    assert "Exit Code: 2" in screen
    assert "ended with 2" in screen


def test_the_bar_moves_while_nodes_work(terminal: TmuxTerminal) -> None:
    """The bar appears before the first reply, and counts replies."""
    terminal.type("crpc shell run command='sleep 3' --yes")
    wait_until(lambda: re.search(r"\[ >? +\] 0 / 5|\[ > +\] 0 / 5", terminal.screen()) is not None, 20, terminal.screen)
    wait_until(lambda: "5 / 5" in terminal.screen(), 30, terminal.screen)


def test_no_color_is_honoured(terminal: TmuxTerminal) -> None:
    """NO_COLOR disables colour on a terminal."""
    terminal.run("NO_COLOR=1 crpc nrpe runcommand command=check_disk")
    assert "\x1b[31m" not in terminal.screen(colors=True)


def test_a_pipe_gets_neither_bar_nor_color(crpc: Crpc) -> None:
    """Output that does not go to a terminal is plain, unless `--color always` or FORCE_COLOR is set."""
    plain = crpc("nrpe", "runcommand", "command=check_disk")
    assert "\x1b" not in plain.stdout + plain.stderr
    assert plain.stderr == ""
    assert "\x1b[31mRequest Aborted" in crpc("nrpe", "runcommand", "command=check_disk", "--color", "always").stdout
    assert "\x1b[31mRequest Aborted" in crpc("nrpe", "runcommand", "command=check_disk", FORCE_COLOR="1").stdout


def test_a_closed_pipe_is_not_an_error(environment: dict[str, str]) -> None:
    """`crpc … | head -1` prints no error."""
    line = f"{shlex.quote(str(BIN / 'crpc'))} rpcutil inventory | head -1"
    done = subprocess.run(["sh", "-c", line], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("node0")
    assert done.stderr == ""
