r"""The prompts of real shells with conf/prompt.sh.

Facts are hostile here: escape codes, `$(…)`, backquotes, backslashes and zsh's `%` must not reach a prompt or terminal.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from support.hostile_facts import HOSTILE_FACTS

from collective.clients import crpc
from collective.prompt_line import prompt_line

SNIPPET = Path(__file__).resolve().parents[2] / "conf" / "prompt.sh"
SHELLS = {"bash": ["bash", "--norc", "--noprofile", "--noediting", "-i"], "zsh": ["zsh", "-f", "-i"]}


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, needs: Callable[[str, str], None]) -> str:
    """A shell, which is installed if it is missing."""
    needs(request.param, request.param)
    return str(request.param)


def prompts(shell: str, file: Path, count: int = 1, before: str = "") -> str:
    """Return what an interactive shell prints for `count` prompts with the snippet."""
    lines = "".join("echo line\n" for _ in range(count))
    setup = f"{before}\nCOLLECTIVE_PROMPT_FILE='{file}'\n. {SNIPPET}\n"
    done = subprocess.run(
        SHELLS[shell],
        input=f"{setup}{lines}exit\n",
        env={"PATH": os.environ["PATH"], "HOME": str(file.parent), "TERM": "dumb", "PS1": "end> ", "LC_ALL": "C.UTF-8"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=30,
        check=False,
    )
    return done.stdout


def test_a_shell_shows_the_line(shell: str, tmp_path: Path) -> None:
    """The prompt begins with the values in brackets; without a file it is the usual one."""
    (tmp_path / "prompt").write_text("acme production web\n")
    assert "[acme production web] end> " in prompts(shell, tmp_path / "prompt", before="PS1='end> '")
    without = prompts(shell, tmp_path / "missing", before="PS1='end> '")
    assert "end> " in without
    assert "[" not in without.replace("[?", "")
    (tmp_path / "prompt").write_text("\n")
    assert "[]" not in prompts(shell, tmp_path / "prompt")


def test_a_shell_shows_a_change_at_its_next_prompt(shell: str, tmp_path: Path) -> None:
    """The file is read for each prompt, and what the shell did before each prompt is kept."""
    file = tmp_path / "prompt"
    file.write_text("before\n")
    hook = "PROMPT_COMMAND='echo own'" if shell == "bash" else "precmd() { echo own; }"
    shown = prompts(shell, file, before=f"PS1='end> '\n{hook}\nchange() {{ echo after > {file}; }}")
    assert "[before] end> " in shown
    assert "own" in shown


@pytest.mark.parametrize("prompt_subst", [False, True])
@pytest.mark.parametrize("text", HOSTILE_FACTS)
def test_no_expansion_in_a_shell(shell: str, tmp_path: Path, text: str, prompt_subst: bool) -> None:
    """Neither a hostile fact nor a hostile file runs a command, expands a code or changes the terminal."""
    mark, file = tmp_path / "mark", tmp_path / "prompt"
    value = text.format(mark=mark)
    before = "PS1='end> '\n" + ("setopt PROMPT_SUBST" if shell == "zsh" and prompt_subst else "")
    for content in (prompt_line({"role": value}, ["role"]), value):
        file.write_text(content + "\n")
        shown = prompts(shell, file, before=before)
        assert not mark.exists()
        assert "end> " in shown
        found = re.search(r"\[([^\]?]*)\] end> ", shown)
        assert found, shown
        assert re.fullmatch(r"[A-Za-z0-9._:@/+ -]{1,100}", found[1])
        assert "\x1b]" not in shown


def test_a_plain_shell_ignores_the_snippet(tmp_path: Path) -> None:
    """/etc/profile.d is also read by sh, which must print nothing."""
    done = subprocess.run(["sh", "-c", f". {SNIPPET}; echo ok"], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("ok\n", "")


def test_a_prompt_takes_less_than_ten_milliseconds(shell: str, tmp_path: Path) -> None:
    """No program is started: a hundred prompts take less than a second."""
    (tmp_path / "prompt").write_text("acme production web\n")
    clock = (
        "now() { t=${EPOCHREALTIME/[.,]/}; }"
        if shell == "bash"
        else "zmodload zsh/datetime; now() { t=${EPOCHREALTIME/./}; }"
    )
    function = "__collective_prompt" if shell == "bash" else "__collective_zsh_prompt"
    script = (
        f"PS1=x; {clock}; COLLECTIVE_PROMPT_FILE={tmp_path}/prompt; . {SNIPPET}; now; a=$t; "
        f"i=0; while [ $i -lt 100 ]; do {function}; i=$((i+1)); done; now; echo $((${{t:0:16}} - ${{a:0:16}}))"
    )
    options = ["--norc", "--noprofile"] if shell == "bash" else ["-f"]
    done = subprocess.run([shell, *options, "-c", script], capture_output=True, text=True, check=True, timeout=30)
    assert 0 < int(done.stdout) < 1_000_000, done.stdout  # microseconds for 100


def test_the_lines_for_a_shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], shell: str) -> None:
    """`crpc prompt bash` prints the lines with the path of the node's file."""
    (tmp_path / "prompt").write_text("acme production web\n")
    values = {"collective": "production", "identity": "web1", "local_files": str(tmp_path)}
    (tmp_path / "node.yaml").write_text(json.dumps(values))
    assert crpc.main(["prompt", shell, "--config", str(tmp_path / "node.yaml")]) == 0
    script = tmp_path / "rc"
    script.write_text(capsys.readouterr().out)
    assert script.read_text() == f"COLLECTIVE_PROMPT_FILE={tmp_path}/prompt\n{SNIPPET.read_text()}"
    lines = f'{script.read_text()}__collective_prompt; echo "<$COLLECTIVE_PROMPT>"'
    done = subprocess.run([shell, "-c", f"PS1=x; {lines}"], capture_output=True, text=True, check=True)
    assert done.stdout == "<acme production web>\n"
