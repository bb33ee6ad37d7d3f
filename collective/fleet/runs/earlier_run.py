"""What another caller has reached of a run, for the caller that goes on with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from collective.messages import Reply


@dataclass(frozen=True)
class EarlierRun:
    """The nodes that were reached, and the replies of those that have answered.

    `ended` is True for a node that is OK, False for one that failed, None for a silent one. No node is asked again.
    """

    run: str
    ended: Mapping[str, bool | None]
    replies: Sequence[Reply] = ()
