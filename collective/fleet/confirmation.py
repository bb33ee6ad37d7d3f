"""Require confirmation before an action that is not idempotent runs on many nodes."""

from __future__ import annotations

from collections.abc import Callable

from collective.errors import TooManyTargets

# Ask for confirmation to reach the given nodes; return whether it was given.
Confirm = Callable[[list[str]], bool]


def require_confirmation(nodes: list[str], unrestricted: bool, max_targets: int, confirm: Confirm | None) -> None:
    """Raise TooManyTargets when the call may not reach `nodes`.

    `unrestricted`: the nodes are the whole collective. More than `max_targets` (0: no limit) are refused when there
    is no `confirm` to call; with one, they need its confirmation, and so does the whole collective.
    """
    count = len(nodes)
    too_many = 0 < max_targets < count
    if confirm is None and too_many:
        raise TooManyTargets.by_limit(count, max_targets)
    if confirm is not None and (unrestricted or too_many) and not confirm(nodes):
        raise TooManyTargets(count, "not confirmed")
