"""`crpc`: dispatch to a command, and turn every error into one line and an exit code.

    crpc COMMAND …         a module of clients/commands
    crpc AGENT ACTION …    clients/commands/rpc.py, with everything it knows from the agent's DDL

Modules are imported when they are needed: `crpc --help` and a mistyped command line load next to nothing.
"""

from __future__ import annotations

import importlib
import logging
import os
import signal
import sys
import traceback
from collections.abc import Sequence

from collective import __version__
from collective.clients.commands import COMMANDS
from collective.errors import CollectiveError, UsageError


def main(argv: Sequence[str] | None = None) -> int:
    """Run `crpc` and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    _open_closed_streams()
    ours = arguments[: arguments.index("--")] if "--" in arguments else arguments
    debug = "--debug" in ours
    _show_warnings(verbose=not {"-v", "--verbose"}.isdisjoint(arguments))
    try:
        code = _dispatch([word for word in ours if word != "--debug"] + arguments[len(ours) :])
        sys.stdout.flush()
        return code
    except CollectiveError as error:
        from collective.exit_codes import exit_code

        _complain(str(error), debug)
        return exit_code(error)
    except KeyboardInterrupt:
        from collective.exit_codes import STOPPED

        _complain("interrupted", debug)
        return STOPPED
    except BrokenPipeError:
        # Whoever read our output has enough, but has not seen all.
        _give_up_output()
        return 128 + signal.SIGPIPE
    except OSError as error:
        if error.filename is not None:  # a file that nobody looked after
            return _defect(error, debug)
        from collective.exit_codes import UNWRITABLE

        _give_up_output()
        _complain(f"the output cannot be written: {error.strerror or error}", debug)
        return UNWRITABLE
    except Exception as error:
        return _defect(error, debug)


def _defect(error: Exception, debug: bool) -> int:
    from collective.exit_codes import DEFECT

    _complain(f"a defect of ours: {type(error).__name__}: {error}: '--debug' shows where", debug)
    return DEFECT


def _give_up_output() -> None:
    """Have what is left, which the interpreter writes at its end, go where it does no harm."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _open_closed_streams() -> None:
    """Give streams that whoever started us has closed (`2>&-`) a place to go."""
    sys.stdin = sys.stdin or open(os.devnull, encoding="utf-8")  # noqa: PTH123, SIM115 - for as long as we live
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115


def _dispatch(arguments: list[str]) -> int:
    first = arguments[0] if arguments else "help"
    if first in ("-h", "--help"):
        first, arguments = "help", ["help"]
    if first == "--version":
        sys.stdout.write(f"crpc {__version__}\n")
        return 0
    if first.startswith("-"):
        raise UsageError(f"'{first}': options come after the command or after AGENT ACTION: see 'crpc help'")
    module = first if first in COMMANDS else "rpc"
    command = importlib.import_module(f"collective.clients.commands.{module.replace('-', '_')}")
    code: int = command.run(arguments if module == "rpc" else arguments[1:])
    return code


def _show_warnings(verbose: bool) -> None:
    logger = logging.getLogger("collective")
    logger.addHandler(_WARNINGS)
    logger.setLevel(logging.INFO if verbose else logging.WARNING)


class _Warnings(logging.Handler):
    """Shows what the library warns of as a line on standard error; with `-v` what it finds worth noting, too."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record that says, as its `fault`, what is wrong; others are for programs' logs."""
        error = getattr(record, "error", None)
        if error:
            sys.stderr.write(f"crpc: {error}\n")


_WARNINGS = _Warnings()


def _complain(text: str, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    # One line, whatever it quotes: control characters are shown, not obeyed.
    line = "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)
    sys.stderr.write(f"crpc: {line}\n")


if __name__ == "__main__":
    sys.exit(main())
