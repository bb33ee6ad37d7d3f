"""Run `crpc` as users do, in a process of its own, against a lab or a server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from collective.lab import control, servers
from collective.lab.layout import Layout

BIN = Path(sys.executable).parent


NODES = [f"node0{number}.lab" for number in range(1, 6)]


Completed = subprocess.CompletedProcess[str]


class Crpc(Protocol):
    """Runs `crpc` with the given arguments; `env` is added to the environment."""

    def __call__(self, *words: str, stdin: str = "", **env: str) -> Completed:
        """Return the completed process."""


def make_crpc(environment: dict[str, str], by: Sequence[str] = ()) -> Crpc:
    """Return a function that runs crpc in `environment`; `by` is a command that runs it, if any."""

    def crpc(*words: str, stdin: str = "", **env: str) -> Completed:
        return subprocess.run(
            [*by, BIN / "crpc", *words],
            env={**environment, **env},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )

    return crpc


def on_a_terminal(environment: dict[str, str], answer: str, *words: str) -> tuple[int, str]:
    """Run crpc on a terminal with `answer` typed; return its exit code and the content of the terminal."""
    master, slave = os.openpty()
    with subprocess.Popen([BIN / "crpc", *words], env=environment, stdin=slave, stdout=slave, stderr=slave) as process:
        os.close(slave)
        os.write(master, answer.encode())
        shown = b""
        while True:
            try:
                shown += os.read(master, 4096)
            except OSError:  # the terminal's other end is closed
                break
        os.close(master)
    return process.returncode, shown.decode()


def begin(crpc: Crpc, *words: str) -> Callable[[], Completed]:
    """Start crpc in the background; return a function that waits for its end."""
    result: list[Completed] = []
    caller = threading.Thread(target=lambda: result.append(crpc(*words)))
    caller.start()

    def wait() -> Completed:
        caller.join(110)
        return result[0]

    return wait


def clean_environment() -> dict[str, str]:
    """Return the environment of this process without variables that select a collective or an AWS account."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "COLLECTIVE_", "XDG_")) and name != "NO_COLOR"
    }


class own_lab:  # noqa: N801 - used like a function
    """Run a lab for the time of a block; the environment of the test process does not change."""

    def __init__(self, layout: Layout, nodes: int, server: str = servers.MOTO) -> None:
        self._before = dict(os.environ)
        self._running = control.running(layout, nodes, server)

    def __enter__(self) -> dict[str, str]:
        try:
            return {**clean_environment(), **self._running.__enter__()}
        finally:
            self._restore()

    def __exit__(self, *_: object) -> None:
        try:
            self._running.__exit__(None, None, None)
        finally:
            self._restore()  # `control` selects the lab for each of its functions

    def _restore(self) -> None:
        os.environ.clear()
        os.environ.update(self._before)


@contextmanager
def suspended(lab: Layout, node: str) -> Iterator[None]:
    """Suspend a node's daemon during the block, as on a machine that hangs."""
    pid = int((lab.node(node) / "pid").read_text())
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def own_server() -> Iterator[str]:
    """Run an empty server; yield its URL."""
    process = subprocess.Popen([sys.executable, "-m", "collective.lab.aws_server"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout:
        yield process.stdout.readline().strip()
    process.kill()
    process.wait()
