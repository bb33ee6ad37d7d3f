"""Render results as text, tables and documents.

    view            what to show (the values of the view options), and where
    records         the outcome of each node: what is selected, sorted and shown
    groups          equal replies together; differences: how they differ
    console         the text form of a call: summaries, the finishing line; replies: the replies themselves
    progress        the progress bar on standard error
    table           tables and CSV; layout: the widths of columns
    json_document   the JSON document and the events of a call
    describe        the documentation of an agent from its DDL
    formatting      colour, and values as text; width: columns of a terminal

The modules take values and write text to a stream; none depends on the command line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collective.ddl import Action
    from collective.fleet.outcomes import Outcomes


class CallView(Protocol):
    """What is printed of a finished call. Durations are milliseconds."""

    @property
    def request_id(self) -> str:
        """The id of the first request: 32 hexadecimal digits."""

    @property
    def request_ids(self) -> list[str]:
        """The ids of all requests; a rollout sends one for each wave."""

    @property
    def stopped(self) -> str:
        """Why the call ended early; empty if it did not."""

    @property
    def cut_short(self) -> bool:
        """Whether the call stopped waiting while nodes were still working."""

    @property
    def agent(self) -> str:
        """The name of the agent."""

    @property
    def action(self) -> Action:
        """The action, as described in the DDL."""

    @property
    def collective(self) -> str:
        """The name of the collective."""

    @property
    def caller(self) -> str:
        """The name of the caller."""

    @property
    def dry_run(self) -> bool:
        """Whether the nodes only reported what they would change."""

    @property
    def outcomes(self) -> Outcomes:
        """The outcome of every node."""

    @property
    def started(self) -> float:
        """When the call began, in Unix seconds."""

    @property
    def discovery_ms(self) -> float:
        """The duration of the discovery."""

    @property
    def total_ms(self) -> float:
        """The duration of the call, discovery included."""
