"""Verification of a manipulated audit log, and joining of decisions and outcomes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from collective.audit import chain, records

Lines = list[bytes]


def linked(count: int) -> Lines:
    """Return the lines of an unbroken chain."""
    lines: Lines = []
    for number in range(count):
        previous = chain.digest(lines[-1]) if lines else None
        lines.append(chain.link({"event": "outcome", "request": f"r{number}", "statuscode": 0}, previous))
    return lines


def write(path: Path, lines: Lines) -> Path:
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def relinked(line: bytes, previous: bytes) -> bytes:
    """Return `line` with a correct link to another previous line."""
    return json.dumps({**json.loads(line), "previous": chain.digest(previous)}).encode()


# A change to five lines, and the numbers of the lines, from 1, at which it is detected.
TAMPERED: dict[str, tuple[Callable[[Lines], Lines], list[int]]] = {
    "nothing": (lambda lines: lines, []),
    "first removed": (lambda lines: lines[1:], [1]),
    "one removed": (lambda lines: [*lines[:2], *lines[3:]], [3]),
    "two removed": (lambda lines: [lines[0], *lines[3:]], [2]),
    "one changed": (lambda lines: [*lines[:2], lines[2].replace(b"0,", b"1,"), *lines[3:]], [4]),
    "a space added": (lambda lines: [*lines[:2], lines[2] + b" ", *lines[3:]], [4]),
    "one inserted": (lambda lines: [*lines[:2], lines[0], *lines[2:]], [3, 4]),
    "one inserted and linked": (lambda lines: [*lines[:2], relinked(lines[0], lines[1]), *lines[2:]], [4]),
    "rubbish inserted": (lambda lines: [*lines[:2], b"hello", *lines[2:]], [3, 4]),
    "an empty line inserted": (lambda lines: [*lines[:2], b"", *lines[2:]], [3, 4]),
    "a list inserted": (lambda lines: [*lines[:2], b"[]", *lines[2:]], [3, 4]),
    "two exchanged": (lambda lines: [lines[0], lines[2], lines[1], *lines[3:]], [2, 3, 4]),
    "one repeated": (lambda lines: [*lines, lines[-1]], [6]),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_removed_changed_and_inserted_lines_are_detected(tmp_path: Path, name: str) -> None:
    """A change is detected at the first line that does not follow the previous one."""
    tamper, found = TAMPERED[name]
    path = write(tmp_path / "audit.jsonl", tamper(linked(5)))
    report = chain.verify([path])
    assert [int(error.split(":")[1]) for error in report.problems] == found


def test_a_truncated_end_is_detected_with_the_head(tmp_path: Path) -> None:
    """A truncated chain is valid in itself; only a recorded hash of a removed line reveals it."""
    lines = linked(5)
    head = chain.digest(lines[3])
    assert chain.verify([write(tmp_path / "whole", lines)], head=head).problems == []
    path = write(tmp_path / "cut", lines[:3])
    assert chain.verify([path]).problems == []
    assert chain.verify([path], head=head).problems == [f"{path}: truncated: no line with the hash {head}"]
    assert chain.verify([write(tmp_path / "empty", [])], head=head).problems != []


def test_a_chain_continues_through_several_files(tmp_path: Path) -> None:
    """Files are given oldest first; a missing file is detected."""
    lines = linked(6)
    one, two, three = (write(tmp_path / str(index), lines[2 * index : 2 * index + 2]) for index in range(3))
    report = chain.verify([one, two, three])
    assert (report.lines, report.head, report.problems) == (6, chain.digest(lines[-1]), [])
    assert len(chain.verify([one, three]).problems) == 1
    assert len(chain.verify([two, one, three]).problems) == 3


def test_the_last_line_may_have_any_length(tmp_path: Path) -> None:
    """Lines around the size of one read are found too."""
    for size in (0, 1, 65_534, 65_535, 65_536, 131_072):
        path = write(tmp_path / "audit", [b"a" * 10, b"b" * size])
        with path.open("rb+") as file:
            assert chain.tail(file.fileno()) == chain.Tail(b"b" * size, b"", 12 + size)
            file.seek(0, 2)
            file.write(b"torn")
            file.flush()
            assert chain.tail(file.fileno()) == chain.Tail(b"b" * size, b"torn", 12 + size)


def test_decisions_and_outcomes_are_joined(tmp_path: Path) -> None:
    """Records are in the order of their outcomes; a duplicate has its own, and those without an outcome come last."""
    entries: list[dict[str, Any]] = [
        {"event": "decision", "request": "a", "verdict": "allowed"},
        {"event": "decision", "request": "b", "verdict": "denied"},
        {"event": "outcome", "request": "b", "statuscode": 1, "reason": "denied"},
        {"event": "gap", "lost": 1},
        {"event": "decision", "request": "a", "verdict": "duplicate"},
        {"event": "outcome", "request": "a", "statuscode": 0, "reason": None},
        {"event": "outcome", "request": "nobody", "statuscode": 0},
    ]
    path = write(tmp_path / "audit.jsonl", [b"not JSON", *(chain.link(entry, None) for entry in entries)])
    found = [(record.decision["request"], sorted(record.outcomes)) for record in records.read(path)]
    assert found == [("b", ["denied", "failed"]), ("a", ["ok"]), ("a", ["duplicate", "unanswered"])]


@pytest.mark.parametrize("time", [1e308, 10**400, -1, "soon", None, float("nan")])
def test_a_record_with_an_impossible_time_has_time_zero(tmp_path: Path, time: Any) -> None:
    """A changed line does not end `crpc audit show`."""
    line = json.dumps({"event": "decision", "previous": None, "time": time}).encode()
    assert [record.time for record in records.read(write(tmp_path / "audit.jsonl", [line]))] == [0.0]
