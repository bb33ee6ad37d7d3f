"""Publish this node to the registry: all of it when something has changed, else a heartbeat; a farewell at the end.

Two machines that use one name take it from each other at each heartbeat: both notice, log it, and mark their record.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable
from dataclasses import replace

from collective.errors import NotFound, TransportError, Unreachable
from collective.node.backoff import Rhythm
from collective.registry import NodeRecord, Registry

log = logging.getLogger(__name__)


class Registration:
    """Runs in a thread of its own. `describe` returns the node's record as it is now.

    `tried` is set when the node has been published once, or that has failed.
    """

    def __init__(self, registry: Registry, describe: Callable[[], NodeRecord], period: float) -> None:
        self._registry = registry
        self._describe = describe
        self._rhythm = Rhythm(period)
        self._published: NodeRecord | None = None
        self._instance = secrets.token_hex(8)
        self._wake = threading.Event()
        self._stopping = False
        self.tried = threading.Event()
        self._thread = threading.Thread(target=self._run, name="registration", daemon=True)

    def start(self) -> None:
        """Publish now, and from now on every period; where that fails, sooner."""
        self._thread.start()

    def refresh(self) -> None:
        """Look for changes now, not at the end of the period."""
        self._wake.set()

    def stop(self, timeout: float) -> None:
        """Say farewell, waiting for that at most `timeout` seconds."""
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def publish(self) -> None:
        """Publish what has changed since the last time, or that nothing has; find out who else uses our name."""
        record = replace(self._describe(), instance=self._instance)
        contested = None
        if self._published is not None:
            holder = self._registry.heartbeat(record.identity, self._instance)
            if holder == self._instance and record == self._published:
                return
            if holder and holder != self._instance:
                contested = self._registry.now()
                log.error("identity.contested", extra={"error": f"another machine is '{record.identity}' too"})
        self._registry.put(replace(record, contested=contested))
        self._published = record

    def _run(self) -> None:
        while not self._stopping:
            published = self._guarded(self.publish)
            self.tried.set()
            self._wake.wait(self._rhythm.after(published))
            self._wake.clear()
        if self._published is not None:
            identity = self._published.identity
            self._guarded(lambda: self._registry.leave(identity, self._instance))

    def _guarded(self, step: Callable[[], None]) -> bool:
        """Do one step; a registry that is away or absent leaves the node working, unknown to some callers.

        Return whether there is nothing to try again soon: a missing table or permission takes longer to come.
        """
        try:
            step()
        except NotFound as error:
            log.warning("registry.missing", extra={"error": f"table {error}: callers find us by broadcast only"})
        except TransportError as error:
            self._published = None
            log.warning("registry.failed", extra={"error": str(error)})
            return not isinstance(error, Unreachable)
        return True
