"""With a warm process, `crpc` does on a terminal exactly what it does without one."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from pathlib import Path

import pytest
from support.crpc_process import BIN
from support.terminal import TmuxTerminal
from support.waiting import wait_until
from support.warm_process import Warm

MODES = ("cold", "warm")


Opens = Callable[[str], AbstractContextManager[TmuxTerminal]]


@pytest.fixture
def opened(warm: Warm, needs: Callable[[str, str], None]) -> Opens:
    """Return what opens a terminal in which crpc uses the lab, in a mode of MODES, and closes it after the block."""
    needs("tmux", "tmux")

    def terminal(mode: str) -> AbstractContextManager[TmuxTerminal]:
        more = {"COLLECTIVE_WARM": "no"} if mode == "cold" else {}
        return closing(TmuxTerminal({**warm.environment, "PATH": f"{BIN}:{os.environ['PATH']}", **more}))

    return terminal


@pytest.fixture(params=MODES)
def terminal(warm: Warm, opened: Opens, request: pytest.FixtureRequest) -> Iterator[TmuxTerminal]:
    """A terminal in which crpc uses the lab, and the warm process or not."""
    before = warm.served()
    with opened(request.param) as terminal:
        yield terminal
    wait_until(lambda: warm.state()["active"] == 0, 30)
    assert (warm.served() > before) == (request.param == "warm")


def shows(terminal: TmuxTerminal, text: str) -> None:
    """Wait until the terminal shows a text."""
    wait_until(lambda: text in terminal.screen(), 40, terminal.screen)


def test_ctrl_c_asks_whether_to_cancel_and_ends_with_4(terminal: TmuxTerminal) -> None:
    """Ctrl-C interrupts the call; its exit code is that of an interrupted call."""
    terminal.type("crpc shell run 'sleep 20' --yes; echo ended with $?")
    shows(terminal, "0 / 5")
    terminal.keys("", "C-c")
    shows(terminal, "cancel the work on 5 nodes?")
    terminal.type("y")
    shows(terminal, "ended with 4")


def test_ctrl_z_stops_and_fg_continues(terminal: TmuxTerminal) -> None:
    """Ctrl-Z stops the call as a job of the shell; nothing is drawn until fg."""
    terminal.type("crpc shell run 'sleep 2' --yes")
    shows(terminal, "0 / 5")
    terminal.keys("", "C-z")
    shows(terminal, "Stopped")
    terminal.type("echo code $?; jobs")
    shows(terminal, "code 148")
    stopped = terminal.screen()
    terminal.type("fg; echo ended with $?")
    shows(terminal, "ended with 0")
    assert "5 / 5" not in stopped
    assert "5 / 5" in terminal.screen()


def test_the_live_view_has_its_own_screen_and_follows_the_size(terminal: TmuxTerminal) -> None:
    """`--live` draws on the alternate screen, adapts to a new size, survives Ctrl-Z, and leaves that screen."""
    terminal.type("crpc shell run 'sleep 4' --yes --live")
    wait_until(lambda: terminal.format("#{alternate_on}") == "1" and "shell run" in terminal.screen(), 40)
    terminal.resize(60, 20)
    wait_until(lambda: max(map(len, terminal.screen().splitlines())) <= 60 and "shell run" in terminal.screen(), 30)
    terminal.keys("", "C-z")
    wait_until(lambda: terminal.format("#{alternate_on}") == "0", 30)
    shows(terminal, "Stopped")
    terminal.type("fg")
    wait_until(lambda: terminal.format("#{alternate_on}") == "1", 30)
    wait_until(lambda: terminal.format("#{alternate_on}") == "0", 40)
    shows(terminal, "Finished processing 5 / 5 hosts")


def test_questions_are_asked_on_the_terminal(terminal: TmuxTerminal) -> None:
    """A confirmation is asked also when the output goes elsewhere; without a yes nothing is sent."""
    terminal.type("crpc shell run true >/tmp/null.$$; echo ended with $?; rm /tmp/null.$$")
    shows(terminal, "[y/N]")
    terminal.type("n")
    shows(terminal, "ended with 4")


def test_a_passphrase_is_asked_without_echo(terminal: TmuxTerminal, tmp_path: Path) -> None:
    """The passphrase of a key is read from the terminal and not shown."""
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret words", "-f", key], check=True)
    folder = tmp_path / "config"
    folder.mkdir()
    terminal.type(
        f"cp $COLLECTIVE_CONFIG/client.yaml {folder}; sed -i 's,^key:.*,key: {key},' {folder}/client.yaml; clear"
    )
    terminal.type(f"crpc rpcutil ping --config {folder}/client.yaml -t 3; echo ended with $?")
    shows(terminal, f"Passphrase of {key}:")
    terminal.type("secret words")
    wait_until(lambda: re.search(r"ended with \d+", terminal.screen()) is not None, 40, terminal.screen)
    assert "secret words" not in terminal.screen()
    assert "no response" in " ".join(terminal.screen().split()).lower() or "denied" in terminal.screen().lower()


def test_a_job_in_the_background_runs_in_the_usual_way(warm: Warm, opened: Opens) -> None:
    """`crpc … &` could read the shell's terminal from the warm process, so it does not run there."""
    with opened("warm") as terminal:
        before = warm.served()
        terminal.type("crpc rpcutil ping & wait; echo ended with $?")
        shows(terminal, "ended with 0")
        assert warm.served() == before
        assert "ended with 0" in terminal.run("crpc rpcutil ping")
        assert warm.served() == before + 1


@pytest.mark.parametrize("mode", MODES)
def test_a_closed_terminal_ends_a_call_with_its_results(warm: Warm, opened: Opens, tmp_path: Path, mode: str) -> None:
    """When the terminal is closed, the call ends as after Ctrl-C, and writes the results that it has."""
    before = warm.served()
    with opened(mode) as terminal:
        terminal.type(f"crpc shell run 'sleep 20' --yes --json >{tmp_path / 'results'}")
        shows(terminal, "0 / 5")
        assert warm.served() == before + (mode == "warm")
    wait_until(lambda: (tmp_path / "results").stat().st_size > 0, 30)
    wait_until(lambda: warm.state()["active"] == 0, 30)
    assert len(json.loads((tmp_path / "results").read_text())["silent"]) == 5


@pytest.mark.parametrize("mode", MODES)
def test_nohup_keeps_a_call_when_its_terminal_is_closed(opened: Opens, tmp_path: Path, mode: str) -> None:
    """`nohup crpc …` goes on without a terminal, and gets all replies."""
    with opened(mode) as terminal:
        terminal.type(
            f"nohup crpc shell run 'touch {tmp_path}/begun; sleep 4' --yes --json --output-file={tmp_path / 'results'}"
        )
        wait_until((tmp_path / "begun").exists, 30, terminal.screen)
    wait_until((tmp_path / "results").exists, 30)
    document = json.loads((tmp_path / "results").read_text())
    assert (len(document["replies"]), document["silent"]) == (5, [])
