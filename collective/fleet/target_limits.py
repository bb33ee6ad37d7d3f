"""Of the nodes that were found: which are reached, and whether anybody meant so many."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

from collective.errors import TooManyTargets, UsageError
from collective.fleet.rollout import Amount, AmountLike, read_amount

# Asks somebody whether the nodes that it is given are meant.
Confirm = Callable[[list[str]], bool]


def read_limit(limit: AmountLike, seed: int | None) -> Amount | None:
    """Return how many nodes a caller wants at most, None for all; raise UsageError for what makes no sense."""
    if limit is not None:
        return read_amount("limit", limit)
    if seed is not None:
        raise UsageError("limit_seed: only a limit chooses nodes at random: say how many")
    return None


def choose(nodes: Iterable[str], limit: Amount, seed: int | None = None) -> list[str]:
    """Return some of `nodes`, sorted, chosen at random: with the same seed the same, whatever order they come in.

    With one seed a larger limit chooses those of a smaller one, and more.
    """
    names = sorted(nodes)
    drawn = list(names)
    random.Random(seed).shuffle(drawn)  # noqa: S311 - a choice that can be repeated, not a secret
    return sorted(drawn[: limit.floor(len(names))])


def check_meant(nodes: list[str], everybody: bool, most: int, confirm: Confirm | None) -> None:
    """Raise TooManyTargets when nobody said that all these nodes are meant.

    `everybody`: they were not chosen in any way. More than `most` (0: any number) are refused where nobody can
    `confirm` them.
    """
    count = len(nodes)
    too_many = 0 < most < count
    if confirm is None and too_many:
        raise TooManyTargets(count, f"max_targets allows {most}: narrow the targets, or raise it in client.yaml")
    if confirm is not None and (everybody or too_many) and not confirm(nodes):
        raise TooManyTargets(count, "not confirmed")
