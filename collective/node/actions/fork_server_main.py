"""The fork server: a process without threads that has imported what actions need, and forks a monitor for each.

    daemon (fork_server.py) ── names of modules, socket of the monitor ──► fork server: import, fork
                            ◄───────── process id, pidfd ─────────────────┘

It imports a module when the first action needs it. It never has a request: the monitor reads that from its own socket.
It ends with the daemon, and after some time without a process.
"""

from __future__ import annotations

import gc
import importlib
import os
import pickle
import selectors
import signal
import socket
import sys
from contextlib import suppress
from typing import Any, NoReturn

from collective.node.actions.channel import Channel
from collective.node.actions.monitor import monitor_action

LONGEST_ORDER = 64 * 1024  # bytes of the names of modules
LONGEST_JOB = 1 << 30  # bytes; the daemon has checked the request


def main(control: int, idle_limit: float) -> None:
    """Serve the orders that arrive on the descriptor `control`, until its end or for `idle_limit` idle seconds."""
    interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal stops the daemon, which ends this
    with socket.socket(fileno=control) as daemon, selectors.DefaultSelector() as selector:
        selector.register(daemon, selectors.EVENT_READ)
        gc.freeze()
        while ready := selector.select(None if len(selector.get_map()) > 1 else idle_limit):
            for key, _ in ready:
                if key.data:
                    _reap(selector, key.fd, key.data)
                elif not _serve(daemon, selector, interrupt):
                    return


def _reap(selector: selectors.BaseSelector, pidfd: int, pid: int) -> None:
    selector.unregister(pidfd)
    os.close(pidfd)
    os.waitpid(pid, 0)


def _serve(daemon: socket.socket, selector: selectors.BaseSelector, interrupt: Any) -> bool:
    """Fork one monitor, and report it to the daemon; return False when the daemon has ended."""
    order, descriptors, _, _ = socket.recv_fds(daemon, LONGEST_ORDER, 1, socket.MSG_CMSG_CLOEXEC)
    if not order:
        return False
    _import(order.decode().split())
    [connection] = descriptors
    try:
        pid = os.fork()
    except OSError as error:
        os.close(connection)
        daemon.sendall(f"-{error.errno}".encode())
        return True
    if pid == 0:
        signal.signal(signal.SIGINT, interrupt)
        daemon.close()
        _close(selector)
        _monitor(connection)
    os.close(connection)
    pidfd = os.pidfd_open(pid)
    selector.register(pidfd, selectors.EVENT_READ, pid)
    socket.send_fds(daemon, [str(pid).encode()], [pidfd])
    return True


def _import(names: list[str]) -> None:
    """Import modules; one that cannot be imported is the worker's problem, which needs it.

    What is loaded is exempt from garbage collection: a collection in a forked process would write to the memory that
    all of them share, and copy it.
    """
    before = len(sys.modules)
    for name in names:
        with suppress(Exception):
            importlib.import_module(name)
    if len(sys.modules) > before:
        gc.freeze()


def _close(selector: selectors.BaseSelector) -> None:
    """Close what belongs to the fork server: the descriptors of other monitors."""
    for key in list(selector.get_map().values()):
        if key.data:
            os.close(key.fd)
    selector.close()


def _monitor(connection: int) -> NoReturn:
    exit_code = 1
    try:
        channel = Channel(socket.socket(fileno=connection))
        with suppress(EOFError):  # the daemon has given up, or has died: nothing is to run
            job, limit, group = pickle.loads(channel.receive(LONGEST_JOB))  # noqa: S301 - from the daemon
            monitor_action(channel, job, limit, group)
        exit_code = 0
    except Exception:
        import traceback  # few monitors fail: for lack of descriptors or memory

        traceback.print_exc()
    finally:
        os._exit(exit_code)
