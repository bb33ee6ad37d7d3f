"""Find the saved run that a command names."""

from __future__ import annotations

import argparse
import re
import time
from typing import TYPE_CHECKING, Any

from collective import durations
from collective.clients import options

if TYPE_CHECKING:
    from collective.fleet.runs.folder import RunFolder
    from collective.fleet.runs.saved_run import SavedRun

LAST = "last"
_RUN = re.compile(r"last|-[0-9]+|[0-9a-f]{4,32}")
_ID_LENGTH = 8  # digits of an ID that are shown


def folder(args: argparse.Namespace) -> RunFolder:
    """Return the folder of saved runs. Raises ConfigError."""
    return options.run_folder(options.client_config(args))


def find(args: argparse.Namespace, wanted: str | None) -> SavedRun:
    """Return the run `wanted` (default: the last one). Raises ConfigError and UsageError."""
    from collective.fleet.runs import saved_run

    return saved_run.read(folder(args).find(wanted or LAST))


def sent_as(run: SavedRun) -> str:
    """Return the run that the requests of a saved run name: another one than its own if it was approved."""
    return str(run.begin.get("approved_run") or run.begin["run"])


def is_run(word: str) -> bool:
    """Return whether a word has the form of a run: an ID or its beginning, last, or -2."""
    return _RUN.fullmatch(word) is not None


def short(run: str) -> str:
    """Return the part of an ID that is shown."""
    return run[:_ID_LENGTH]


def described(run: SavedRun, *, whole_id: bool = False) -> str:
    """Return a run in one line: its ID, the call, and when it was."""
    begin: Any = run.begin
    call = " ".join(part for part in (begin["agent"], begin["action"], begin.get("inputs", "")) if part)
    age = durations.in_words(time.time() - begin["time"])
    return f"run {begin['run'] if whole_id else short(begin['run'])}: {call}, {age} ago"
