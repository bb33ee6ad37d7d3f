"""`collectived`: build a node from its configuration, and serve until a signal stops it.

    SIGTERM, SIGINT   leave the registry, let running actions finish within shutdown_timeout, exit 0
    SIGHUP            reload agents, data functions, settings, policy and facts; node.yaml is read at a start only

This module imports little, because the processes that run actions import it too.
"""

from __future__ import annotations

import argparse
import faulthandler
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, NoReturn, TextIO

from collective import exit_codes, processes, standard_streams
from collective.errors import CollectiveError, Failed
from collective.text import escape_controls
from collective.version import __version__

if TYPE_CHECKING:
    import boto3

    from collective.config import NodeConfig
    from collective.node.assembly import DaemonParts

log = logging.getLogger(__name__)
# Until `_run` configures logging, nothing is printed beside the one line of an error.
logging.getLogger("collective").addHandler(logging.NullHandler())

_FIRST_FACTS = 3.0  # seconds to wait for slow sources of facts before serving
_LAST_POLL = 3.0  # seconds that the receiving thread may take to end its poll
_SIGNAL_CHECK = 1.0  # seconds; a signal that another thread handles does not wake the main thread at once
_LEAVE_REGISTRY = 5.0  # seconds that leaving the registry may take

Signals = SimpleQueue["int | None"]  # signal numbers; None: the receiving thread has failed


def main(argv: Sequence[str] | None = None, session: boto3.Session | None = None) -> int:
    """Run `collectived` and return its exit code. Nodes that are forked from one process share a `session`."""
    standard_streams.open_closed()
    options = make_parser().parse_args(argv)
    from collective.config import load_node, node_file

    try:
        path = options.config or node_file()
        config = load_node(path)
        if options.check:
            return _check(config, path, session)
        return _serve(config, path, session)
    except CollectiveError as error:
        _print_error(str(error))  # logging is not configured yet
        return exit_codes.TEMPORARY if isinstance(error, Failed) else exit_codes.CONFIGURATION


class _DaemonParser(argparse.ArgumentParser):
    """An ArgumentParser with one-line errors and the exit code for them."""

    def error(self, message: str) -> NoReturn:
        """Exit with a usage error."""
        self.exit(exit_codes.USAGE, f"collectived: {escape_controls(message)} (see 'collectived --help')\n")


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of `collectived`."""
    parser = _DaemonParser(
        prog="collectived",
        description="Receive requests from this node's queue and run the actions of its agents.",
        epilog="example: collectived --check --config /etc/collective/node.yaml",
        allow_abbrev=False,
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="read FILE (default: /etc/collective/node.yaml)")
    parser.add_argument(
        "--check", action="store_true", help="check configuration, plugins, files and AWS, print the problems, and exit"
    )
    parser.add_argument("--version", action="version", version=f"collectived {__version__}")
    return parser


def _check(config: NodeConfig, path: Path, session: boto3.Session | None) -> int:
    """Print the problems, one line each; return the exit code of the worst."""
    from collective.node.check.node_check import check

    findings = check(config, path, session)
    for line in findings.problems:
        _print_error(line)
    try:
        for line in findings.notes:
            _print(line, sys.stdout)
        sys.stdout.flush()
    except OSError as error:
        standard_streams.discard_output()
        _print_error(f"cannot write the output: {error.strerror or error}")
        return findings.exit_code or exit_codes.UNWRITABLE
    return findings.exit_code


def _print_error(line: str) -> None:
    with suppress(OSError):  # a full disk must not change the exit code
        _print(f"collectived: {line}", sys.stderr)


def _print(line: str, stream: TextIO) -> None:
    """Print one line; what names of files contain is escaped, and what the stream's encoding lacks."""
    encoding = stream.encoding or "utf-8"
    stream.write(escape_controls(line).encode(encoding, "backslashreplace").decode(encoding) + "\n")


def _serve(config: NodeConfig, path: Path, session: boto3.Session | None) -> int:
    processes.give_back_memory()
    if session is None:
        _read_ahead(config)
    from collective import logs
    from collective.node import assembly
    from collective.node.check import trusted_paths
    from collective.node.service.systemd import ServiceManager

    trusted_paths.require(config, path)
    faulthandler.enable()  # a watchdog's SIGABRT, or a crash in C, prints the stack of every thread
    processes.forbid_core_files()
    logs.configure(config.log_level, config.log_format)
    signals = _handle_signals()
    node = assembly.build(config, ServiceManager.of(os.environ), session)
    receiver = _start(node, config, signals)
    while (number := _next_signal(signals)) == signal.SIGHUP:
        node.reloading.wake()
    _stop(node, config, receiver)
    return exit_codes.INTERNAL if number is None else 0


def _read_ahead(config: NodeConfig) -> None:
    """Read the data of AWS's services before the modules of a node are imported, which then use its freed memory."""
    from collective.aws.core_session import read_ahead

    read_ahead(("sqs", "sns", "dynamodb") if config.registry == "dynamodb" else ("sqs", "sns"))


def _start(node: DaemonParts, config: NodeConfig, signals: Signals) -> threading.Thread:
    """Start the node's threads, and return the one that receives."""
    node.server.facts.start(config.facts_period, _FIRST_FACTS, node.publish_facts)
    node.server.receiver.woken = node.registration.prove_alive
    node.reloading.start()
    node.reporting.start()
    for part in (node.metrics, node.local_files):
        if part:
            part.start()
    for watch in node.watches:
        watch.start()
    receiver = threading.Thread(target=_receive, args=(node, signals), name="receive", daemon=True)
    receiver.start()
    return receiver


def _stop(node: DaemonParts, config: NodeConfig, receiver: threading.Thread) -> None:
    node.reporting.stop()
    log.info("daemon.stopping", extra={"running": node.server.pools.in_progress})
    node.registration.stop(_LEAVE_REGISTRY)
    for watch in node.watches:
        watch.stop()
    node.server.stop(config.shutdown_timeout)
    receiver.join(_LAST_POLL)
    for part in (node.metrics, node.local_files):
        if part:
            part.stop()
    node.server.facts.stop()
    node.runner.stop()  # the commands that provide facts may still run, and their results are not needed any more
    node.runner.close()
    log.info("daemon.stopped")


def _handle_signals() -> Signals:
    """Return a queue that receives the signals from now on."""
    signals: Signals = SimpleQueue()  # reentrant: a signal handler may interrupt a put
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, _: signals.put(number))
    return signals


def _next_signal(signals: Signals) -> int | None:
    """Wait for the next signal; return None if the receiving thread has failed."""
    while True:
        with suppress(Empty):
            return signals.get(timeout=_SIGNAL_CHECK)


def _receive(node: DaemonParts, signals: Signals) -> None:
    """Receive until the node is stopped. An internal error ends the daemon, so that it can be restarted."""
    try:
        node.server.open()
        node.registration.start()
        processes.give_back_freed()  # what reading botocore's data files and the plugins took
        log.info("daemon.serving", extra={"collective": node.server.collective, "identity": node.server.identity})
        node.server.serve()
    except Exception:
        log.exception("node.internal_error")
        signals.put(None)
