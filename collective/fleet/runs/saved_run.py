"""Read a saved run: the request, the replies that had arrived, and what happened to every other node."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from collective.errors import UsageError
from collective.fleet.runs.folder import RunFile

log = logging.getLogger(__name__)

_EVENTS: dict[str, dict[str, type | tuple[type, ...]]] = {  # the members that a line must have, with their types
    "begin": {"run": str, "time": (int, float), "agent": str, "action": str, "collective": str, "caller": str},
    "request": {"data": dict, "expected": list, "ddl": dict, "timeout": (int, float), "ttl": (int, float)},
    "sent": {"request": str},
    "reply": {"sender": str, "statuscode": int, "statusmsg": str, "data": dict},
    "silent": {"nodes": list},
    "gate": {"wave": int, "closed": str},
    "plan": {"document": dict},
    "taken": {"id": str, "caller": str, "time": (int, float)},
    "order": {"id": str, "order": str, "caller": str, "time": (int, float)},
    "missing": {"silent": list, "skipped": list, "rejected": list, "absent": list},
    "end": {"outcomes": dict, "exit": int},
}


_STEERING = ("plan", "taken", "order", "gate", "silent")


class RunSource(Protocol):
    """Where a run is saved: its ID, and when it began in Unix seconds."""

    @property
    def run(self) -> str:
        """The ID."""

    @property
    def time(self) -> float:
        """When it began."""

    @property
    def where(self) -> str:
        """The place, for errors."""

    def is_running(self) -> bool:
        """Return whether a caller goes on with it."""
        ...


@dataclass
class SavedRun:
    """The lines of a run by event; `replies` are by sender, in order of arrival, `sent` are nodes by request ID.

    `end` is empty for a run that is still running, or whose process was killed. `steps` are the names of hooks by
    request ID. `steering` are the events of `crpc run`, of gates and of silent nodes, and `sent` ones, in their order.
    """

    source: RunSource
    begin: Mapping[str, Any] = field(default_factory=dict)
    request: Mapping[str, Any] = field(default_factory=dict)
    missing: Mapping[str, Any] = field(default_factory=dict)
    end: Mapping[str, Any] = field(default_factory=dict)
    sent: dict[str, list[str] | None] = field(default_factory=dict)
    replies: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    steps: dict[str, str] = field(default_factory=dict)
    steering: list[Mapping[str, Any]] = field(default_factory=list)

    @property
    def expected(self) -> list[str]:
        """The nodes that the call was for, sorted."""
        return list(self.request["expected"])

    @property
    def reached(self) -> set[str]:
        """The nodes that a wave was sent to."""
        return {node for nodes in self.sent.values() for node in (self.expected if nodes is None else nodes)}

    @property
    def silent(self) -> list[str]:
        """The nodes without a reply that were sent to, or that did not answer whether they match."""
        known = set(self.missing.get("silent", self.reached | set(self.request.get("undiscovered", ()))))
        return sorted(known - self.replies.keys())

    @property
    def skipped(self) -> list[str]:
        """The nodes that were not sent to."""
        known = self.missing.get("skipped", set(self.expected) - self.reached)
        return sorted(set(known) - self.replies.keys())

    @property
    def failed(self) -> list[str]:
        """The nodes whose reply is a failure, and those that could not evaluate the filter."""
        failed = {name for name, reply in self.replies.items() if reply["statuscode"]}
        return sorted(failed | set(self.request.get("not_evaluated", ())))

    @property
    def dry_run(self) -> bool:
        """Whether the nodes only reported what they would change."""
        return self.begin.get("dry_run") is True


def read(file: RunFile) -> SavedRun:
    """Return a saved run; lines that cannot be read are logged once, and ignored.

    Raises UsageError for a file that cannot be read, or without the request.
    """
    try:
        with file.path.open("rb") as lines:
            return of_events(file, map(parsed, lines))
    except OSError as error:
        raise UsageError(f"{file.path}: cannot be read: {error.strerror}") from None


def of_events(source: RunSource, found: Iterable[Mapping[str, Any] | None]) -> SavedRun:
    """Return the run of these events, None for lines that cannot be read; raise UsageError without the request."""
    run, broken = SavedRun(source), 0
    for entry in found:
        broken += entry is None
        _take(run, entry or {})
    if not run.begin or not run.request:
        raise UsageError(f"{source.where}: broken: the lines of the request are missing or cannot be read")
    if broken:
        lines_ignored = f"{source.where}: {broken} lines cannot be read and are ignored"
        log.warning("run.broken", extra={"error": lines_ignored})
    return run


def _take(run: SavedRun, entry: Mapping[str, Any]) -> None:
    event = entry.get("event")
    if event == "sent":
        run.sent[entry["request"]] = nodes = entry.get("nodes")
        run.steps[entry["request"]] = entry.get("step", "")
        run.steering.append(entry)
        for node in run.expected if nodes is None else nodes:
            run.replies.pop(node, None)  # sent again, as a retry: the last reply counts
    elif event == "reply":
        run.replies[entry["sender"]] = entry
    elif event in _STEERING:
        run.steering.append(entry)
    elif event is not None:
        setattr(run, event, entry)


def parsed(line: bytes) -> Mapping[str, Any] | None:
    """Return a line as an event with its required members; None if it is not one."""
    try:
        return valid(json.loads(line))
    except (ValueError, RecursionError):
        return None


def valid(entry: Any) -> Mapping[str, Any] | None:
    """Return an event if it has its required members; else None."""
    required = _EVENTS.get(entry.get("event", "")) if isinstance(entry, dict) else None
    if required is None or not all(isinstance(entry.get(name), kind) for name, kind in required.items()):
        return None
    return entry if all(map(_are_nodes, _nodes(entry))) else None


def _nodes(entry: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the lists of nodes in an event; the first one has their number instead."""
    names = ("expected", "nodes", "silent", "skipped", "rejected", "absent")
    return (entry[name] for name in names if name in entry and (entry["event"], name) != ("begin", "nodes"))


def _are_nodes(value: Any) -> bool:
    """Return whether a value is a list of names; None stands for all nodes."""
    return value is None or (isinstance(value, list) and all(isinstance(node, str) for node in value))
