"""Set up what a collective needs on AWS, take it down again, and tidy up after nodes that are gone.

    creation   what is missing, what differs? ─┐
    removal    what is there?                  ├─► a plan: steps with marks ─► shown, agreed to ─► step.do(), one by one
    pruning    which nodes are gone?          ─┘

Making a plan only looks. Every step can be done twice, so that a plan which failed half-way is simply made again.
Steps follow one another on purpose: SNS takes 100 Subscribe a second and SQS few tags (see `transport/sqs.py`), which
one request at a time stays below.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from collective.aws_account import Account

MAKE, CHANGE, KEEP, REMOVE = "make", "change", "keep", "remove"


def nothing() -> None:
    """Do nothing: the step of what is as it should be."""


@dataclass(frozen=True)
class Step:
    """One thing on AWS. `change` is MAKE, CHANGE, KEEP or REMOVE; `kind` is topic, table, queue, subscription or node.

    `do` may return why it did nothing, when things are no longer as they were looked at. It raises TransportError.
    """

    change: str
    kind: str
    name: str
    detail: str = ""
    do: Callable[[], str | None] = field(default=nothing, compare=False)


@dataclass(frozen=True)
class Plan:
    """Steps in the order in which they are done; `warnings` are lines for whoever is to agree."""

    collective: str
    account: Account
    steps: Sequence[Step]
    warnings: Sequence[str] = ()

    @property
    def changes(self) -> list[Step]:
        """The steps that would change something."""
        return [step for step in self.steps if step.change != KEEP]
