"""Tell the service manager how the daemon does: sd_notify(3)'s protocol, where $NOTIFY_SOCKET names somebody to tell.

    READY=1  RELOADING=1 … READY=1  STOPPING=1  WATCHDOG=1  STATUS=text        one datagram each

systemd documents the protocol as stable, and for others to implement. What it says by the environment is taken out of
there, so that no action speaks in the daemon's name.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import MutableMapping

log = logging.getLogger(__name__)

_PATIENCE = 1.0  # seconds that a datagram may wait for room: a manager that does not read must not hold the daemon


class ServiceManager:
    """Whoever has started us. `address` is its datagram socket, None for nobody: then nothing is ever said.

    `watchdog` is within how many seconds it wants to hear `alive` again, None when it does not.
    """

    def __init__(self, address: str | None, watchdog: float | None = None) -> None:
        self._address = address
        self.watchdog = watchdog if address else None

    @classmethod
    def of(cls, environment: MutableMapping[str, str]) -> ServiceManager:
        """Return the one that an environment names, and take it out of there."""
        address = environment.pop("NOTIFY_SOCKET", None)
        period, pid = environment.pop("WATCHDOG_USEC", None), environment.pop("WATCHDOG_PID", None)
        meant = pid is None or pid == str(os.getpid())
        watchdog = int(period) / 1e6 if period and period.isdigit() and meant else None
        return cls(address, watchdog)

    def ready(self, status: str) -> None:
        """Say that the start, or a reload, is over."""
        self._say("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """Say that a reload has begun: it is over with `ready`."""
        # systemd 253's Type=notify-reload tells by the time which reload is meant; others ignore it.
        self._say("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Say that the daemon finishes what it has, and ends."""
        self._say("STOPPING=1", "STATUS=finishing what runs")

    def status(self, text: str) -> None:
        """Say in a line what the daemon is at, for `systemctl status`."""
        self._say(f"STATUS={text}")

    def alive(self) -> None:
        """Say that the daemon is as it should be."""
        self._say("WATCHDOG=1")

    def _say(self, *lines: str) -> None:
        if self._address is None:
            return
        # '@' is how an abstract address is written, whose first byte is zero: unix(7).
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.settimeout(_PATIENCE)
                sender.sendto("\n".join(lines).encode(), address)
        except OSError as error:
            log.warning("manager.deaf", extra={"error": f"{self._address}: {error.strerror or error}"})
