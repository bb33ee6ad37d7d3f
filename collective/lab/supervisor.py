"""The process that a lab hangs on: it starts the server, forks the nodes from one warm parent, and ends them all.

    python -m collective.lab.supervisor FOLDER [LIFELINE]

    ends       on SIGTERM, or when the pipe LIFELINE (a file descriptor) closes because its owner is gone
    obeys      lines in FOLDER/control: `start <identity>`
    removes    FOLDER, at the end

When it is killed itself, the kernel kills the server and the nodes with it. It stays single-threaded, because it
forks. This module imports little: the processes that run actions start from it too.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from collective.processes import die_with_parent

if TYPE_CHECKING:
    import boto3

    from collective.lab.layout import Layout

_TICK = 0.5  # seconds between looks for nodes that have ended
_ENDING = 8.0  # seconds that nodes have to stop by themselves


class Supervisor:
    """Keeps one lab's processes. `session` is what the nodes share of boto3."""

    def __init__(self, layout: Layout, session: boto3.Session) -> None:
        self._layout = layout
        self._session = session
        self._pids: dict[int, str] = {}

    def start(self, identity: str) -> None:
        """Fork one node, unless it runs."""
        if identity in self._pids.values():
            return
        folder = self._layout.node(identity)
        supervisor = os.getpid()
        # Blocked until the node has handlers of its own: ours would swallow the signal that ends it.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        pid = os.fork()
        if pid:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
            self._pids[pid] = identity
            (folder / "pid").write_text(str(pid), encoding="ascii")
            return
        code = 70
        try:
            os.setsid()
            die_with_parent(supervisor)
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
            log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.dup2(log, 1)
            os.dup2(log, 2)
            from collective.node.daemon import main

            code = main(["--config", str(folder / "node.yaml")], self._session)
            atexit._run_exitfuncs()  # noqa: SLF001 - `_exit` leaves them out: they remove the fork server's folder
        finally:
            sys.stderr.flush()
            os._exit(code)

    def reap(self) -> None:
        """Forget nodes that have ended."""
        with contextlib.suppress(ChildProcessError):
            while pid := os.waitpid(-1, os.WNOHANG)[0]:
                identity = self._pids.pop(pid, None)
                if identity:
                    (self._layout.node(identity) / "pid").unlink(missing_ok=True)

    def obey(self, line: str) -> None:
        """Do what a line of the control FIFO says."""
        word, _, identity = line.partition(" ")
        if word == "start" and identity in self._layout.nodes():
            self.start(identity)

    def stop(self) -> None:
        """End every node: those that can say farewell first."""
        for number in (signal.SIGTERM, signal.SIGCONT):  # a stopped process hears nothing until it goes on
            self._signal_all(number)
        until = time.monotonic() + _ENDING
        while self._pids and time.monotonic() < until:
            self.reap()
            time.sleep(0.02)
        self._signal_all(signal.SIGKILL)

    def _signal_all(self, number: signal.Signals) -> None:
        for pid in self._pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def main(arguments: Sequence[str]) -> None:
    """Run the lab in the folder that the first argument names until it is to end."""
    folder = Path(arguments[0])
    lifeline = int(arguments[1]) if len(arguments) > 1 else None
    ending = _Ending()
    from collective.lab.layout import Layout

    layout = Layout(folder)
    layout.supervisor_pid.write_text(str(os.getpid()), encoding="ascii")
    cloud = subprocess.Popen(
        [sys.executable, "-m", "collective.lab.aws_server"], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
    )
    try:
        session = _warm_up()
        layout.endpoint.write_text(_first_line(cloud), encoding="ascii")
        os.environ.update(layout.environment())
        _make_table(session)
        supervisor = Supervisor(layout, session)
        for identity in layout.nodes():
            if not ending.wanted:
                supervisor.start(identity)
        _watch(supervisor, layout, lifeline, ending)
        supervisor.stop()
    finally:
        cloud.kill()
        cloud.wait()
        shutil.rmtree(folder, ignore_errors=True)


class _Ending:
    """Set by SIGTERM. SIGINT is for whoever has the terminal, which is never us."""

    def __init__(self) -> None:
        self.wanted = False
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def _on_signal(self, *_: object) -> None:
        self.wanted = True


def _warm_up() -> boto3.Session:
    """Import and load once what every node needs; the forked nodes share the memory and save the time."""
    import boto3

    from collective.node import server, trust  # noqa: F401 - with all that they import
    from collective.registry import dynamodb  # noqa: F401
    from collective.transport import sqs  # noqa: F401

    session = boto3.Session(region_name="eu-central-1")
    for service in ("sqs", "sns", "dynamodb"):
        session.client(service, aws_access_key_id="lab", aws_secret_access_key="lab")  # noqa: S106
    return session


def _first_line(cloud: subprocess.Popen[bytes]) -> str:
    assert cloud.stdout is not None  # noqa: S101 - Popen was asked for it
    line = cloud.stdout.readline().decode().strip()
    if not line:
        raise SystemExit("the lab's server did not start: see above")
    return line


def _make_table(session: boto3.Session) -> None:
    from collective import names
    from collective.aws import AWS
    from collective.lab.layout import COLLECTIVE
    from collective.registry.dynamodb import DynamoDBRegistry

    DynamoDBRegistry(AWS(session), names.table(COLLECTIVE)).create()


def _watch(supervisor: Supervisor, layout: Layout, lifeline: int | None, ending: _Ending) -> None:
    control = os.open(layout.control, os.O_RDWR | os.O_NONBLOCK)  # read-write: it never sees an end of file
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        if lifeline is not None:
            selector.register(lifeline, selectors.EVENT_READ)
        while not ending.wanted:
            for key, _ in selector.select(_TICK):
                if key.fd == lifeline:
                    return
                for line in os.read(control, 4096).decode().splitlines():
                    supervisor.obey(line)
            supervisor.reap()


if __name__ == "__main__":
    main(sys.argv[1:])
