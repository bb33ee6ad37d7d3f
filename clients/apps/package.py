"""Print changes of packages with a summary of versions at the end, as MCollective's application `package` does."""

from __future__ import annotations

import argparse
from collections import Counter
from typing import TYPE_CHECKING

from collective.clients.results import CallOutput
from collective.clients.streams import write
from collective.text import escape_controls

if TYPE_CHECKING:
    from collections.abc import Mapping

    from collective.clients.apps import ExtraVerb
    from collective.clients.render import CallView
    from collective.clients.render.view import Screen
    from collective.fleet.call import Call

_SUMMARIZED = frozenset({"install", "update", "uninstall", "purge"})
VERBS: Mapping[str, ExtraVerb] = {}


class PackageOutput(CallOutput):
    """The results of an action that changes a package."""

    def write_text(self, screen: Screen) -> None:
        """Write the replies, and the summary of versions."""
        from collective.clients.render.console import Console

        class PackageConsole(Console):
            """Ends with the summary of versions instead of counts."""

            def show_end(self, call: CallView, *, verbose: bool = False) -> None:
                """Write the summary of versions, and the missing nodes."""
                if verbose:
                    super().show_end(call, verbose=True)
                else:
                    write(summary(call), screen.stream)
                    self.show_missing(call)

        self.show_on(PackageConsole(screen, self.view))


def call_output(call: Call, args: argparse.Namespace) -> CallOutput:
    """Return the output of a call of the agent."""
    return PackageOutput(call, args) if call.action.name in _SUMMARIZED else CallOutput(call, args)


def summary(call: CallView) -> str:
    """Return the summary: expected nodes that answered, versions with their number of nodes, and the duration.

    `Nodes: 3 / 3`, `Versions: 3 * 4.2.6-3.el5`, `Elapsed Time: 16.33 s`
    """
    outcomes = call.outcomes
    versions = Counter(str(reply.data["ensure"]) for reply in outcomes.replies.values() if "ensure" in reply.data)
    counted = ", ".join(f"{count} * {version}" for version, count in versions.most_common()) or "none"
    return (
        "\n---- package agent summary ----\n"
        f"           Nodes: {outcomes.answered} / {len(outcomes.expected)}\n"
        f"        Versions: {escape_controls(counted)}\n"
        f"    Elapsed Time: {call.total_ms / 1000:.2f} s\n\n"
    )
