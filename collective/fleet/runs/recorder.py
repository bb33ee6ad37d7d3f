"""Save a call while it runs: a private file, one line per event.

    fleet.call(…, record=RunRecorder(RunFolder(config.state / "runs")))

What was written survives the end of this process. An error, such as a full disk, is logged once, and the rest of the
call is not saved; it never breaks the call.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collective.bounded_json import MAX_DEPTH
from collective.fleet.recording import NoRecord
from collective.fleet.runs import events
from collective.fleet.runs.folder import RunFolder

if TYPE_CHECKING:
    from collective.ddl import Action
    from collective.fleet.call import Call
    from collective.fleet.pace import Pace
    from collective.fleet.recording import EndedCall
    from collective.messages import Reply

log = logging.getLogger(__name__)

_LEAST_LINES = 2  # of a file: the call, and the request


class RunRecorder(NoRecord):
    """Writes one run to `runs`; `retry_of` is the ID of the run that this one retries."""

    def __init__(self, runs: RunFolder, *, retry_of: str | None = None, clock: Callable[[], float] = time.time) -> None:
        self._runs = runs
        self._retry_of = retry_of
        self._clock = clock
        self._file: int | None = None
        self._path: Path | None = None
        self._lines = 0
        self._size = 0
        self._nodes = 0
        self._action: Action | None = None

    def begin(self, call: Call, pace: Pace) -> None:
        """Create the file, and write the call as it is before anything is sent."""
        self._action, self._nodes = call.action, len(call.outcomes.expected)
        try:
            self._path, self._file = self._runs.create(call.request.id, self._clock)
        except OSError as error:
            self._give_up(error)
        self._write(events.begin(call, self._retry_of))
        self._write(events.request(call, pace))

    def sent(self, request_id: str, nodes: Sequence[str], step: str = "", *, further: bool = False) -> bool:  # noqa: ARG002 - a protocol
        """Write a wave."""
        self._write(events.sent(request_id, nodes, self._nodes, step))
        return True

    def received(self, reply: Reply) -> None:
        """Write a reply; without its data when the file has reached the size of all runs."""
        if self._action is not None and self._file is not None:
            self._write(events.reply(reply, self._action, cut=self._size >= self._runs.most_bytes))

    def silent(self, nodes: Sequence[str]) -> None:
        """Write which nodes are not waited for any more."""
        self._write(events.silent(nodes))

    def gate(self, wave: int, closed: str) -> None:
        """Write the result of the gates."""
        self._write(events.gate(wave, closed, self._clock()))

    def end(self, call: EndedCall) -> None:
        """Write the outcomes, and close the file."""
        self._write(events.missing(call))
        self._write(events.end(call, self._clock()))
        self._close()

    def _write(self, entry: Mapping[str, Any]) -> None:
        if self._file is None:
            return
        try:
            line = f"{json.dumps(entry, separators=(',', ':'))}\n".encode()
            self._size += len(line)
            while line:
                line = line[os.write(self._file, line) :]
            self._lines += 1
        except OSError as error:
            self._give_up(error)
        except (TypeError, ValueError, RecursionError):  # no reply is nested more than MAX_DEPTH levels
            log.debug("run.line_omitted", extra={"limit": MAX_DEPTH})

    def _give_up(self, error: OSError) -> None:
        text = f"{self._runs.path}: the run cannot be saved: {error.strerror or error}"
        log.warning("run.not_saved", extra={"error": f"{text} (--no-save omits this warning)"})
        self._close()
        if self._path is not None and self._lines < _LEAST_LINES:  # it could not be shown or retried
            with suppress(OSError):
                self._path.unlink()

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):  # the error of an earlier write, reported before
                os.close(file)
