"""Completion in real shells, in a real terminal; what is inserted reaches a command as it was meant."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.completing import VALUES, configure
from support.crpc_process import BIN, clean_environment
from support.terminal import TmuxTerminal
from support.waiting import wait_until

START = {
    "bash": "bash --norc -i",
    "zsh": "zsh -f -i",
    "fish": "fish --no-config -i",
}
LOAD = {
    "bash": "source <(crpc completion bash)",
    "zsh": "bindkey -e; autoload -Uz compinit; compinit -u -D; source <(crpc completion zsh)",
    "fish": "crpc completion fish | source",
}
RECORD = """#!{python}
import json, pathlib, sys
pathlib.Path("{file}").write_text(json.dumps(sys.argv[2:]))
"""


class Shell:
    """A shell in which completion of crpc is loaded, and that records the words of a line."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self._recorded = folder / "recorded.json"
        program = folder / "bin" / "record"
        program.parent.mkdir()
        program.write_text(RECORD.format(python=sys.executable, file=self._recorded))
        program.chmod(0o755)
        path = f"{program.parent}:{BIN}:{os.environ['PATH']}"
        home = {"HOME": str(folder), "COLLECTIVE_CONFIG": str(folder), "LC_ALL": "C.UTF-8", "PATH": path}
        self.terminal = TmuxTerminal({**clean_environment(), **home})
        self.terminal.type(f"cd {folder}; exec {START[name]}")
        self.terminal.type(f"{LOAD[name]}; echo load''ed")
        wait_until(lambda: "loaded" in self.terminal.screen(), 20, self.terminal.screen)

    def words(self, typed: str, completed: str, end: str = "") -> list[str]:
        """Type a line and press Tab; when the line has `completed`, type `end`, and return its words after `crpc`."""
        self._recorded.unlink(missing_ok=True)
        self.terminal.type("clear")
        wait_until(lambda: "loaded" not in self.terminal.screen() and "crpc" not in self.terminal.screen(), 30)
        self.terminal.keys(typed, "Tab")
        wait_until(lambda: completed in self.terminal.screen(), 20, self.terminal.screen)
        self.terminal.keys(end, "C-a")
        self.terminal.type("record ")
        wait_until(self._recorded.exists, 20, self.terminal.screen)
        wait_until(lambda: self._recorded.read_text() != "", 30)
        found: list[str] = json.loads(self._recorded.read_text())
        return found


@pytest.fixture(params=START)
def shell(request: pytest.FixtureRequest, tmp_path: Path, needs: Callable[[str, str], None]) -> Iterator[Shell]:
    """Each shell."""
    needs(request.param, request.param)
    needs("tmux", "tmux")
    configure(tmp_path)
    shell = Shell(request.param, tmp_path)
    yield shell
    shell.terminal.close()


def test_words_are_completed_in_a_terminal(shell: Shell) -> None:
    """Commands, inputs, options, facts and their values, also after an option and within quotes."""
    assert shell.words("crpc package install vers", "version=") == ["package", "install", "version="]
    assert shell.words("crpc find --with-fact=role=w", "=role=web") == ["find", "--with-fact=role=web"]
    assert shell.words("crpc find -C mysql::s", "mysql::server") == ["find", "-C", "mysql::server"]
    assert shell.words("crpc find --nodes client.y", "client.yaml") == ["find", "--nodes", "client.yaml"]
    end = "" if shell.name == "bash" else "'"  # bash closes the quote
    quoted = shell.words("crpc find -S 'role=web and os.n", "os.name=", end)
    assert quoted == ["find", "-S", "role=web and os.name="]


def test_a_value_from_a_node_is_never_run(shell: Shell, tmp_path: Path) -> None:
    """A fact with characters of the shell is inserted so that it stays one word, and nothing in it is executed."""
    names = json.loads((tmp_path / "state" / "names_production.json").read_text())
    for value in VALUES:
        names["facts"] = {"place": [value]}
        (tmp_path / "state" / "names_production.json").write_text(json.dumps(names))
        assert shell.words("crpc find -F place=", value[-1:]) == ["find", "-F", f"place={value}"]
    assert not (tmp_path / "ran").exists()


def test_completion_prints_no_error(shell: Shell, tmp_path: Path) -> None:
    """With an invalid configuration a Tab changes nothing, and the terminal shows no error."""
    (tmp_path / "client.yaml").write_text("{")
    shell.terminal.type("clear")
    shell.terminal.keys("crpc find -I web", "Tab")
    shell.terminal.keys("9", "C-e")
    wait_until(lambda: "crpc find -I web9" in shell.terminal.screen(), 20, shell.terminal.screen)
    assert "invalid" not in shell.terminal.screen()


def test_fish_lists_candidates_with_descriptions(tmp_path: Path, needs: Callable[[str, str], None]) -> None:
    """`complete -C` shows the words and their descriptions."""
    needs("fish", "fish")
    configure(tmp_path)
    environment = {**clean_environment(), "COLLECTIVE_CONFIG": str(tmp_path), "HOME": str(tmp_path)}
    environment["PATH"] = f"{BIN}:{environment['PATH']}"
    command = ["fish", "--no-config", "-c", f"{LOAD['fish']}; complete -C 'crpc pac'"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout == "package\tInstall, update and remove packages\n"
