"""The steps of each node's work: an action before, the action itself, and an action after it.

    before ── ok ──► action ── ok ──► after ── ok ──► the reply of the action
       └── failed ─────┴── failed ──────┴── failed ──► a failed reply that says which step failed

The next step of a node is sent when the step before was OK; after a failed step nothing more is sent to the node. Each
step is a request of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from collective import ddl
from collective.errors import Aborted
from collective.fleet.sending import Sender, Wave
from collective.messages import Reply

BEFORE, AFTER = "before", "after"


@dataclass(frozen=True)
class Hook:
    """An action that is run on each node before or after the action of a call; `data` are its checked inputs."""

    action: ddl.Action
    data: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The agent and the action, as on a command line."""
        return f"{self.action.agent} {self.action.name}"


@dataclass(frozen=True)
class Hooks:
    """What runs on each node before and after the action of a call."""

    before: Hook | None = None
    after: Hook | None = None

    def named(self) -> Mapping[str, Hook]:
        """Return the hooks that there are, by name."""
        found = {BEFORE: self.before, AFTER: self.after}
        return {name: hook for name, hook in found.items() if hook}


NO_HOOKS = Hooks()


@dataclass(frozen=True)
class NodeStep:
    """One step: its name (empty for the action itself), and what sends it."""

    name: str
    sender: Sender


NO_SENDERS: Mapping[str, Sender] = MappingProxyType({})


def in_order(main: Sender, hooks: Mapping[str, Sender]) -> list[tuple[str, Sender]]:
    """Return the steps in the order in which they run, with their names."""
    parts = [(BEFORE, hooks.get(BEFORE)), ("", main), (AFTER, hooks.get(AFTER))]
    return [(name, sender) for name, sender in parts if sender]


class NodeSteps:
    """The step that each node of a call is at."""

    def __init__(self, steps: Sequence[NodeStep]) -> None:
        self._steps = steps
        self._current: dict[str, tuple[str, int]] = {}  # by node, the request and the number of its step
        self._results: dict[str, Reply] = {}  # of the action, while the step after it runs
        self._next: dict[int, list[str]] = {}
        self.begun = False  # whether the action itself was sent, so that the ID of the run is taken

    @property
    def several(self) -> bool:
        """Whether there is more than the action itself."""
        return len(self._steps) > 1

    def name(self, number: int) -> str:
        """Return the name of a step; empty for the action itself."""
        return self._steps[number].name

    def waves(self, number: int, nodes: Sequence[str]) -> list[Wave]:
        """Return the signed messages of a step; the first one of the action itself has the ID of the run."""
        step = self._steps[number]
        first = not step.name and not self.begun
        self.begun = self.begun or not step.name
        return step.sender.waves(nodes, first=first)

    def sent(self, number: int, nodes: Collection[str], request_id: str) -> None:
        """Record that a step was sent to nodes."""
        if self.several:
            self._current.update(dict.fromkeys(nodes, (request_id, number)))

    def due(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the next steps to send, and the nodes."""
        while self._next:
            number = min(self._next)
            yield number, self._next.pop(number)

    def result(self, reply: Reply, at_work: bool) -> Reply | None:
        """Return the result of a node; None when its next step is due, or when a reply comes too late to matter."""
        if not self.several or reply.sender not in self._current:
            return reply
        request_id, number = self._current[reply.sender]
        last = number == len(self._steps) - 1
        if reply.request != request_id or not (at_work or last):
            return None
        del self._current[reply.sender]
        name = self._steps[number].name
        if name == BEFORE and not reply.ok:
            return self._failed(replace(reply, data={}), reply, name)
        if name == AFTER:
            result = self._results.pop(reply.sender)
            return result if reply.ok else self._failed(result, reply, name)
        if last or not reply.ok:
            return reply
        if not name:
            self._results[reply.sender] = reply
        self._next.setdefault(number + 1, []).append(reply.sender)
        return None

    def _failed(self, result: Reply, failed: Reply, name: str) -> Reply:
        """Return a failed reply of the action, because the step `name` has failed."""
        main = next(step.sender.request for step in self._steps if not step.name)
        why = f"{name} '{failed.agent} {failed.action}' failed: {failed.statusmsg}"
        status = Aborted.statuscode
        return replace(result, agent=main.agent, action=main.action, statuscode=status, statusmsg=why, reason=name)
