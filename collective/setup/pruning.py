"""Tidy up after nodes that are gone: their items in the registry, their queues, their subscriptions.

    gone      it has left, or was last seen, longer ago than `older_than`; never one that is alive
    orphans   a queue that the registry knows no node of, older than that, and a subscription without its queue;
              none while the registry cannot know: no node is alive in it, or its table is younger than that

The item goes first, and only as it was looked at: a node that comes back meanwhile keeps everything. One that comes
back later makes its queue again, 60 s after it was deleted at the earliest (SQS API reference, DeleteQueue).

Reply queues are left alone: SQS does not tell when one was last used, its caller would lose replies to its next
call, and a queue that nobody uses costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property, partial
from typing import Any

from collective import names
from collective.aws import translated
from collective.durations import in_words
from collective.errors import NotFound, Unreachable, UsageError
from collective.registry import PERIODS_ALIVE, NodeRecord, PrunableNodes
from collective.setup import REMOVE, Plan, Step
from collective.setup.aws_inventory import Cloud

_UNKNOWN = (
    "nodes with 'registry: none', or that have not registered since the table was made, would lose their queues: "
    "look at each queue that is named"
)


def pruning(
    cloud: Cloud, registry: PrunableNodes, collective: str, *, older_than: float, orphans: bool = False
) -> Plan:
    """Return the plan by which nodes that have been gone for `older_than` seconds are forgotten."""
    pruner = Pruner(cloud, registry, collective, older_than)
    steps, warnings = pruner.gone(), []
    if orphans:
        pruner.check_knowledge()
        queues = pruner.lonely_queues()
        steps += [*queues, *pruner.lonely_subscriptions()]
        warnings += [_UNKNOWN] if queues else []
    return Plan(collective, cloud.account, steps, warnings)


class Pruner:
    """What there is of a collective's nodes.

    It is read in the order opposite to that in which a node comes into being, so that a new one is no orphan.
    """

    def __init__(self, cloud: Cloud, registry: PrunableNodes, collective: str, older_than: float) -> None:
        self._cloud = cloud
        self._registry = registry
        self._collective = collective
        self._older_than = older_than
        found = cloud.subscriptions(names.topic(collective)), cloud.queues(names.node_queues(collective))
        self._subscriptions, self._queues = (self._ours(some) for some in found)
        try:
            self._records = registry.nodes()
        except NotFound as error:
            raise Unreachable(f"{error.name}: there is no registry: 'crpc setup' makes it") from None
        self._now = registry.now()

    def gone(self) -> list[Step]:
        """Return a step for each node that is gone."""
        gone = [record for record in self._records if self._is_gone(record)]
        return [
            Step(REMOVE, "node", record.identity, self._since(record), partial(self._forget, record))
            for record in sorted(gone, key=lambda record: record.identity)
        ]

    def check_knowledge(self) -> None:
        """Raise UsageError where the registry does not know of running nodes: theirs would be taken for orphans."""
        alive = [record.period for record in self._records if record.alive(self._now)]
        if not alive:
            raise UsageError("--orphans: no node in the registry is alive: start nodes first, or leave out --orphans")
        needed = max(self._older_than, PERIODS_ALIVE * max(alive))
        age = self._cloud.table_age(names.table(self._collective))
        if age <= needed:
            raise UsageError(
                f"--orphans: the registry's table was made {in_words(age)} ago, and may not know nodes that were there "
                f"before: wait until that is {in_words(needed)}, or leave out --orphans"
            )

    def lonely_queues(self) -> list[Step]:
        """Return a step for each queue that the registry knows no node of."""
        lonely = [name for name in self._unknown(self._queues) if self._age(name) > self._older_than]
        return [
            Step(REMOVE, "queue", name, "the registry knows no node of it", partial(self._remove, name))
            for name in lonely
        ]

    def lonely_subscriptions(self) -> list[Step]:
        """Return a step for each subscription without a queue."""
        lonely = [
            name for name in self._unknown(self._subscriptions) if name not in self._queues and self._absent(name)
        ]
        return [
            Step(REMOVE, "subscription", name, "there is no such queue", partial(self._remove, name)) for name in lonely
        ]

    def _ours(self, found: Mapping[str, str]) -> dict[str, str]:
        return {name: what for name, what in sorted(found.items()) if names.is_node_queue(name, self._collective)}

    def _is_gone(self, record: NodeRecord) -> bool:
        return not record.alive(self._now) and self._now - _end(record) > self._older_than

    def _since(self, record: NodeRecord) -> str:
        return f"{'left' if record.left else 'last seen'} {in_words(self._now - _end(record))} ago"

    def _unknown(self, queues: Iterable[str]) -> list[str]:
        return [name for name in queues if name not in self._known]

    @cached_property
    def _known(self) -> set[str]:
        """The queues of all nodes in the registry, those included that this version cannot read."""
        return {names.node_queue(self._collective, identity) for identity in self._registry.identities()}

    def _age(self, queue: str) -> float:
        """Return the seconds since a queue was made; none of one that is gone."""
        wanted: Any = ["CreatedTimestamp"]
        try:
            with translated(queue):
                found = self._cloud.sqs.get_queue_attributes(QueueUrl=self._queues[queue], AttributeNames=wanted)
                made = float(found["Attributes"]["CreatedTimestamp"])
        except NotFound:
            return 0.0
        return self._now - made

    def _absent(self, queue: str) -> bool:
        """Look again: a list of queues may lack what is a second old."""
        try:
            with translated(queue):
                self._cloud.sqs.get_queue_url(QueueName=queue)
        except NotFound:
            return True
        return False

    def _forget(self, record: NodeRecord) -> str | None:
        if not self._registry.remove(record):
            return "it has come back"
        self._remove(names.node_queue(self._collective, record.identity))
        return None

    def _remove(self, queue: str) -> None:
        if queue in self._subscriptions:
            self._cloud.unsubscribe(queue, self._subscriptions[queue])
        if queue in self._queues:
            self._cloud.delete_queue(queue, self._queues[queue])


def _end(record: NodeRecord) -> float:
    """Return when a node was last there, in Unix seconds: some version may have seen it after its farewell."""
    return max(record.left or 0.0, record.last_seen)
