"""A fake systemd notification socket."""

from __future__ import annotations

import socket


class Listener:
    """A service manager: `received` has the lines of each datagram it received."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.received: list[list[str]] = []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)

    def receive(self, seconds: float = 5.0) -> list[str]:
        """Return the lines of the next datagram; fail after `seconds`."""
        self.socket.settimeout(seconds)
        self.received.append(self.socket.recv(65536).decode().split("\n"))
        return self.received[-1]
