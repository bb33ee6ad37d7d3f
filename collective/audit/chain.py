"""The chain of hashes that an audit's lines make: link a new one, find the last one, verify all of them.

Whoever can write the file can write a chain of his own from some line on, but it ends in another hash than the
one that the node remembers (`audit_head` of `rpcutil daemon_stats`) and others have noted.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from collective.errors import ConfigError

_CHUNK = 64 * 1024  # bytes


def digest(line: bytes) -> str:
    """Return the hash of a line, given without its newline: 64 hexadecimal digits."""
    return hashlib.sha256(line).hexdigest()


def link(entry: Mapping[str, Any], previous: str | None) -> bytes:
    """Return `entry` as the line, without its newline, that follows the one with the hash `previous`: ASCII."""
    return json.dumps({**entry, "previous": previous}).encode("ascii")


@dataclass(frozen=True)
class Tail:
    """The end of a file: its last whole line, what comes after that without a newline, and where that begins."""

    last: bytes | None
    torn: bytes
    whole_size: int


def tail(file: int) -> Tail:
    """Return the end of an open file, however long its last line is."""
    size = os.fstat(file).st_size
    end = b""
    start = size
    while start > 0 and end.count(b"\n") < 2:
        step = min(_CHUNK, start)
        start -= step
        end = os.pread(file, step, start) + end
    whole, newline, torn = end.rpartition(b"\n")
    last = whole.rpartition(b"\n")[2] if newline else None
    return Tail(last, torn, size - len(torn))


@dataclass
class Report:
    """What verifying found: `faults` are breaks of the chain, `notes` what is odd and explained, a line each."""

    lines: int = 0
    head: str | None = None
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def verify(paths: Sequence[Path], after: str | None = None, head: str | None = None) -> Report:
    """Follow the chain through the files `paths`, the oldest first.

    It must begin with the first line, or follow the hash `after`, and hold the line with the hash `head` when that is
    given. Raises ConfigError for a file that cannot be read.
    """
    report = Report(head=after)
    found = head is None
    for path in paths:
        for number, line in lines(path):
            if not line.endswith(b"\n"):
                report.notes.append(f"{path}:{number}: is cut short: it is being written, or a crash has torn it")
                break
            _follow(report, f"{path}:{number}", line[:-1])
            found = found or report.head == head
    if not found:
        report.problems.append(f"{paths[-1]}: is cut off: the line with the hash {head} is not there")
    return report


def lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the numbers, from 1, and lines of a file, newlines included; raise ConfigError when it cannot be read."""
    try:
        with path.open("rb") as file:
            yield from enumerate(file, start=1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None


def parse(line: bytes) -> Mapping[str, Any] | None:
    """Return what a line of an audit says; None for what is no such line."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) and "event" in entry and "previous" in entry else None


def _follow(report: Report, place: str, line: bytes) -> None:
    entry = parse(line)
    if entry is None:
        report.problems.append(f"{place}: is no line of an audit: it was changed or inserted")
    elif entry["previous"] != report.head:
        report.problems.append(f"{place}: {_break(report)}")
    elif entry["event"] == "gap":
        report.notes.append(f"{place}: {_gap(entry)}")
    report.lines += 1
    report.head = digest(line)


def _break(report: Report) -> str:
    if report.lines or report.head:
        return "does not follow the line before it: that was changed, or lines between were removed or inserted"
    return "does not begin a chain: lines are missing, or are in older files: name those first, or give --after"


def _gap(entry: Mapping[str, Any]) -> str:
    said = []
    if entry.get("lost"):
        said.append(f"{entry['lost']} lines before it could not be written")
    if entry.get("torn"):
        said.append("a crash had torn the line before it, which is quoted here")
    return " and ".join(said) or "is a gap"
