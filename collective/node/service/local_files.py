"""Keep two files current for people who log in: `facts.json` and `prompt`, in the folder `local_files` of node.yaml.

They are written when facts or classes change, and again when they are missing. Once a minute their time is set, which
tells a reader that the daemon runs.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from collective.local_facts import FACTS, PROMPT
from collective.log_limiter import LogLimiter
from collective.node.server import Server
from collective.periodic import PeriodicThread
from collective.prompt_line import prompt_line
from collective.replaced_file import replace_file

log = logging.getLogger(__name__)

_PERIOD = 60.0  # seconds between two looks
_LOG_PERIOD = 600.0  # seconds between two log lines about a folder that cannot be written


class LocalFiles:
    """Writes the files in a thread of its own. `mode` is that of facts.json; `prompt` can be read by all users."""

    def __init__(
        self, folder: Path, server: Server, mode: int, names: Sequence[str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._folder = folder
        self._server = server
        self._modes = {FACTS: mode, PROMPT: 0o644}
        self._names = names
        self._written: dict[str, bytes] = {}
        self._limiter = LogLimiter(_LOG_PERIOD, clock)
        self._thread = PeriodicThread("local files", self.write, _PERIOD)

    def start(self) -> None:
        """Write now and after each change."""
        self._thread.start()

    def wake(self) -> None:
        """Write soon."""
        self._thread.wake()

    def stop(self) -> None:
        """Write no more."""
        self._thread.stop()

    def write(self) -> None:
        """Write what has changed or is missing, and confirm what has not changed."""
        facts = self._server.facts.current
        document = {
            "collective": self._server.collective,
            "identity": self._server.identity,
            "facts": dict(facts),
            "classes": sorted(self._server.facts.classes),
        }
        line = prompt_line(facts, self._names)
        self._put({FACTS: json.dumps(document).encode() + b"\n", PROMPT: line.encode() + b"\n"})

    def _put(self, contents: dict[str, bytes]) -> None:
        try:
            if not self._folder.exists():
                self._folder.mkdir(parents=True)
                self._folder.chmod(0o755)  # whatever the umask is
            for name, content in contents.items():
                path = self._folder / name
                if self._written.get(name) == content and path.is_file() and not path.is_symlink():
                    os.utime(path, follow_symlinks=False)  # the folder may be another user's
                else:
                    replace_file(path, content, self._modes[name])
                    self._written[name] = content
        except OSError as error:
            if self._limiter.allows():
                text = f"local_files: {self._folder}: cannot be written: {error.strerror} (change the path)"
                log.warning("local_files.failed", extra={"error": text})
