"""Watch other nodes, and run commands or render files for their events: `watches:` in node.yaml.

A node cannot sign requests, so it does not ping: a node without heartbeats for six periods has failed. The state of
each watch is in the folder `watches` of the node's state, so that a restarted daemon continues.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collective.errors import ConfigError, RPCError
from collective.filters import matches
from collective.log_limiter import LogLimiter
from collective.membership import Event, MemberView, StateFile, Watcher
from collective.membership.confirmation import BySilence
from collective.membership.delivery import EventDelivery
from collective.membership.handlers import Command, CommandHandler
from collective.membership.serf_convention import Self
from collective.periodic import PeriodicThread
from collective.registry import NodeRecord, Nodes
from collective.run_as import as_user
from collective.watch_settings import WatchSettings

if TYPE_CHECKING:
    from collective.node.service.template_delivery import TemplateDelivery

log = logging.getLogger(__name__)

_LAST_HANDLERS = 5.0  # seconds that running commands have to end when the daemon stops


class NodeWatch:
    """One watch of a node: reads `registry` in a thread of its own. `facts` returns the node's own facts."""

    def __init__(
        self,
        settings: WatchSettings,
        registry: Nodes,
        folder: Path,
        collective: str,
        identity: str,
        facts: Callable[[], Mapping[str, Any]],
    ) -> None:
        """Open the state. Raises ConfigError if it cannot be used, or if the user does not exist."""
        self._settings = settings
        self._store = StateFile(folder / f"{settings.name}.sqlite", collective)
        view = MemberView(self._selects, ignored_facts=settings.ignore_facts)
        self._watcher = Watcher(registry, self._store, view, BySilence(), collective=collective, settle=settings.settle)
        self._delivery = _delivery(settings, self._watcher, self._store, lambda: Self(identity, facts()))
        self._limiter = LogLimiter()
        self._thread = PeriodicThread(f"watch {settings.name}", self._step, settings.every)

    def start(self) -> None:
        """Deliver what an earlier daemon has left, and watch."""
        self._delivery.offer(self._store.pending())
        self._thread.start()

    def stop(self) -> None:
        """Stop watching, and wait some seconds for running commands; then kill them."""
        self._thread.stop(_LAST_HANDLERS)
        self._delivery.stop(_LAST_HANDLERS)
        self._store.close()

    def _step(self) -> None:
        try:
            self._delivery.pause(0)
            self._delivery.offer(self._watcher.attempt())
        except Exception as error:  # the daemon serves requests, whatever a watch does
            if self._limiter.allows():
                log.error("watch.failed", extra={"watch": self._settings.name, "error": str(error)})

    def _selects(self, record: NodeRecord) -> bool:
        wanted = self._settings.filter
        return wanted is None or matches(wanted, record, _no_data)


class ChosenEvents:
    """Runs a command for some kinds of events, with the node's facts at that time. The other events are dropped."""

    def __init__(self, command: Command, kinds: Sequence[str], me: Callable[[], Self]) -> None:
        self._kinds = kinds
        self._me = me
        self._handler = CommandHandler(command, me())

    def handle(self, events: Sequence[Event]) -> bool:
        """Run the command; return False if it was stopped."""
        chosen = [event for event in events if event.kind in self._kinds]
        self._handler.me = self._me()
        return self._handler.handle(chosen) if chosen else True

    def stop(self) -> None:
        """Kill the commands that are running."""
        self._handler.stop()


def make_watches(
    watches: Mapping[str, Mapping[str, Any]],
    registry: Nodes,
    state: Path,
    collective: str,
    identity: str,
    facts: Callable[[], Mapping[str, Any]],
) -> list[NodeWatch]:
    """Return the watches of a node.yaml. Raises ConfigError."""
    if not watches:
        return []
    from collective.watch_settings import read_watch

    folder = state / "watches"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"watches: the folder {folder} cannot be created: {error.strerror}") from None
    read = [read_watch(name, value, f"watches.{name}") for name, value in watches.items()]
    return [NodeWatch(one, registry, folder, collective, identity, facts) for one in read]


def _delivery(
    settings: WatchSettings, watcher: Watcher, store: StateFile, me: Callable[[], Self]
) -> EventDelivery | TemplateDelivery:
    """Return what is done with the events of a watch: a command, or a template."""
    identity = _identity(settings)
    if settings.template is None:
        command = Command(settings.command, settings.form, settings.timeout, identity)
        return EventDelivery(store, ChosenEvents(command, settings.on, me), batch=settings.batch)
    from collective.node.service.template_delivery import TemplateDelivery  # few watches have one
    from collective.templates import Commands

    return TemplateDelivery(settings.template, watcher, store, Commands(settings.timeout, identity), me)


def _identity(settings: WatchSettings) -> dict[str, Any]:
    """Return the arguments of Popen for the user of a watch."""
    try:
        return as_user(settings.user)
    except RPCError as error:
        raise ConfigError(f"watches.{settings.name}.user: {error}") from None


def _no_data(_function: str, _query: str) -> None:
    """Stand in for data functions, which a watch does not have."""
