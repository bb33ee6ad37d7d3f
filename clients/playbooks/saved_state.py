"""The file of a playbook's run, beside those of saved calls, so that it can be resumed after a failed step.

    {"event":"begin", …}       the playbook, the digests of its files, the inputs that are not secret
    {"event":"called", …}      the ID of a step's call, before anything is sent: its own saved run has the replies
    {"event":"finished", …}    a step that need not run again, with its result if a later expression can use it
    {"event":"end", …}         how it ended

Secrets are not saved: a later use of one is an error.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from jinja2 import Undefined

from collective.clients.playbooks.definition import PlaybookDefinition, PlaybookStep
from collective.clients.playbooks.expressions import expressions, secret
from collective.errors import UsageError
from collective.fleet.runs.folder import RunFile, RunFolder

log = logging.getLogger(__name__)

_SECRET = "$secret"  # noqa: S105 - the member that stands for a value that is not saved


@dataclass
class PlaybookRun:
    """What the file of an earlier run has; `finished` is by the step's key, `called` by key and name."""

    file: RunFile
    begin: dict[str, Any] = field(default_factory=dict)
    finished: dict[str, dict[str, Any]] = field(default_factory=dict)
    called: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    end: dict[str, Any] = field(default_factory=dict)

    def take(self, entry: dict[str, Any]) -> None:
        """Add one line."""
        event = entry.get("event")
        if event == "begin":
            self.begin = entry
        elif event == "finished":
            self.finished[entry["key"]] = entry
        elif event == "called":
            self.called.setdefault((entry["key"], entry["name"]), []).append(entry["run"])
        elif event == "end":
            self.end = entry


class PlaybookState:
    """Writes the file of a run; without a folder, nothing is saved. `earlier` is the run that is resumed."""

    def __init__(
        self,
        playbook: PlaybookDefinition,
        run: str,
        folder: RunFolder | None,
        earlier: PlaybookRun | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.run = earlier.begin["run"] if earlier else run
        self.earlier = earlier
        self.saves = folder is not None
        self._playbook = playbook
        self._used = used_ids(playbook)
        self._folder = folder
        self._clock = clock
        self._lock = Lock()
        self._file: int | None = None

    def begin(self, about: Mapping[str, Any], inputs: Mapping[str, Any]) -> None:
        """Create the file, or open that of the earlier run. Raises UsageError if another process runs it."""
        if self._folder is None:
            return
        try:
            self._open(self._folder)
        except BlockingIOError:
            raise UsageError(f"the playbook's run {self.run[:8]} is still running (wait for its end)") from None
        except OSError as error:
            log.warning(
                "playbook.not_saved",
                extra={"error": f"{self._folder.path}: the playbook cannot be resumed: {error.strerror}"},
            )
            return
        begin = {"run": self.run, **about, "digests": self._playbook.digests, "inputs": inputs}
        self._write({"event": "resume" if self.earlier else "begin", "time": self._clock(), **begin})

    def finished(self, key: str, step: PlaybookStep) -> dict[str, Any] | None:
        """Return the entry of a step that has finished in the earlier run, with its secrets replaced; else None."""
        entry = self.earlier.finished.get(key) if self.earlier else None
        if entry is None or (entry["kind"], entry["name"]) != (step.kind, step.name):
            return None
        found: dict[str, Any] = restored(entry)
        return found

    def called(self, key: str, step: PlaybookStep) -> list[str]:
        """Return the IDs of the calls of a step in the earlier run, in their order."""
        return self.earlier.called.get((key, step.name), []) if self.earlier else []

    def note_call(self, key: str, step: PlaybookStep, run: str) -> None:
        """Write that a step's call begins."""
        self._write({"event": "called", "key": key, "name": step.name, "run": run})

    def note_finished(self, key: str, step: PlaybookStep, found: Mapping[str, Any]) -> None:
        """Write that a step need not run again; `found` has its exit code, its result, and those of steps below it."""
        entry = {"event": "finished", "key": key, "kind": step.kind, "name": step.name, **found}
        if step.id not in self._used:
            entry["data"] = {}
        if "steps" in found:
            entry["steps"] = {name: data for name, data in found["steps"].items() if name in self._used}
        self._write(entry)

    def end(self, outcome: str, key: str, message: str) -> None:
        """Write how the run ended, and close the file."""
        self._write({"event": "end", "time": self._clock(), "outcome": outcome, "step": key, "message": message})
        self.close()

    def close(self) -> None:
        """Close the file."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    def _open(self, folder: RunFolder) -> None:
        folder.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.prune(self._clock)
        if self.earlier:
            path, create = self.earlier.file.path, 0
        else:
            path, create = folder.path / f"{int(self._clock() * 1000):013d}-{self.run}.jsonl", os.O_CREAT | os.O_EXCL
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | create, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _write(self, entry: Mapping[str, Any]) -> None:
        with self._lock:
            if self._file is None:
                return
            try:
                os.write(self._file, f"{json.dumps(entry, separators=(',', ':'))}\n".encode())
            except OSError as error:
                log.warning("playbook.not_saved", extra={"error": f"the playbook cannot be resumed: {error.strerror}"})
                self.close()


def used_ids(playbook: PlaybookDefinition) -> frozenset[str]:
    """Return the ids of the steps whose results some expression uses; all ids if a name is computed."""
    ids, used = set(), set()
    everything = False
    for _, step in playbook.every_step():
        ids.add(step.id)
        for found in expressions([step.title, step.when, step.body, step.retry and step.retry.delay]):
            used |= {name for holder, name in found.members if holder == "steps"}
            everything |= "steps" in found.whole
    return frozenset((ids if everything else used) - {""})


def read_earlier(file: RunFile) -> PlaybookRun:
    """Return what the file of a run has; a line that was not written whole is ignored. Raises UsageError."""
    found = PlaybookRun(file)
    try:
        text = file.path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file.path}: cannot be read: {error}") from None
    for line in text.splitlines():
        with suppress(ValueError, KeyError, RecursionError):
            found.take(json.loads(line))
    if not isinstance(found.begin.get("run"), str) or not isinstance(found.begin.get("digests"), dict):
        raise UsageError(f"{file.path}: broken: its first line is missing or cannot be read")
    return found


def without_secrets(value: Any, secrets: tuple[str, ...]) -> Any:
    """Return a value with every string that contains a secret replaced by a mark."""
    if isinstance(value, Mapping):
        return {str(key): without_secrets(part, secrets) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_secrets(part, secrets) for part in value]
    if isinstance(value, Undefined):  # it was not saved before
        return {_SECRET: "a value"}
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    hidden = any(one in text if isinstance(value, str) else one == text for one in secrets if one)
    return {_SECRET: "a value"} if hidden else value


def has_secret(saved: Any) -> bool:
    """Return whether a value of `without_secrets` has a mark."""
    if isinstance(saved, dict):
        return saved.keys() == {_SECRET} or any(map(has_secret, saved.values()))
    return isinstance(saved, list) and any(map(has_secret, saved))


def restored(value: Any) -> Any:
    """Return a saved value with the marks of secrets replaced by values whose use is an error."""
    if isinstance(value, dict):
        if value.keys() == {_SECRET}:
            return secret(str(value[_SECRET]))
        return {key: restored(part) for key, part in value.items()}
    return [restored(part) for part in value] if isinstance(value, list) else value
