"""Plan the clean-up after nodes that are gone: their items in the registry, their queues and their subscriptions.

    gone      a node that stopped or was last seen longer ago than `older_than`, or whose EC2 instance is terminated;
              never a node that is alive
    orphans   a queue whose node is not in the registry, older than `older_than`, and a subscription without a queue.
              Orphans are not looked for when the registry may be incomplete: no node in it is alive, or its table is
              younger than `older_than`

A node's item is deleted first, and only if it has not changed: a node that has come back keeps everything. A node that
comes back later creates its queue again, at the earliest 60 s after the deletion (SQS API reference, DeleteQueue).

Reply queues are kept: SQS does not report when a queue was last used, the next call of its caller would lose replies,
and an unused queue costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

from collective import names
from collective.aws.errors import translated
from collective.durations import in_words
from collective.errors import NotFound, Unreachable, UsageError
from collective.registry import PERIODS_ALIVE, NodeRecord, PrunableNodes
from collective.setup import REMOVE, Plan, Step
from collective.setup.aws_inventory import Cloud
from collective.suggestions import suggest

_ORPHANS_WARNING = (
    "nodes with 'registry: none', and nodes that have not registered since the table was created, would lose their "
    "queues: check each queue"
)


def pruning(
    cloud: Cloud,
    registry: PrunableNodes,
    collective: str,
    *,
    older_than: float,
    orphans: bool = False,
    only: Sequence[str] = (),
) -> Plan:
    """Return the plan that removes nodes that have been gone for `older_than` seconds.

    `only`: no other nodes than these. Raises UsageError if one of them is alive, or not in the registry.
    """
    pruner = Pruner(cloud, registry, collective, older_than)
    steps, warnings = pruner.named(only) if only else pruner.gone(), []
    if orphans:
        pruner.check_registry()
        queues = pruner.orphaned_queues()
        steps += [*queues, *pruner.orphaned_subscriptions()]
        warnings += [_ORPHANS_WARNING] if queues else []
    return Plan(collective, cloud.account, steps, warnings)


class Pruner:
    """What exists of a collective's nodes.

    It is read in the reverse order of a node's creation, so that a node that is just starting is not an orphan.
    """

    def __init__(self, cloud: Cloud, registry: PrunableNodes, collective: str, older_than: float) -> None:
        self._cloud = cloud
        self._registry = registry
        self._collective = collective
        self._older_than = older_than
        found = cloud.subscriptions(names.topic(collective)), cloud.queues(names.node_queues(collective))
        self._subscriptions, self._queues = (self._node_queues(some) for some in found)
        try:
            self._records = registry.read().records
        except NotFound as error:
            raise Unreachable(f"{error} (create the registry with 'crpc setup')") from None
        self._now = registry.now()

    def gone(self) -> list[Step]:
        """Return a step for each node that is gone."""
        return self._steps(record for record in self._records if self._is_gone(record))

    def named(self, identities: Iterable[str]) -> list[Step]:
        """Return a step for each of these nodes; raise UsageError for one that is not gone."""
        records = {record.identity: record for record in self._records}
        for identity in identities:
            record = records.get(identity)
            if record is None:
                hint = suggest(identity, records, "'crpc nodes prune --orphans' removes queues without a record")
                raise UsageError(f"{identity}: not in the registry ({hint})")
            if not self._is_gone(record):
                hint = "stop its daemon first" if record.alive(self._now) else "use a shorter --older-than"
                raise UsageError(f"{identity}: not gone, {self._since(record)} ({hint})")
        return self._steps(records[identity] for identity in dict.fromkeys(identities))

    def _steps(self, gone: Iterable[NodeRecord]) -> list[Step]:
        return [
            Step(REMOVE, "node", record.identity, self._since(record), partial(self._forget, record))
            for record in sorted(gone, key=lambda record: record.identity)
        ]

    def check_registry(self) -> None:
        """Raise UsageError when the registry may not have all running nodes, whose queues would seem orphaned."""
        alive = [record.period for record in self._records if record.alive(self._now)]
        if not alive:
            raise UsageError("--orphans: no node in the registry is alive (start nodes first, or omit --orphans)")
        needed = max(self._older_than, PERIODS_ALIVE * max(alive))
        age = self._cloud.table_age(names.table(self._collective))
        if age <= needed:
            raise UsageError(
                f"--orphans: the registry's table was created {in_words(age)} ago, and may not have all nodes yet "
                f"(wait until it is {in_words(needed)} old, or omit --orphans)"
            )

    def orphaned_queues(self) -> list[Step]:
        """Return a step for each queue whose node is not in the registry."""
        orphaned = [name for name in self._unknown(self._queues) if self._age(name) > self._older_than]
        return [
            Step(REMOVE, "queue", name, "its node is not in the registry", partial(self._remove, name))
            for name in orphaned
        ]

    def orphaned_subscriptions(self) -> list[Step]:
        """Return a step for each subscription without a queue."""
        orphaned = [
            name for name in self._unknown(self._subscriptions) if name not in self._queues and self._absent(name)
        ]
        return [
            Step(REMOVE, "subscription", name, "its queue does not exist", partial(self._remove, name))
            for name in orphaned
        ]

    def _node_queues(self, found: Mapping[str, str]) -> dict[str, str]:
        return {name: value for name, value in sorted(found.items()) if names.is_node_queue(name, self._collective)}

    def _is_gone(self, record: NodeRecord) -> bool:
        old = self._now - _end(record) > self._older_than
        return not record.alive(self._now) and (old or record.is_terminated)

    def _since(self, record: NodeRecord) -> str:
        if record.is_terminated:
            return f"its instance was terminated {in_words(self._now - (record.terminated or 0.0))} ago"
        return f"{'stopped' if record.left else 'last seen'} {in_words(self._now - _end(record))} ago"

    def _unknown(self, queues: Iterable[str]) -> list[str]:
        return [name for name in queues if name not in self._known]

    @cached_property
    def _known(self) -> set[str]:
        """The queues of all nodes in the registry, including records that this version cannot read."""
        return {names.node_queue(self._collective, identity) for identity in self._registry.identities()}

    def _age(self, queue: str) -> float:
        """Return the age of a queue in seconds; 0 for a queue that does not exist any more."""
        requested: Any = ["CreatedTimestamp"]
        try:
            with translated(queue, "queue"):
                found = self._cloud.sqs.get_queue_attributes(QueueUrl=self._queues[queue], AttributeNames=requested)
                created = float(found["Attributes"]["CreatedTimestamp"])
        except NotFound:
            return 0.0
        return self._now - created

    def _absent(self, queue: str) -> bool:
        """Return whether a queue does not exist; a list of queues may lack a new one."""
        try:
            with translated(queue, "queue"):
                self._cloud.sqs.get_queue_url(QueueName=queue)
        except NotFound:
            return True
        return False

    def _forget(self, record: NodeRecord) -> str | None:
        if not self._registry.remove(record):
            return "it is alive again"
        self._remove(names.node_queue(self._collective, record.identity))
        return None

    def _remove(self, queue: str) -> None:
        if queue in self._subscriptions:
            self._cloud.unsubscribe(queue, self._subscriptions[queue])
        if queue in self._queues:
            self._cloud.delete_queue(queue, self._queues[queue])


def _end(record: NodeRecord) -> float:
    """Return when a node was last seen, in Unix seconds; `last_seen` may be later than `left`."""
    return max(record.left or 0.0, record.last_seen)
