"""The process that runs one action: import its file, call the function, write the encoded result, exit.

`monitor.py` forks it. The fork server preloads this module, so it imports little.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import sys
from pathlib import Path
from typing import NoReturn

from collective.errors import RPCError
from collective.masking import hide, hide_in
from collective.node.actions.cgroup import Group
from collective.node.actions.importing import imported
from collective.node.actions.job import (
    CRASHED,
    IMPORT_ONLY,
    INVALID_OUTPUT,
    LARGEST_RESULT,
    ActionJob,
    ActionResult,
    failed_result,
)
from collective.node.actions.program import call_program
from collective.processes import MARK, die_with_parent
from collective.run_as import account_environment

_QUOTED = 200  # characters of an action's standard output that the error message shows
_KEPT = 64 * 1024  # characters of it that are kept, so that secrets are found before any of it is quoted
_STATUS_CODES = range(1, 6)
_CONVERT = (
    "return dicts, lists, strings, numbers and booleans; use sorted() for a set, dataclasses.asdict for a dataclass"
)


def run_worker(job: ActionJob, output: int, log: int, monitor: int, group: Group | None) -> NoReturn:
    """Run `job`, write its encoded result to the file descriptor `output`, and exit; never return.

    What the action and its commands write to standard output and error goes to the descriptor `log`. `monitor` is the
    process id of the parent: the worker dies with it.
    """
    die_with_parent(monitor)
    if group:
        group.enter()
    os.setpgid(0, 0)
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        # nohup and a shell's `&` make them ignored, which is inherited: the action's commands could not be interrupted.
        signal.signal(number, signal.SIG_DFL)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ.update(account_environment())
    os.environ[MARK] = job.token
    exit_code = 1
    try:
        result = _encoded(call(job))
        with open(output, "wb") as stream:
            stream.write(result)
        exit_code = 0
    finally:
        os._exit(exit_code)


def sent_result(job: ActionJob) -> ActionResult:
    """Call the action in this process, and return its result as the daemon would receive it."""
    return ActionResult(**json.loads(_encoded(call(job))))


def call(job: ActionJob) -> ActionResult:
    """Call the action; the only place where what an action raises becomes a status code."""
    if job.action == IMPORT_ONLY:
        return _try_import(job)
    stdout = _CapturedOutput()
    try:
        if job.program:
            return call_program(job, job.program, Path(job.folder))
        with contextlib.redirect_stdout(stdout):
            function = getattr(imported(Path(job.path), job.code), job.action)
            data = function(**job.data, **job.supplied)
    except RPCError as error:
        return _raised(error, job)
    except SystemExit as error:
        return failed_result(hide(f"the action called exit({error.code!r})", job.secrets), reason=CRASHED)
    except BaseException as error:
        import traceback  # few actions crash

        sys.stderr.write(hide(traceback.format_exc(), job.secrets))
        # The name "Exception" adds nothing; "KeyError" is half of the message.
        prefix = "" if type(error) in (Exception, RuntimeError) and str(error) else f"{type(error).__name__}: "
        text = hide(f"{prefix}{error}".rstrip(": "), job.secrets)
        return failed_result(f"Agent crashed: {text}; traceback in the node's log", reason=CRASHED)
    if stdout.length:
        quoted = hide(stdout.kept, job.secrets)[:_QUOTED]
        message = f"Printed to standard output: {quoted!r} ({stdout.length} characters; return or log them)"
        return failed_result(message, reason=CRASHED, data=hide_in(data, job.secrets))
    return ActionResult(data={} if data is None else data)


def _try_import(job: ActionJob) -> ActionResult:
    """Import the file, and return that it has ended. The daemon imports it as well, and reports what it raises."""
    with contextlib.redirect_stdout(_CapturedOutput()), contextlib.suppress(BaseException):
        imported(Path(job.path), job.code)
    return ActionResult()


def _raised(error: RPCError, job: ActionJob) -> ActionResult:
    if error.statuscode not in _STATUS_CODES or not isinstance(error.reason, str | None):
        message = f"the action raised {type(error).__name__} with the invalid status code {error.statuscode!r}"
        return failed_result(message, reason=CRASHED)
    return ActionResult(error.statuscode, hide(str(error), job.secrets), error.reason, hide_in(error.data, job.secrets))


class _CapturedOutput(io.TextIOBase):
    """Replaces `sys.stdout` and keeps only the beginning of what is written. `length` is in characters."""

    def __init__(self) -> None:
        self.kept = ""
        self.length = 0

    def write(self, text: str) -> int:
        """Accept `text`, and return its length as every stream does."""
        self.kept += text[: _KEPT - len(self.kept)]
        self.length += len(text)
        return len(text)


def _encoded(result: ActionResult) -> bytes:
    """Return the result as JSON, or the failure that explains why it cannot be sent."""
    try:
        encoded = result.encode()
    except (TypeError, ValueError, RecursionError) as error:
        message = f"the action returned data that JSON cannot hold: {error} ({_CONVERT})"
        return failed_result(message, reason=INVALID_OUTPUT).encode()
    if len(encoded) > LARGEST_RESULT:
        message = f"the action returned {len(encoded)} bytes, more than the limit of {LARGEST_RESULT} bytes"
        return failed_result(message, reason=CRASHED).encode()
    return encoded
