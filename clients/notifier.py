"""Notify people when a run ends, fails, pauses or waits for a person. No error of a notification fails the run.

notifier.gates(gates)             reports pauses, and questions to a person
with notifier.following(call):    reports the end of the call; an error is one line on standard error
notifier.ended(call, code)        reports the end of a call that is over, or of several that are repeated
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from collective.clients.streams import notice
from collective.errors import CollectiveError
from collective.exit_codes import OK

if TYPE_CHECKING:
    from collective.clients.repeated_call import RepeatedCall
    from collective.fleet.call import Call
    from collective.fleet.gates import Gates, GateView, RolloutGate
    from collective.notification_places import NotificationPlace
    from collective.notifications import Sending

    Reported: TypeAlias = Call | RepeatedCall

_MOST_FAILURES = 20  # failed nodes whose status message is in a notification


class Notifier:
    """Sends the notifications of one run. `places` are those of each event, `template` is for all of them."""

    def __init__(self, places: Mapping[str, Sequence[NotificationPlace]], template: Path | None = None) -> None:
        self._places = places
        self._template = template
        self._sent: list[tuple[str, Sending]] = []

    @contextmanager
    def following(self, call: Call) -> Iterator[None]:
        """Notify of the end of a call at the end of the block, and wait until all notifications are sent."""
        try:
            yield
        finally:
            call.close()
            self.ended(call, call.outcomes.exit_code())
            self.close()

    def ended(self, call: Reported, code: int, why: str = "") -> None:
        """Begin to notify of the end of a call with an exit code; `why` is in place of why the call was stopped."""
        if self._places:
            self.send("end" if code == OK else "fail", {**_ended(call), "exit": code, "why": why or call.stopped})

    def during(self) -> Notifier:
        """Return what reports only pauses and questions: for a call that is part of a larger run."""
        places = {event: places for event, places in self._places.items() if event in ("pause", "wait")}
        return Notifier(places, self._template) if any(places.values()) else NO_NOTIFIER

    def gates(self, gates: Gates) -> Gates:
        """Return gates that also notify."""
        if not self._places:
            return gates
        return replace(gates, gates=tuple(NotifyingGate(gate, gates.action, self) for gate in gates.gates))

    def send(self, event: str, document: Mapping[str, Any]) -> None:
        """Begin to send an event to its places."""
        from collective import notifications
        from collective.clients.notification_text import render

        for place in self._places.get(event, ()):
            try:
                title, body = render({"event": event, **document}, self._template or place.template)
                self._sent.append((place.name, notifications.begin([place.url], title, body)))
            except CollectiveError as error:
                notice(f"notification '{place.name}': {error}")

    def close(self) -> None:
        """Wait until all notifications are sent, and report those that are not."""
        sent, self._sent = self._sent, []
        for name, sending in sent:
            for problem in sending.problems():
                notice(f"notification '{name}': {problem}")


NO_NOTIFIER = Notifier({})


class NotifyingGate:
    """A gate that notifies when it pauses the rollout, and before it asks a person."""

    def __init__(self, gate: RolloutGate, action: str, notifier: Notifier) -> None:
        self.name = gate.name
        self.unattended = gate.unattended
        self._gate = gate
        self._pauses = action == "pause"
        self._notifier = notifier
        self._closed = False

    def check(self, view: GateView) -> str:
        """Return what the gate does; a gate that stays closed is reported once."""
        if not self.unattended and not self._closed:
            self._notifier.send("wait", _paused(view.document, f"gate '{self.name}'"))
        reason = self._gate.check(view)
        if reason and self._pauses and not self._closed:
            self._notifier.send("pause", _paused(view.document, f"gate '{self.name}': {reason}"))
        self._closed = bool(reason)
        return reason


def _ended(call: Reported) -> dict[str, Any]:
    """Return what a template gets of a call that has ended."""
    outcomes = call.outcomes
    failures = [(node, reply) for node, reply in outcomes.replies.items() if not reply.ok]
    return {
        **_identified(call.collective, call.caller, call.agent, call.action.name, call.request_id),
        "data": call.action.masked(call.request.data),
        "dry_run": call.dry_run,
        "nodes": len(outcomes.expected),
        "ok": sorted(outcomes.ok),
        "failed": sorted(outcomes.failed),
        "silent": outcomes.silent,
        "skipped": sorted(outcomes.skipped),
        "failures": [{"node": node, "message": reply.statusmsg} for node, reply in failures[:_MOST_FAILURES]],
        "seconds": round(call.total_ms / 1000, 1),
    }


def _paused(view: Mapping[str, Any], why: str) -> dict[str, Any]:
    """Return what a template gets of a rollout that is not over."""
    run = next(iter(view["request_ids"]), "")
    groups = ("ok", "failed", "silent", "working", "waiting")
    return {
        **_identified(view["collective"], view["caller"], view["agent"], view["action"], run),
        **{name: view[name] for name in (*groups, "wave", "waves")},
        "nodes": sum(len(view[name]) for name in groups),
        "why": why,
    }


def _identified(collective: str, caller: str, agent: str, action: str, run: str) -> dict[str, Any]:
    return {"collective": collective, "caller": caller, "agent": agent, "action": action, "run": run}
