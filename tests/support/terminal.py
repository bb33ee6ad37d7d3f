"""Run a program in a real terminal (tmux)."""

from __future__ import annotations

import os
import re
import subprocess
import uuid
from contextlib import suppress

from support.waiting import wait_until


class TmuxTerminal:
    """A shell in a tmux window of 100 columns and 40 lines."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._name = f"collective-{uuid.uuid4().hex[:8]}"
        self._lines = 0
        self._tmux("new-session", "-d", "-x", "100", "-y", "40", "env", "PS1=$ ", "sh", environment=environment)

    def type(self, line: str) -> None:
        """Type a line and press Enter."""
        self.keys(line, "Enter")

    def keys(self, text: str, key: str) -> None:
        """Type a text, then press a key by its name in tmux: Tab, C-a."""
        if text:
            self._tmux("send-keys", "-l", text)
        self._tmux("send-keys", key)

    def screen(self, colors: bool = False) -> str:
        """Return the content of the window."""
        return self._tmux("capture-pane", "-p", "-J", *(["-e"] if colors else []))

    def format(self, text: str) -> str:
        """Return what tmux knows about the window: `#{alternate_on}`, `#{cursor_flag}`."""
        return self._tmux("display-message", "-p", text).strip()

    def resize(self, columns: int, lines: int) -> None:
        """Change the size of the window."""
        self._tmux("resize-window", "-x", str(columns), "-y", str(lines))

    def run(self, line: str) -> str:
        """Run a command line; return the screen after it has ended, with its exit code."""
        self._lines += 1  # the end of an earlier line may still be on the screen
        self.type(f"{line}; echo ended with $?, line {self._lines}")
        end = re.compile(rf"^ended with \d+, line {self._lines}$", re.MULTILINE)
        wait_until(lambda: end.search(self.screen()) is not None, 60, self.screen)
        return self.screen()

    def close(self) -> None:
        """Close the terminal."""
        with suppress(subprocess.CalledProcessError):  # it was closed before
            self._tmux("kill-server")

    def _tmux(self, *words: str, environment: dict[str, str] | None = None) -> str:
        command = ["tmux", "-L", self._name, "-f", "/dev/null", *words]
        env = {**(environment or os.environ), "TERM": "xterm-256color"}
        return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
