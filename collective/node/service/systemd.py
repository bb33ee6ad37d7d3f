"""Notify the service manager of the daemon's state by the protocol of sd_notify(3), if $NOTIFY_SOCKET is set.

    READY=1  RELOADING=1 … READY=1  STOPPING=1  WATCHDOG=1  STATUS=text        one datagram each

systemd documents the protocol as stable and open to other implementations. Its variables are removed from the
environment, so that actions cannot send notifications for the daemon.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import MutableMapping

log = logging.getLogger(__name__)

_SEND_TIMEOUT = 1.0  # seconds; a manager that does not read its socket must not block the daemon


class ServiceManager:
    """The service manager. `address` is its datagram socket; None disables all notifications.

    `watchdog` is its watchdog timeout in seconds: `alive` must be called more often. None: no watchdog.
    """

    def __init__(self, address: str | None, watchdog: float | None = None) -> None:
        self._address = address
        self.watchdog = watchdog if address else None

    @classmethod
    def of(cls, environment: MutableMapping[str, str]) -> ServiceManager:
        """Return the service manager that an environment names, and remove its variables from the environment."""
        address = environment.pop("NOTIFY_SOCKET", None)
        period, pid = environment.pop("WATCHDOG_USEC", None), environment.pop("WATCHDOG_PID", None)
        for_this_process = pid is None or pid == str(os.getpid())
        watchdog = int(period) / 1e6 if period and period.isdigit() and for_this_process else None
        return cls(address, watchdog)

    def ready(self, status: str) -> None:
        """Report that the start or a reload is complete."""
        self._send("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """Report that a reload has begun; `ready` reports its end."""
        # Type=notify-reload of systemd 253 identifies a reload by its time; other types ignore the field.
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Report that the daemon finishes its running actions and exits."""
        self._send("STOPPING=1", "STATUS=stopping: waiting for running actions")

    def status(self, text: str) -> None:
        """Report a one-line status, which `systemctl status` shows."""
        self._send(f"STATUS={text}")

    def alive(self) -> None:
        """Reset the watchdog timeout."""
        self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        if self._address is None:
            return
        # An abstract address is written with '@' for its first byte, which is zero: unix(7).
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.settimeout(_SEND_TIMEOUT)
                sender.sendto("\n".join(lines).encode(), address)
        except OSError as error:
            log.warning("systemd.notify_failed", extra={"error": f"{self._address}: {error.strerror or error}"})
