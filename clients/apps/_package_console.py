"""The text form of a change of packages: the replies, and a summary of versions instead of counts."""

from __future__ import annotations

from collections import Counter

from collective.clients.render import CallView
from collective.clients.render.console import Console
from collective.clients.render.view import Screen
from collective.clients.results import CallOutput
from collective.clients.streams import write
from collective.text import escape_controls


class PackageConsole(Console):
    """Ends with the summary of versions; with `-v` with all statistics, as for other agents."""

    def show_end(self, call: CallView, *, verbose: bool = False) -> None:
        """Write the summary of versions, and the missing nodes."""
        if verbose:
            super().show_end(call, verbose=True)
        else:
            write(summary(call), self._screen.stream)
            self.show_missing(call)


class PackageOutput(CallOutput):
    """The results of an action that changes a package."""

    def write_text(self, screen: Screen) -> None:
        """Write the replies, and the summary of versions."""
        self.show_on(PackageConsole(screen, self.view))


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
