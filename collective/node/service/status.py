"""Report the node's status to the service manager, and keep its watchdog alive while the node receives.

    first attempt to open the queue and to register ─► ready
    then every few seconds ─► status, if it has changed ─► alive, unless the receiving thread is stuck

An unreachable transport does not stop the watchdog: the node retries, and the status shows it. A receiving thread that
has made no progress for longer than any call can take does: only a restart helps.
"""

from __future__ import annotations

import logging

from collective.node.server import Server
from collective.node.service.registration import Registration
from collective.node.service.systemd import ServiceManager
from collective.periodic import PeriodicThread
from collective.transport import LONGEST_CALL

log = logging.getLogger(__name__)

_PERIOD = 5.0  # seconds between reports; a shorter watchdog timeout needs more
_REGISTRATION_WAIT = 10.0  # seconds that `ready` waits for the registry


class StatusReporter:
    """Reports in a thread of its own. A receiver without progress for `stuck` seconds counts as stuck."""

    def __init__(
        self, manager: ServiceManager, server: Server, registration: Registration, stuck: float = LONGEST_CALL
    ) -> None:
        self._manager = manager
        self._server = server
        self._registration = registration
        self._stuck = stuck
        self._ready = False
        self._reported = ""
        period = min(_PERIOD, (manager.watchdog or _PERIOD) / 3)
        self._thread = PeriodicThread("report", self._step, period)

    def start(self) -> None:
        """Start to report. `ready` follows the first attempt to open the queue, successful or not."""
        self._thread.start()

    def stop(self) -> None:
        """Report that the node is stopping, and report nothing after that."""
        self._thread.stop()
        self._manager.stopping()

    def report(self) -> None:
        """Report once: that the node is alive, unless it is stuck, and the status if it has changed."""
        status = self._server.receiver.status
        if self._server.receiver.silent_for() > self._stuck:
            status = f"stuck: no progress of the receiving thread for {self._stuck:.0f} s"
        else:
            self._manager.alive()
        if status != self._reported:
            self._reported = status
            self._manager.status(status)
            log.info("node.status", extra={"status": status})

    def _step(self) -> None:
        if self._ready:
            self.report()
        else:
            self._report_ready()
            self._ready = True

    def _report_ready(self) -> None:
        receiver = self._server.receiver
        receiver.tried.wait()
        if receiver.error is None:
            self._registration.tried.wait(_REGISTRATION_WAIT)
        self._reported = receiver.status
        self._manager.ready(self._reported)
