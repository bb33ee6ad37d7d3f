"""Ports of TCP on loopback, for servers that tests and benchmarks start."""

from __future__ import annotations

import socket

HOST = "127.0.0.1"


def free_port() -> int:
    """Return the number of a port that nothing uses at the moment."""
    with socket.socket() as found:
        found.bind((HOST, 0))
        return int(found.getsockname()[1])


def accepts(port: int) -> bool:
    """Return whether something listens on a port."""
    with socket.socket() as client:
        return client.connect_ex((HOST, port)) == 0
