"""One server of a lab, on a free loopback port: moto in this process, or another program in its place.

`python -m collective.lab.aws_server [NAME]` prints its URL, and serves until its parent process ends.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from collections.abc import Mapping

from collective.processes import die_with_parent

_HOST = "127.0.0.1"
# The environment variables of the programs; the port is that of `_PORTS`.
_VARIABLES: Mapping[str, Mapping[str, str]] = {
    "fauxqs": {"FAUXQS_HOST": _HOST, "FAUXQS_LOGGER": "false"},
    "ministack": {"BIND_HOST": _HOST, "MINISTACK_HOST": _HOST},
}
_PORTS: Mapping[str, str] = {"fauxqs": "FAUXQS_PORT", "ministack": "GATEWAY_PORT"}


def main() -> None:
    """Print the URL and serve."""
    parent = os.getppid()
    die_with_parent(parent)
    name = sys.argv[1] if len(sys.argv) > 1 else "moto"
    if name == "moto":
        _serve_moto()
    else:
        _become(name)


def _serve_moto() -> None:
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # otherwise it logs every request
    server = ThreadedMotoServer(ip_address=_HOST, port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    _print_url(f"http://{host}:{port}")
    signal.pause()


def _become(name: str) -> None:
    """Replace this process by a program; that it ends with its parent is kept (prctl(2), PR_SET_PDEATHSIG)."""
    with socket.socket() as free:
        free.bind((_HOST, 0))
        port = free.getsockname()[1]
    _print_url(f"http://{_HOST}:{port}")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # fauxqs prints each request; errors belong into the log
    os.execvpe(name, [name], {**os.environ, **_VARIABLES[name], _PORTS[name]: str(port)})  # noqa: S606 - no shell is wanted


def _print_url(url: str) -> None:
    sys.stdout.write(f"{url}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
