"""Keep the file of a watch with a template current, in the thread of the watch."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from collective.errors import ConfigError
from collective.log_limiter import LogLimiter
from collective.membership import Event, StateFile, Watcher
from collective.membership.serf_convention import Self
from collective.node.check import trusted_paths
from collective.template_settings import TemplateSettings
from collective.templates.commands import Commands, Stopped
from collective.templates.rendered_file import RenderedFile
from collective.templates.updates import Updates

log = logging.getLogger(__name__)


class TemplateDelivery:
    """Renders the members of `watcher` instead of delivering its events. `me` returns the node with its facts."""

    def __init__(
        self, settings: TemplateSettings, watcher: Watcher, store: StateFile, commands: Commands, me: Callable[[], Self]
    ) -> None:
        self._settings = settings
        self._watcher = watcher
        self._store = store
        self._commands = commands
        self._me = me
        self._updates = Updates(RenderedFile(settings, commands))
        self._limiter = LogLimiter()
        self._changed = False

    def offer(self, events: Iterable[Event]) -> None:
        """Update the file, if there are events or if anything else has changed; errors are logged."""
        events = list(events)
        self._changed = self._changed or bool(events)
        if not self._is_unsafe():
            changed, self._changed = self._changed, False
            self._update(changed=changed)
        if events:
            self._store.delivered(events)

    def resume(self) -> None:
        """Do nothing: errors are logged, and the file is updated at the next look."""

    def stop(self, _timeout: float) -> None:
        """Kill the command that runs."""
        self._commands.stop()

    def _is_unsafe(self) -> bool:
        """Return whether other users can change the template now, and log it: the file stays as it is then."""
        problem = trusted_paths.guard(self._settings.src)
        if problem and self._limiter.allows():
            log.error("template.failed", extra={"error": f"template not used: {problem}"})
        return problem is not None

    def _update(self, *, changed: bool) -> None:
        try:
            update = self._updates.step(self._watcher.snapshot, self._me(), changed=changed)
        except Stopped:
            return
        except ConfigError as error:
            log.error("template.failed", extra={"error": str(error)})
            return
        if update and (update.changed or update.reloaded):
            extra = {"path": str(self._settings.dest), "members": update.members, "reloaded": update.reloaded}
            log.info("template.written", extra=extra)
