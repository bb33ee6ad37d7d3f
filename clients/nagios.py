"""End `crpc nrpe check` and `crpc check nodes` as a Nagios plugin must: one line, and an exit code from 0 to 3.

    check_disk: UNKNOWN: client.yaml not found …

Whatever prevents the check (a wrong command line or configuration, no credentials, an interrupt, an internal error) is
UNKNOWN. This module imports little, so that an installation that is broken is UNKNOWN, too.
"""

from __future__ import annotations

import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import pairwise
from types import FrameType

from collective import standard_streams
from collective.clients import streams
from collective.clients.commands import COMMANDS
from collective.errors import CollectiveError
from collective.text import escape_controls

OK, WARNING, CRITICAL, UNKNOWN = range(4)
_STATES = (OK, WARNING, CRITICAL, UNKNOWN)
CHECKS = ("nodes", "queues", "replies", "requests", "orphans", "registry")  # of `crpc check`
_VALUES = ("prometheus", "cacti")  # values of `crpc check NAME --format` that are for programs
_VERBS = ("check", "runcommand", "runallcommands")
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class PluginInterrupted(BaseException):
    """A signal ended the check; its name is the message."""


def is_check(arguments: Sequence[str]) -> bool:
    """Return whether a command line, right or wrong, is one of `crpc nrpe check`, or a check of a collective.

    The command is the first word, if the options that precede it could be moved behind it.
    """
    words = list(arguments)
    if words[:1] == ["check"]:
        return any(word in CHECKS for word in words)
    if "nrpe" not in words or words[0] in COMMANDS:
        return False
    return next((word for word in words[words.index("nrpe") :] if word in _VERBS), "") == "check"


def as_plugin(arguments: Sequence[str], run: Callable[[], int], debug: bool = False) -> int:
    """Return the exit code of `run`, which is the whole check; UNKNOWN for everything else that happens."""
    try:
        with _signals_as_exceptions():
            code = run()
            sys.stdout.flush()
            return code if code in _STATES else UNKNOWN
    except (Exception, PluginInterrupted, KeyboardInterrupt, SystemExit) as error:
        if debug:
            traceback.print_exc()
        return _unknown(arguments, _reason(error))


def one_line(text: str) -> str:
    """Return `text` as a part of the line; Nagios would read what follows '|' as performance data."""
    return escape_controls(text).replace("|", "¦")


def _unknown(arguments: Sequence[str], reason: str) -> int:
    words = [word for word in arguments[list(arguments).index("check") + 1 :] if not word.startswith("-")]
    name = next((word for word in words if word in CHECKS and arguments[0] == "check"), "")
    name = name or (words[0] if words else "nrpe check")
    if _prints_values(arguments):
        streams.notice(f"check {one_line(name)}: {one_line(reason)}")  # what is not a value would break their files
        return UNKNOWN
    try:
        streams.write(f"{one_line(name)}: UNKNOWN: {one_line(reason)}\n")
        sys.stdout.flush()
    except OSError:  # the reader has closed the pipe, or the disk is full
        standard_streams.discard_output()
    return UNKNOWN


def _prints_values(arguments: Sequence[str]) -> bool:
    words = list(arguments)
    given = {after for before, after in pairwise(words) if before == "--format"}
    return words[:1] == ["check"] and any(form in given or f"--format={form}" in words for form in _VALUES)


def _reason(error: BaseException) -> str:
    if isinstance(error, CollectiveError):
        return str(error)
    if isinstance(error, PluginInterrupted | KeyboardInterrupt):
        return f"interrupted ({error})" if str(error) else "interrupted"
    if isinstance(error, OSError) and error.filename is None:
        return f"cannot write the output: {error.strerror or error}"
    return f"internal error: {type(error).__name__}: {error} (use --debug to print a traceback)"


@contextmanager
def _signals_as_exceptions() -> Iterator[None]:
    """Raise PluginInterrupted at the first signal that ends programs, and ignore later ones: one line is enough."""

    def interrupt(number: int, _frame: FrameType | None) -> None:
        for one in _SIGNALS:
            signal.signal(one, signal.SIG_IGN)
        raise PluginInterrupted(signal.Signals(number).name)

    before = {}
    with suppress(ValueError):  # not the main thread
        before = {number: signal.signal(number, interrupt) for number in _SIGNALS}
    try:
        yield
    finally:
        if all(signal.getsignal(number) is interrupt for number in before):
            for number, handler in before.items():
                signal.signal(number, handler)
