"""`collectived`: put a node together from its configuration, serve until told to stop.

    SIGTERM, SIGINT   say farewell, let what runs finish within shutdown_timeout, exit 0
    SIGHUP            load agents, data functions, settings, policy and facts anew; node.yaml is read at a start only

This module imports little: the processes that run actions start from it too.
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
from typing import TYPE_CHECKING, NoReturn

from collective import __version__
from collective.errors import CollectiveError, Failed

if TYPE_CHECKING:
    import boto3

    from collective.config import NodeConfig
    from collective.node.assembly import NodeParts

log = logging.getLogger(__name__)

_USAGE = 64  # sysexits.h: EX_USAGE
_DEFECT = 70  # sysexits.h: EX_SOFTWARE
_TRY_AGAIN = 75  # sysexits.h: EX_TEMPFAIL, after which systemd does
_CONFIGURATION_WRONG = 78  # sysexits.h: EX_CONFIG
_FIRST_FACTS = 3.0  # seconds that serving waits for slow sources of facts
_LAST_POLL = 3.0  # seconds that the receiving thread may take to end its poll
_LOOK = 1.0  # seconds: a second signal at once may be given to another thread, and then does not wake the first one
_FAREWELL = 5.0  # seconds that the registry may take to hear it


def main(argv: Sequence[str] | None = None, session: boto3.Session | None = None) -> int:
    """Run `collectived` and return its exit code. `session` is shared by nodes that were forked together."""
    options = _parser().parse_args(argv)
    from collective.config import load_node, node_file

    try:
        path = options.config or node_file()
        config = load_node(path)
        if options.check:
            return _check(config, path, session)
        return _serve(config, session)
    except CollectiveError as error:
        print(f"collectived: {error}", file=sys.stderr)  # noqa: T201 - before there is a log
        return _TRY_AGAIN if isinstance(error, Failed) else _CONFIGURATION_WRONG


class _Parser(argparse.ArgumentParser):
    """argparse's, with one line and the exit code of a wrong command line for what it refuses."""

    def error(self, message: str) -> NoReturn:
        """Refuse a command line."""
        self.exit(_USAGE, f"collectived: {message}: see 'collectived --help'\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="collectived",
        description="Take requests from this node's queue and run the actions of its agents.",
        allow_abbrev=False,
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="instead of /etc/collective/node.yaml")
    parser.add_argument("--check", action="store_true", help="say what is wrong, with plugins, files and AWS too")
    parser.add_argument("--version", action="version", version=f"collectived {__version__}")
    return parser


def _check(config: NodeConfig, path: Path, session: boto3.Session | None) -> int:
    """Print what is wrong, a line each; return the exit code of what is worst."""
    from collective.node.check.node_check import check

    findings = check(config, path, session)
    for line in findings.problems:
        print(f"collectived: {line}", file=sys.stderr)  # noqa: T201
    for line in findings.notes:
        print(line)  # noqa: T201
    return findings.exit_code


def _serve(config: NodeConfig, session: boto3.Session | None) -> int:
    from collective import logs
    from collective.node import assembly
    from collective.node.service.systemd import ServiceManager
    from collective.processes import give_back_memory

    faulthandler.enable()  # a watchdog's SIGABRT, or a crash in C, tells where every thread was
    give_back_memory()
    logs.configure(config.log_level, config.log_format)
    said = _listen()
    node = assembly.build(config, ServiceManager.of(os.environ), session)
    node.server.facts.start(config.facts_period, _FIRST_FACTS, node.registration.refresh)
    node.reloading.start()
    node.reporting.start()
    if node.metrics:
        node.metrics.start()
    receiver = threading.Thread(target=_receive, args=(node, said), name="receive", daemon=True)
    receiver.start()
    while (word := _next(said)) == signal.SIGHUP:
        node.reloading.wake()
    node.reporting.stop()
    log.info("daemon.stopping", extra={"running": node.server.workshop.running})
    node.registration.stop(_FAREWELL)
    node.server.stop(config.shutdown_timeout)
    receiver.join(_LAST_POLL)
    if node.metrics:
        node.metrics.stop()
    node.server.facts.stop()
    node.runner.stop()  # what is left are commands that tell facts: nobody waits for them any more
    log.info("daemon.stopped")
    return _DEFECT if word is None else 0


def _listen() -> SimpleQueue[int | None]:
    """Return the queue of signals that arrive from now on; None means that nobody receives any more."""
    said: SimpleQueue[int | None] = SimpleQueue()  # the one that may be put to where a signal interrupts it
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, _: said.put(number))
    return said


def _next(said: SimpleQueue[int | None]) -> int | None:
    """Wait for what is said next, looking now and then: see _LOOK."""
    while True:
        with suppress(Empty):
            return said.get(timeout=_LOOK)


def _receive(node: NodeParts, said: SimpleQueue[int | None]) -> None:
    """Receive until the node is stopped; a defect that ends it ends the daemon, for a deaf one is worse than none."""
    try:
        node.server.open()
        node.registration.start()
        log.info("daemon.serving", extra={"collective": node.server.collective, "identity": node.server.identity})
        node.server.serve()
    except Exception:
        log.exception("node.defect")
        said.put(None)
