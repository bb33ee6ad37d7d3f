"""What the events of a record say: who goes on with the run, whether it is paused, and whether it must stop."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from collective.errors import SignatureError
from collective.fleet.steering.run_log import Event
from collective.fleet.steering.statements import PAUSE, STOP, check

if TYPE_CHECKING:
    from collective.signing.allowed_signers import AllowedSigners

log = logging.getLogger(__name__)


@dataclass
class RunState:
    """The run with the ID `run`. Statements count if a key in `allowed` has signed them (None: they are not signed).

    `holder` is the ID of the last takeover, `holder_name` its caller. `paused` and `stopped` say which caller has
    ordered it, and are empty without an order. `refused` are statements that do not count, by ID.
    """

    run: str
    allowed: AllowedSigners | None = None
    holder: str = ""
    holder_name: str = ""
    paused: str = ""
    stopped: str = ""
    refused: dict[str, str] = field(default_factory=dict)
    _seen: set[str] = field(default_factory=set)

    def apply(self, events: Iterable[Event]) -> None:
        """Take further events."""
        for event in events:
            if event["event"] in ("taken", "order"):
                self._statement(event)

    def _statement(self, event: Event) -> None:
        """Take a statement once: a copy of an old one has no effect."""
        if event["id"] in self._seen:
            return
        self._seen.add(event["id"])
        try:
            check(event, self.allowed)
            if event.get("run") != self.run:
                raise SignatureError("it is for another run")
        except SignatureError as error:
            self.refused[event["id"]] = str(error)
            what = "takeover" if event["event"] == "taken" else str(event["order"])
            text = f"run {self.run[:8]}: {what} of '{event['caller']}' ignored: {error}"
            log.warning("run.statement_refused", extra={"error": text})
            return
        if event["event"] == "taken":
            self.holder, self.holder_name = event["id"], event["caller"]
        else:
            self._order(event)

    def _order(self, event: Event) -> None:
        if event["order"] == STOP:
            self.stopped = f"stopped by '{event['caller']}'"
        else:
            self.paused = f"paused by '{event['caller']}'" if event["order"] == PAUSE else ""
