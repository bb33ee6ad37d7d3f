"""The command `crpc`: run a command, and turn every error into one line and an exit code.

    crpc [options] COMMAND …         a module of clients/commands
    crpc [options] AGENT ACTION …    clients/commands/rpc.py, which reads the agent's DDL
    crpc [options] PLUGIN …          clients/plugin_commands.py, see lookup.py

Modules are imported when they are needed, so that `crpc --help` and a mistyped command line are fast.
"""

from __future__ import annotations

import logging
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

from collective import standard_streams
from collective.clients import streams
from collective.errors import CollectiveError, UsageError

log = logging.getLogger(__name__)

_HELP = frozenset({"-h", "--help"})
_COMPLETE = "__complete"  # not in the list of commands: scripts call it, people do not


def main(argv: Sequence[str] | None = None) -> int:
    """Run `crpc` and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == [_COMPLETE]:
        from collective.clients import completion

        return completion.run(arguments[1:])
    standard_streams.open_closed()
    streams.close_log()  # of an earlier command line in this process
    debug = "--debug" in (arguments[: arguments.index("--")] if "--" in arguments else arguments)
    _print_warnings()
    with suppress(Exception):  # a wrong option before the command: refused below
        arguments = command_first(arguments)
    if ("nrpe" in arguments or arguments[:1] == ["check"]) and _is_check(arguments):
        from collective.clients import nagios

        return nagios.as_plugin(arguments, lambda: _dispatch(arguments), debug)
    return _run(arguments, debug)


def _run(arguments: list[str], debug: bool) -> int:
    """Run a command, and turn an error into one line and an exit code."""
    began = time.monotonic()
    try:
        code = _dispatch(arguments)
        sys.stdout.flush()
        if _HELP.isdisjoint(arguments):
            took = time.monotonic() - began
            log.info("command.ended", extra={"error": f"exit code {code} after {took:.2f} s"})  # printed with -v
        return code
    except CollectiveError as error:
        from collective.exit_codes import exit_code

        _print_error(str(error), debug)
        return exit_code(error)
    except KeyboardInterrupt:
        from collective.exit_codes import STOPPED

        _print_error("interrupted", debug)
        return STOPPED
    except BrokenPipeError:
        # The reader of our output closed it early, as `head` does.
        standard_streams.discard_output()
        return 128 + signal.SIGPIPE
    except OSError as error:
        if error.filename is not None:  # not standard output
            return _internal_error(error, debug)
        from collective.exit_codes import UNWRITABLE

        standard_streams.discard_output()
        _print_error(f"cannot write the output: {error.strerror or error}", debug)
        return UNWRITABLE
    except Exception as error:
        return _internal_error(error, debug)


def _is_check(arguments: Sequence[str]) -> bool:
    from collective.clients import nagios

    return nagios.is_check(arguments)


def _internal_error(error: Exception, debug: bool) -> int:
    from collective.exit_codes import INTERNAL

    _print_error(f"internal error: {type(error).__name__}: {error} (use --debug to print a traceback)", debug)
    return INTERNAL


def _dispatch(arguments: list[str]) -> int:
    arguments = command_first(arguments)
    if arguments[:1] == ["--"]:  # the end of the options before the command
        arguments = arguments[1:]
    if not arguments or arguments[0].startswith("-"):
        arguments = ["help", *arguments]
    from collective.clients import lookup

    try:
        return lookup.find(arguments).run()
    except SystemExit as end:  # argparse, after --help and --version
        return int(end.code or 0)


def command_first(arguments: list[str]) -> list[str]:
    """Return `arguments` with the options before the command moved behind it."""
    if not arguments or not arguments[0].startswith("-") or _HELP.issuperset(arguments):
        return arguments
    from collective.clients import request_parser
    from collective.clients.commands import make_parsers

    parser = request_parser.make_parser()
    try:
        return parser.command_first(arguments)
    except UsageError:
        return parser.command_first(arguments, make_parsers())  # with the options that only one command has


def _print_warnings() -> None:
    logger = logging.getLogger("collective")
    logger.addHandler(_WARNINGS)
    logger.setLevel(logging.WARNING)  # `-v` makes it INFO


class _Warnings(logging.Handler):
    """Prints the library's warnings on standard error, one line each; with `-v` its notes as well."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print the `error` of a record; records without one are for the logs of programs."""
        error = getattr(record, "error", None)
        if error:
            streams.notice(str(error))


_WARNINGS = _Warnings()


def _print_error(text: str, debug: bool) -> None:
    with suppress(OSError):  # a full disk must not change the exit code
        if debug:
            import traceback

            traceback.print_exc()
        streams.notice(text)


if __name__ == "__main__":
    sys.exit(main())
