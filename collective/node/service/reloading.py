"""Reload plugins, policy and facts of a running node (SIGHUP).

    wake ─► plugins: a new set, in force from the next request on; an invalid plugin keeps its last valid version
         ─► policy, facts: reloaded now instead of at the next request or period
         ─► registry: updated now

A reload has a thread of its own, so that a plugin that hangs during its import does not delay requests.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from collective.node.plugins.plugin_set import Plugins
from collective.node.policy_file import PolicyFile
from collective.node.server import Server
from collective.node.service.plugin_watch import PluginWatch
from collective.node.service.registration import Registration
from collective.node.service.systemd import ServiceManager
from collective.periodic import PeriodicThread

log = logging.getLogger(__name__)

_FACTS_WAIT = 5.0  # seconds for the facts, whose problems the log counts; commands that provide facts may take longer


class Reloading:
    """Reloads when woken, and when `watch` notices a change. `load(before)` returns the new set of plugins."""

    def __init__(
        self,
        load: Callable[[Plugins], Plugins],
        server: Server,
        policy: PolicyFile,
        registration: Registration,
        manager: ServiceManager,
        watch: PluginWatch | None = None,
    ) -> None:
        self._load = load
        self._server = server
        self._policy = policy
        self._registration = registration
        self._manager = manager
        self._watch = watch
        self._thread = PeriodicThread("reload", self._step, period=None)
        self._watching = PeriodicThread("plugins", self._look, watch.period) if watch else None

    def start(self) -> None:
        """Start the thread that waits for `wake`, and the one that watches files."""
        self._thread.start()
        if self._watching:
            self._watching.start()

    def wake(self) -> None:
        """Reload in the thread."""
        self._thread.wake()

    def reload(self) -> None:
        """Reload now, in the calling thread."""
        loaded = self._load(self._server.plugins)
        self._server.use(loaded)
        self._policy.report(loaded.inputs)
        self._server.facts.wake(_FACTS_WAIT)
        self._registration.refresh()
        agents = {name: agent.ddl.metadata["version"] for name, agent in loaded.agents.items()}
        problems = len({*loaded.problems, *self._server.state.problems})
        note = "changes of node.yaml need a restart"
        log.info("daemon.reloaded", extra={"agents": agents, "problems": problems, "note": note})

    def _look(self) -> None:
        if self._watch and self._watch.changed():
            log.info("plugins.changed")
            self.wake()

    def _step(self) -> None:
        self._manager.reloading()
        try:
            self.reload()
        except Exception:
            log.exception("node.internal_error")  # the plugins loaded before stay in force
        self._manager.ready(self._server.receiver.status)
