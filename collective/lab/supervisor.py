"""The main process of a lab: it starts the server, forks the nodes, and stops all of them.

    python -m collective.lab.supervisor FOLDER [LIFELINE]

It ends on SIGTERM, or when the pipe LIFELINE (a file descriptor) is closed because its owner has ended. It reads
commands from FOLDER/control (`start <identity>`), and deletes FOLDER at the end.

If it is killed, the kernel kills the server and the nodes. It is single-threaded, because it forks. This module
imports little at the start, because the workers of the nodes import it too.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import selectors
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from collective.lab.servers import running
from collective.lab.waiting import until
from collective.processes import die_with_parent, runs

if TYPE_CHECKING:
    import boto3

    from collective.lab.layout import Layout

_INTERVAL = 0.5  # seconds between checks for nodes that have ended
_STOP_TIMEOUT = 8.0  # seconds for a clean stop of the nodes, before they are killed


class Supervisor:
    """The processes of a lab; the nodes share `session`."""

    def __init__(self, layout: Layout, session: boto3.Session) -> None:
        self._layout = layout
        self._session = session
        self._pids: dict[int, str] = {}

    def start(self, identity: str) -> None:
        """Fork a node, unless it is running."""
        for pid in [pid for pid, name in self._pids.items() if name == identity]:
            if runs(pid):
                return
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # some of its threads may not have ended yet
        self.reap()
        folder = self._layout.node(identity)
        supervisor = os.getpid()
        # Blocked until the node has its own handlers: the supervisor's would ignore the signal that stops the node.
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
            atexit._run_exitfuncs()  # noqa: SLF001 - `_exit` skips them; they flush the log
        except Exception:  # such as an import of another version of collective than the supervisor has
            import traceback

            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)

    def reap(self) -> None:
        """Reap nodes that have ended, and delete their PID files."""
        with contextlib.suppress(ChildProcessError):
            while pid := os.waitpid(-1, os.WNOHANG)[0]:
                identity = self._pids.pop(pid, None)
                if identity:
                    (self._layout.node(identity) / "pid").unlink(missing_ok=True)

    def execute(self, line: str) -> None:
        """Execute a command from the control FIFO; report any other on standard error, which is the lab's log."""
        command, _, identity = line.partition(" ")
        if command == "start" and identity in self._layout.nodes():
            self.start(identity)
        else:
            sys.stderr.write(f"lab: unknown command {line[:80]!r}\n")

    def stop(self) -> None:
        """Stop every node, and kill those that do not stop in time."""
        for number in (signal.SIGTERM, signal.SIGCONT):  # SIGCONT, because a suspended process handles no signals
            self._signal_all(number)
        if not until(self._all_ended, _STOP_TIMEOUT):
            self._signal_all(signal.SIGKILL)
            until(self._all_ended, _STOP_TIMEOUT)  # what still runs may create files in the folder

    def _all_ended(self) -> bool:
        self.reap()
        return not self._pids

    def _signal_all(self, number: signal.Signals) -> None:
        for pid in self._pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def main(arguments: Sequence[str]) -> None:
    """Run the lab in the folder of the first argument until it must stop."""
    folder = Path(arguments[0])
    lifeline = int(arguments[1]) if len(arguments) > 1 else None
    stopping = _StopSignal()
    from collective.lab.layout import Layout

    layout = Layout(folder)
    layout.supervisor_pid.write_text(str(os.getpid()), encoding="ascii")
    with running(layout.server) as endpoints:
        session = _warm_up()
        layout.write_endpoints(endpoints)
        os.environ.update(layout.environment())
        _create_table(session)
        supervisor = Supervisor(layout, session)
        for identity in layout.nodes():
            if not stopping.received:
                supervisor.start(identity)
        _watch(supervisor, layout, lifeline, stopping)
        supervisor.stop()
        shutil.rmtree(folder, ignore_errors=True)  # after an error the log stays, for the process that started the lab


class _StopSignal:
    """Set by SIGTERM. SIGINT is ignored: it is meant for the process that owns the terminal."""

    def __init__(self) -> None:
        self.received = False
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def _on_signal(self, *_: object) -> None:
        self.received = True


def _warm_up() -> boto3.Session:
    """Import and load what every node needs; the forked nodes share the memory and start faster."""
    import boto3

    from collective.node import server, trust  # noqa: F401 - and all their imports
    from collective.registry import dynamodb  # noqa: F401
    from collective.transport import sqs  # noqa: F401

    session = boto3.Session(region_name="eu-central-1")
    for service in ("sqs", "sns", "dynamodb"):
        session.client(service, aws_access_key_id="lab", aws_secret_access_key="lab")  # noqa: S106
    return session


def _create_table(session: boto3.Session) -> None:
    from collective import names
    from collective.aws.session import AWS
    from collective.lab.layout import COLLECTIVE
    from collective.registry.dynamodb import DynamoDBRegistry
    from collective.registry.run_table import RunTable

    aws = AWS(session)
    DynamoDBRegistry(aws, names.table(COLLECTIVE)).create()
    RunTable(aws, names.runs_table(COLLECTIVE)).create()


def _watch(supervisor: Supervisor, layout: Layout, lifeline: int | None, stopping: _StopSignal) -> None:
    control = os.open(layout.control, os.O_RDWR | os.O_NONBLOCK)  # writable, so that it has no end of file
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        if lifeline is not None:
            selector.register(lifeline, selectors.EVENT_READ)
        while not stopping.received:
            for key, _ in selector.select(_INTERVAL):
                if key.fd == lifeline:
                    return
                for line in os.read(control, 4096).decode().splitlines():
                    supervisor.execute(line)
            supervisor.reap()


if __name__ == "__main__":
    main(sys.argv[1:])
