"""Open several commands in the panes of one tmux window, each with the name of its node."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence

from collective.errors import ConfigError, NoNodes, TooManyTargets

MAX_PANES = 30  # more do not fit on a screen


def open_panes(commands: Mapping[str, Sequence[str]]) -> int:
    """Run a command for each node in a pane of a new session, and show it. Returns only when tmux could not be run."""
    from collective.clients.commands.ssh import execute

    if not commands:
        raise NoNodes("no node has an address")
    if len(commands) > MAX_PANES:
        raise TooManyTargets(
            len(commands), f"tmux shows at most {MAX_PANES} panes (narrow the targets, or use --limit)"
        )
    session = f"crpc-{os.getpid()}"
    try:
        subprocess.run([_program(), *_words(session, commands)], check=True, capture_output=True, text=True)
    except subprocess.CalledProcessError as error:
        raise ConfigError(f"tmux: {error.stderr.strip() or f'exit code {error.returncode}'}") from None
    way = "switch-client" if os.environ.get("TMUX") else "attach-session"
    return execute(["tmux", way, "-t", f"={session}"])


def _program() -> str:
    program = shutil.which("tmux")
    if program is None:
        raise ConfigError("tmux: command not found (install it)")
    return program


def _words(session: str, commands: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the arguments of one call of tmux: a pane that ends at once is kept, as nothing runs in between."""
    target = ["-t", f"={session}:"]
    columns, lines = shutil.get_terminal_size()
    (first, command), *others = commands.items()
    calls = [
        ["new-session", "-d", "-s", session, "-x", str(columns), "-y", str(lines), *map(_escaped, command)],
        ["set-option", "-w", *target, "remain-on-exit", "failed"],
        ["set-option", "-w", *target, "pane-border-status", "top"],
        ["set-option", "-w", *target, "pane-border-format", " #{@node} "],
        ["set-option", "-p", *target, "@node", first],
    ]
    for node, further in others:
        calls += [
            ["split-window", *target, *map(_escaped, further)],
            ["set-option", "-p", *target, "@node", node],
            ["select-layout", *target, "tiled"],
        ]
    return [word for call in calls for word in (*call, ";")][:-1]


def _escaped(word: str) -> str:
    """Return an argument that tmux does not take for the end of a command."""
    return f"{word[:-1]}\\;" if word.endswith(";") else word
