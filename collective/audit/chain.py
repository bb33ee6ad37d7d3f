"""The hash chain of an audit log: link a new line, find the last line, verify all lines.

Someone who can write the file can replace the end of the chain. The last hash then differs from the one that the node
reports (`audit_head` of `rpcutil daemon_stats`) and from copies of it elsewhere.
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
from collective.text import plural

_CHUNK = 64 * 1024  # bytes


def digest(line: bytes) -> str:
    """Return the SHA-256 of a line (without its newline) as 64 hexadecimal digits."""
    return hashlib.sha256(line).hexdigest()


def link(entry: Mapping[str, Any], previous: str | None) -> bytes:
    """Return `entry` as an ASCII line (without newline) that follows the line with the hash `previous`."""
    return json.dumps({**entry, "previous": previous}).encode("ascii")


@dataclass(frozen=True)
class Tail:
    """The end of a file: its last complete line, the incomplete line after it, and the size without that."""

    last: bytes | None
    torn: bytes
    whole_size: int


def tail(file: int) -> Tail:
    """Return the end of an open file. The last line may have any length."""
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
class ChainReport:
    """The result of `verify`: `problems` are breaks of the chain, `notes` are explained irregularities."""

    lines: int = 0
    head: str | None = None
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def verify(paths: Sequence[Path], after: str | None = None, head: str | None = None) -> ChainReport:
    """Verify the chain through the files `paths`, oldest first.

    The first line must begin a chain, or follow the hash `after`. With `head`, the chain must contain the line with
    that hash. Raise ConfigError for a file that cannot be read.
    """
    report = ChainReport(head=after)
    found = head is None
    for path in paths:
        for number, line in lines(path):
            if not line.endswith(b"\n"):
                report.notes.append(
                    f"{path}:{number}: incomplete line (it is being written, or a crash interrupted the write)"
                )
                break
            _follow(report, f"{path}:{number}", line[:-1])
            found = found or report.head == head
    if not found:
        report.problems.append(f"{paths[-1]}: truncated: no line with the hash {head}")
    return report


def lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a file with their numbers, from 1. Raise ConfigError when it cannot be read."""
    try:
        with path.open("rb") as file:
            yield from enumerate(file, start=1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None


def parse(line: bytes) -> Mapping[str, Any] | None:
    """Return the entry of an audit log line; None if the line is not one."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) and "event" in entry and "previous" in entry else None


def _follow(report: ChainReport, place: str, line: bytes) -> None:
    entry = parse(line)
    if entry is None:
        report.problems.append(f"{place}: not an audit log line (it was changed or inserted)")
    elif entry["previous"] != report.head:
        report.problems.append(f"{place}: {_break(report)}")
    elif entry["event"] == "gap":
        report.notes.append(f"{place}: {_gap(entry)}")
    report.lines += 1
    report.head = digest(line)


def _break(report: ChainReport) -> str:
    if report.lines or report.head:
        return "does not follow the previous line (that was changed, or lines were removed or inserted between them)"
    return "does not begin a chain: earlier lines are missing (name older files first, or use --after)"


def _gap(entry: Mapping[str, Any]) -> str:
    causes = []
    if entry.get("lost"):
        causes.append(f"{plural(entry['lost'], 'earlier line')} could not be written")
    if entry.get("torn"):
        causes.append("a crash interrupted the write of the previous line, which is quoted here")
    return " and ".join(causes) or "gap"
