"""The output on a terminal (tmux): progress bar and colours; and in a pipe, which has neither."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

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
        r"^ \* \[ =+> \] 4 / 4 *\n\n+Summary of Exit Code:\n\n +OK = 4\n\n"
        r"Finished processing 4 / 4 hosts in [0-9.]+ ms",
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


def test_the_list_of_runs_fits_the_terminal(terminal: TmuxTerminal) -> None:
    """The call is cut, so that each run has one line and its result is at the end."""
    call = f"crpc rpcutil get_fact fact={'x' * 90} -q"
    screen = terminal.run(f"{call}; clear; crpc runs rpcutil get_fact")
    assert re.search(r"^[0-9a-f]{8}  \d+ seconds? ago +rpcutil get_fact fact=x+…  5 ok$", screen, re.MULTILINE), screen


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


REFUSED = "5 nodes matched: no filter was given, and standard input is not a terminal to ask on (add --yes, or a filter"


@pytest.mark.parametrize(
    "line",
    [
        "crpc shell run 'command=echo x >> {ran}' < /dev/null",
        'while read name; do crpc shell run "command=echo $name >> {ran}"; done < {names}',
        'cat {names} | while read name; do crpc shell run "echo $name >> {ran}"; done',
        "crpc shell run 'echo x >> {ran}' --json <&-",
        "echo y | crpc shell run 'echo x >> {ran}'",
    ],
)
def test_nothing_runs_everywhere_without_a_question(terminal: TmuxTerminal, tmp_path: Path, line: str) -> None:
    """On a terminal with standard input from elsewhere, a non-idempotent action without a filter is refused: exit 4."""
    ran, names = tmp_path / "ran", tmp_path / "names"
    names.write_text("one\ntwo\n")
    screen = terminal.run(line.format(ran=ran, names=names))
    assert REFUSED in " ".join(screen.split()), screen
    assert "ended with 4" in screen
    assert not ran.exists()


def test_a_loop_with_a_filter_reaches_every_line(terminal: TmuxTerminal, tmp_path: Path) -> None:
    """A shell loop with a filter or --yes runs for each line of its file, because crpc does not read it."""
    ran, names = tmp_path / "ran", tmp_path / "names"
    names.write_text("one\ntwo\n")
    for more, nodes in (("-I node01.lab", 1), ("--yes", 5)):
        screen = terminal.run(
            f'clear; while read name; do crpc shell run "command=echo $name >> {ran}" {more}; done < {names}'
        )
        assert "ended with 0" in screen
        assert sorted(ran.read_text().split()) == ["one"] * nodes + ["two"] * nodes
        ran.unlink()


def test_the_question_names_what_will_happen(terminal: TmuxTerminal) -> None:
    """The question is on the terminal, also when both outputs go elsewhere; a no sends nothing."""
    terminal.type("crpc shell run true > /dev/null 2>&1; echo ended with $?")
    wait_until(lambda: "shell run true on 5 nodes (node[01-05].lab)? [y/N]" in terminal.screen(), 30)
    terminal.type("n")
    wait_until(lambda: "ended with 4" in terminal.screen(), 20, terminal.screen)
