"""What a worker is given and what it gives back: plain values that travel between processes.

The fork server preloads this module, so it imports little. Named tuples take a fifth of the time of data classes to
define, and each fork server does that.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

LARGEST_RESULT = 8 * 1024 * 1024  # bytes of JSON that an action may return
LARGEST_MESSAGE = LARGEST_RESULT + 64 * 1024  # bytes that are read from a worker, whatever it writes

# Why an action ended without its own result: the `reason` of its reply.
CRASHED = "crashed"
INVALID_OUTPUT = "invalid_output"
INTERRUPTED = "interrupted"
TIMEOUT = "timeout"
CANCELLED = "cancelled"


IMPORT_ONLY = ""  # in place of the name of an action: the file is imported, and nothing is called

FileState = tuple[int, int, int, int]  # device, inode, size in bytes, time of the last change in nanoseconds


class ProgramCall(NamedTuple):
    """How to call an executable in place of a Python function, see program.py.

    `convention` is CHORIA or FILES. `request` are the members of the request file besides action and data. `file` is
    the state of the program when it was loaded.
    """

    convention: str
    file: FileState
    request: Mapping[str, Any]
    settings: Mapping[str, Any]
    facts: Mapping[str, Any]


class TimeLimit(NamedTuple):
    """The seconds that an action may take as a whole, and those that are left when its monitor has started."""

    whole: float
    left: float


class ActionJob(NamedTuple):
    """One call of `action`, a function in the file `path`, with the inputs `data`.

    `supplied` are the keyword-only arguments, such as `settings`. `secrets` are strings that are masked in what the
    action raises and prints. `code` is the file's compiled content at the time it was checked
    (`importing.compiled`); None means that the file is read when the action runs. `token` identifies the job: it is in
    the environment of all that the action starts. With `program` the file is an executable, and `folder` is where its
    files are: the monitor chooses and removes it. `modules` are those that the fork server imports before it forks.
    """

    path: str
    action: str
    data: Mapping[str, Any]
    supplied: Mapping[str, Any]
    secrets: tuple[str, ...] = ()
    code: bytes | None = None
    token: str = ""
    program: ProgramCall | None = None
    folder: str = ""
    modules: tuple[str, ...] = ()


class ActionResult(NamedTuple):
    """How an action ended, with the names that its reply uses."""

    statuscode: int = 0
    statusmsg: str = "OK"
    reason: str | None = None
    data: Any = {}  # noqa: RUF012 - never changed in place

    def encode(self) -> bytes:
        """Return the result as UTF-8 JSON; raise TypeError or ValueError for data that JSON cannot hold."""
        return json.dumps(self._asdict(), ensure_ascii=False, allow_nan=False).encode()


def failed_result(message: str, *, reason: str, data: Any = None) -> ActionResult:
    """Return the result of an action that did not end normally, or broke a rule; the arguments are those of Failed."""
    return ActionResult(5, message, reason, data or {})
