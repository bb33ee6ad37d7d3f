"""Watch other nodes, and run commands or render files for their events: `watches:` in node.yaml.

A node cannot sign requests, so it does not ping: it looks whether a suspected node reads its queue. The state of each
watch is in the folder `watches` of the node's state, so that a restarted daemon continues.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collective import names
from collective.errors import ConfigError, RPCError
from collective.filters import matches, no_data
from collective.log_limiter import LogLimiter
from collective.membership import Event, MemberView, StateFile, Watcher
from collective.membership.confirmation import InBackground
from collective.membership.delivery import EventDelivery
from collective.membership.ec2_events import Terminations
from collective.membership.handlers import Command, CommandHandler
from collective.membership.queue_probe import QueueProbe
from collective.membership.serf_convention import Self
from collective.periodic import PeriodicThread
from collective.registry import MarkableNodes, NodeRecord
from collective.registry.feed import Feed
from collective.run_as import as_user
from collective.transport import Transport
from collective.watch_settings import EVERY, WatchSettings, read_watch

if TYPE_CHECKING:
    from collective.node.service.template_delivery import TemplateDelivery

log = logging.getLogger(__name__)

_LAST_HANDLERS = 5.0  # seconds that running commands have to end when the daemon stops


@dataclass(frozen=True)
class WatchingNode:
    """The node that watches. `feed` returns a new feed of the registry, `facts` the node's own facts now."""

    collective: str
    identity: str
    feed: Callable[[], Feed]
    registry: MarkableNodes
    transport: Transport
    facts: Callable[[], Mapping[str, Any]]


class NodeWatch:
    """One watch of a node, in a thread of its own. `store` is closed when it stops."""

    def __init__(self, settings: WatchSettings, node: WatchingNode, store: StateFile) -> None:
        """Read the state. Raises ConfigError if it cannot be used, or if the user does not exist."""
        self._settings = settings
        self._thread = PeriodicThread(f"watch {settings.name}", self._step, EVERY)
        self._store = store
        view = MemberView(self._selects, ignored_facts=settings.ignore_facts)
        probe = InBackground(QueueProbe(node.transport, node.collective), self._thread.wake)
        self._watcher = Watcher(node.feed(), store, view, probe, collective=node.collective, settle=settings.settle)
        self._terminations = _terminations(node, self._thread.wake) if settings.ec2_events else None
        me = partial(_self, node)
        self._delivery = _delivery(settings, self._watcher, store, me)
        self._limiter = LogLimiter()

    def start(self) -> None:
        """Deliver what an earlier daemon has left, and watch."""
        self._delivery.offer(self._store.pending())
        self._thread.start()
        if self._terminations:
            self._terminations.start()

    def stop(self) -> None:
        """Stop watching, and wait some seconds for running commands; then kill them."""
        if self._terminations:
            self._terminations.stop()
        self._thread.stop(_LAST_HANDLERS)
        self._delivery.stop(_LAST_HANDLERS)
        self._store.close()

    def _step(self) -> float:
        try:
            self._delivery.resume()
            self._delivery.offer(self._watcher.attempt())
        except Exception as error:  # the daemon serves requests, whatever a watch does
            if self._limiter.allows():
                log.error("watch.failed", extra={"watch": self._settings.name, "error": str(error)})
        return self._watcher.pause(self._settings.every)

    def _selects(self, record: NodeRecord) -> bool:
        wanted = self._settings.filter
        return wanted is None or matches(wanted, record, no_data)


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


def make_watches(watches: Mapping[str, Mapping[str, Any]], node: WatchingNode, state: Path) -> list[NodeWatch]:
    """Return the watches of a node.yaml; `state` is the folder of the node's state. Raises ConfigError."""
    if not watches:
        return []
    folder = state / "watches"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"watches: the folder {folder} cannot be created: {error.strerror}") from None
    read = [read_watch(name, value, f"watches.{name}") for name, value in watches.items()]
    made: list[NodeWatch] = []
    with ExitStack() as opened:  # all files are closed unless every watch can be made
        for one in read:
            store = opened.enter_context(closing(StateFile(folder / f"{one.name}.sqlite", node.collective)))
            made.append(NodeWatch(one, node, store))
        opened.pop_all()
    return made


def _delivery(
    settings: WatchSettings, watcher: Watcher, store: StateFile, me: Callable[[], Self]
) -> EventDelivery | TemplateDelivery:
    """Return what is done with the events of a watch: a command, or a template."""
    identity = account(settings)
    if settings.template is None:
        command = Command(settings.command, settings.form, settings.timeout, identity, logged=True)
        return EventDelivery(store, ChosenEvents(command, settings.on, me), batch=settings.batch)
    from collective.node.service.template_delivery import TemplateDelivery  # few watches have one
    from collective.templates.commands import Commands

    return TemplateDelivery(settings.template, watcher, store, Commands(settings.timeout, identity), me)


def _terminations(node: WatchingNode, wake: Callable[[], None]) -> Terminations:
    return Terminations(node.transport, names.ec2_events(node.collective), node.registry, wake)


def _self(node: WatchingNode) -> Self:
    return Self(node.identity, node.facts())


def account(settings: WatchSettings) -> dict[str, Any]:
    """Return the arguments of Popen for the user of a watch. Raises ConfigError."""
    try:
        return as_user(settings.user)
    except RPCError as error:
        raise ConfigError(f"watches.{settings.name}.user: {error}") from None
