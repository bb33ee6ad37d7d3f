"""Load plugins, policy and facts anew while the node serves, when it is told to (SIGHUP).

    wake ─► plugins: a whole new set, in force from the next request on; what is broken stays as it was
         ─► policy, facts: looked at now, and not at the next request or period
         ─► the registry learns of it at once

It has a thread of its own: a plugin that hangs while it is imported keeps nobody from being answered.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from collective.node.plugins.plugin_set import Plugins
from collective.node.policy_file import PolicyFile
from collective.node.server import Server
from collective.node.service.registration import Registration
from collective.node.service.systemd import ServiceManager

log = logging.getLogger(__name__)


class Reloading:
    """Reloads as often as it is woken; several times at once are one. `load` returns the set after a given one."""

    def __init__(
        self,
        load: Callable[[Plugins], Plugins],
        server: Server,
        policy: PolicyFile,
        registration: Registration,
        manager: ServiceManager,
    ) -> None:
        self._load = load
        self._server = server
        self._policy = policy
        self._registration = registration
        self._manager = manager
        self._wanted = threading.Event()

    def start(self) -> None:
        """Wait, in a thread, for being woken."""
        threading.Thread(target=self._run, name="reload", daemon=True).start()

    def wake(self) -> None:
        """Reload soon."""
        self._wanted.set()

    def reload(self) -> None:
        """Reload now."""
        loaded = self._load(self._server.plugins)
        self._server.use(loaded)
        self._policy.current()
        self._server.facts.wake()
        self._registration.refresh()
        agents = {name: agent.ddl.metadata["version"] for name, agent in loaded.agents.items()}
        note = "node.yaml is read at a start only"
        log.info("daemon.reloaded", extra={"agents": agents, "problems": len(loaded.problems), "note": note})

    def _run(self) -> None:
        while True:
            self._wanted.wait()
            self._wanted.clear()
            self._manager.reloading()
            try:
                self.reload()
            except Exception:
                log.exception("node.defect")  # the set before stays in force
            self._manager.ready(self._server.receiver.status)
