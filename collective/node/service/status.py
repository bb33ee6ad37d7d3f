"""Report to the service manager how the node does, for as long as there is something good to report.

    first try of the queue, and of the registry ─► ready
    then every few seconds: status, when it has changed ─► alive, unless the receiving thread is stuck

A transport that is away is no reason to be killed: the node waits for it, and says so. A receiving thread that has
done nothing for longer than any call may take is: only a new process helps.
"""

from __future__ import annotations

import logging
import threading

from collective.node.server import Server
from collective.node.service.registration import Registration
from collective.node.service.systemd import ServiceManager
from collective.transport import LONGEST_CALL

log = logging.getLogger(__name__)

_PERIOD = 5.0  # seconds between looks, when nobody wants them sooner
_REGISTERED = 10.0  # seconds that being ready waits for the registry


class StatusReporter:
    """Reports in a thread of its own. A receiver that is silent for `stuck` seconds is not alive."""

    def __init__(
        self, manager: ServiceManager, server: Server, registration: Registration, stuck: float = LONGEST_CALL
    ) -> None:
        self._manager = manager
        self._server = server
        self._registration = registration
        self._stuck = stuck
        self._said = ""
        self._stopping = threading.Event()

    def start(self) -> None:
        """Begin to report; `ready` comes with the first try of the queue, whether it went well or not."""
        threading.Thread(target=self._run, name="report", daemon=True).start()

    def stop(self) -> None:
        """Report that the node is stopping, and nothing further."""
        self._stopping.set()
        self._manager.stopping()

    def report(self) -> None:
        """Report once: the status, when it is another, and that the node is alive, when it is."""
        status = self._server.receiver.status
        if self._server.receiver.silent_for() > self._stuck:
            status = f"stuck: the receiving thread has neither got on nor failed for {self._stuck:.0f} s"
        else:
            self._manager.alive()
        if status != self._said:
            self._said = status
            self._manager.status(status)
            log.info("node.status", extra={"status": status})

    def _run(self) -> None:
        receiver = self._server.receiver
        receiver.tried.wait()
        if receiver.error is None:
            self._registration.tried.wait(_REGISTERED)
        self._said = receiver.status
        self._manager.ready(self._said)
        period = min(_PERIOD, (self._manager.watchdog or _PERIOD) / 3)
        while not self._stopping.wait(period):
            self.report()
