"""Print changes of packages with a summary of versions at the end, as MCollective's application `package` does."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from collective.clients.results import CallOutput

if TYPE_CHECKING:
    from collections.abc import Mapping

    from collective.clients.apps import ExtraVerb
    from collective.clients.render.view import Screen
    from collective.fleet.call import Call

_SUMMARIZED = frozenset({"install", "update", "uninstall", "purge"})
VERBS: Mapping[str, ExtraVerb] = {}


class PackageOutput(CallOutput):
    """The results of an action that changes a package."""

    def write_text(self, screen: Screen) -> None:
        """Write the replies, and the summary of versions."""
        from collective.clients.apps._package_console import PackageConsole

        self.show_on(PackageConsole(screen, self.view))


def call_output(call: Call, args: argparse.Namespace) -> CallOutput:
    """Return the output of a call of the agent."""
    return PackageOutput(call, args) if call.action.name in _SUMMARIZED else CallOutput(call, args)
