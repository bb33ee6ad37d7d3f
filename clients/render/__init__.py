"""How results look: on a terminal, and as JSON.

    console    replies, summaries, the finishing line: what people read
    progress   the bar on standard error
    rows       one row per node, as a table or CSV
    document   one JSON document, or one line per event: what programs read
    describe   what an agent can do, from its DDL
    text       what they share: safe characters, colour, values in words

Each takes values and writes text to a stream that it is given; none knows the command line.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from collective.ddl import Action
from collective.fleet.outcomes import Outcomes
from collective.messages import Reply


class CallView(Protocol):
    """One finished call: who was asked for what, and what became of it. Durations are milliseconds."""

    @property
    def request_id(self) -> str:
        """The id of the request: 32 hexadecimal digits."""

    @property
    def request_ids(self) -> list[str]:
        """The ids of all its requests: a rollout sends one for each wave."""

    @property
    def stopped(self) -> str:
        """Why it ended before all nodes had been sent to and waited for; empty when that is not so."""

    @property
    def cut_short(self) -> bool:
        """Whether silent nodes were still at work when somebody stopped waiting for them."""

    @property
    def agent(self) -> str:
        """The agent that was asked."""

    @property
    def action(self) -> Action:
        """The action, as its DDL describes it."""

    @property
    def collective(self) -> str:
        """The name of the collective."""

    @property
    def caller(self) -> str:
        """Who asked."""

    @property
    def outcomes(self) -> Outcomes:
        """What became of every node."""

    @property
    def started(self) -> float:
        """When the call began: Unix seconds."""

    @property
    def discovery_ms(self) -> float:
        """How long it took to find out whom to expect."""

    @property
    def total_ms(self) -> float:
        """How long the whole call took, discovery included."""


def ordered(replies: Iterable[Reply], by_identity: bool) -> list[Reply]:
    """Return `replies` as they came, or sorted by the identity of their senders."""
    return sorted(replies, key=lambda reply: reply.sender) if by_identity else list(replies)
