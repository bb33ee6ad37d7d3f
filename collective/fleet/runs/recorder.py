"""Save a call while it runs: a private file, one line per event.

    fleet.call(…, record=RunRecorder(RunFolder(config.state / "runs")))

What was written survives the end of this process. An error, such as a full disk, is logged once, and the rest of the
call is not saved; it never breaks the call.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collective.bounded_json import MAX_DEPTH
from collective.fleet.runs.folder import RunFolder

if TYPE_CHECKING:
    from collective.ddl import Action
    from collective.fleet.call import Call
    from collective.fleet.pace import Pace
    from collective.fleet.recording import EndedCall
    from collective.messages import Reply

log = logging.getLogger(__name__)

_LONGEST_INPUTS = 200  # characters of the inputs in the first line
_NO_DEFAULT = object()
_LEAST_LINES = 2  # of a file: the call, and the request
_LONGEST_REASON = 200  # characters of why a call stopped, in the last line


class RunRecorder:
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
            self._open(call.request.id)
        except OSError as error:
            self._give_up(error)
        self._write(self._begin(call))
        self._write(_request(call, pace))

    def sent(self, request_id: str, nodes: Sequence[str], step: str = "") -> bool:
        """Write a wave."""
        self._write(events.sent(request_id, nodes, self._nodes, step))
        return True

    def received(self, reply: Reply) -> None:
        """Write a reply; without its data when the file has reached the size of all runs."""
        if self._action is None or self._file is None:
            return
        members = ("sender", "statuscode", "statusmsg", "reason", "time", "elapsed_ms")
        line = {"event": "reply", **{name: getattr(reply, name) for name in members}}
        if self._size < self._runs.most_bytes:
            line["data"] = self._action.masked(reply.data)
        else:
            line |= {"data": {}, "cut": True}
        self._write(line)

    def end(self, call: EndedCall) -> None:
        """Write the outcomes, and close the file."""
        outcomes = call.outcomes
        self._write(
            {
                "event": "missing",
                "silent": outcomes.silent,
                "skipped": sorted(outcomes.skipped),
                "rejected": sorted(outcomes.rejected),
                "absent": call.absent,
            }
        )
        self._write(
            {
                "event": "end",
                "time": self._clock(),
                "outcomes": outcomes.counts(),
                "exit": outcomes.exit_code(),
                "stopped": call.stopped[:_LONGEST_REASON],
                "cut_short": call.cut_short,
                "total_ms": round(call.total_ms, 3),
            }
        )
        self._close()

    def _open(self, run: str) -> None:
        folder = self._runs.path
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.stat().st_mode & 0o077:
            folder.chmod(0o700)
        self._runs.prune(self._clock)
        self._path = folder / f"{int(self._clock() * 1000):013d}-{run}.jsonl"
        self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with suppress(OSError):  # not every network file system has locks
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # tells others that the run is not over

    def _begin(self, call: Call) -> dict[str, Any]:
        inputs = call.action.inputs
        data = call.action.masked(call.request.data)
        words = (
            f"{name}={value if isinstance(value, str) else json.dumps(value)}"
            for name, value in data.items()
            if value != inputs.get(name, {}).get("default", _NO_DEFAULT)
        )
        return {
            "event": "begin",
            "run": call.request.id,
            "time": call.started,
            "collective": call.collective,
            "caller": call.caller,
            "agent": call.agent,
            "action": call.action.name,
            "inputs": " ".join(words)[:_LONGEST_INPUTS],
            "dry_run": call.dry_run,
            "nodes": self._nodes,
            "retry_of": self._retry_of,
        }

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


def _request(call: Call, pace: Pace) -> dict[str, Any]:
    """Return the line with all that a retry needs, and that the results are printed with."""
    request, outcomes = call.request, call.outcomes
    return {
        "event": "request",
        "data": call.action.masked(request.data),
        "filter": request.filter,
        "timeout": call.timeout,
        "ttl": request.ttl,
        "pace": pace.to_data(),
        "ddl": asdict(call.action),
        "discovery_ms": round(call.discovery_ms, 3),
        "expected": sorted(outcomes.expected),
        "not_asked": dict(outcomes.not_asked),
        "not_evaluated": dict(outcomes.not_evaluated),
        "undiscovered": list(outcomes.undiscovered),
        "expect_all": outcomes.expect_all,
    }
