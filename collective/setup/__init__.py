"""Create and remove what a collective needs on AWS, and clean up after nodes that are gone.

    creation   what is missing or differs? ─┐
    removal    what exists?                 ├─► a plan of steps ─► shown and confirmed ─► step.do(), one by one
    pruning    which nodes are gone?       ─┘

Making a plan changes nothing. Every step is idempotent, so a plan that failed half-way is made and executed again.
Steps run one at a time, which stays below the rate limits of SNS (100 Subscribe/s) and SQS (see `transport/sqs.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from collective.aws.account import Account

MAKE, CHANGE, KEEP, REMOVE = "make", "change", "keep", "remove"


def nothing() -> None:
    """Do nothing: the step for something that needs no change."""


@dataclass(frozen=True)
class Step:
    """The change of one resource.

    `change` is MAKE, CHANGE, KEEP or REMOVE; `kind` is topic, table, queue, rule, subscription or node. `do` executes
    the step. It returns None, or the reason why it changed nothing because the resource has changed since the plan was
    made. It raises TransportError.
    """

    change: str
    kind: str
    name: str
    detail: str = ""
    do: Callable[[], str | None] = field(default=nothing, compare=False)


@dataclass(frozen=True)
class Plan:
    """Steps in the order of their execution, and warnings to show before the confirmation."""

    collective: str
    account: Account
    steps: Sequence[Step]
    warnings: Sequence[str] = ()

    @property
    def changes(self) -> list[Step]:
        """The steps that change something."""
        return [step for step in self.steps if step.change != KEEP]
