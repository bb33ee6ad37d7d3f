"""Print changes of packages with a summary of versions at the end, as MCollective's application `package` does."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from collective.clients.apps import ExtraVerb
    from collective.clients.results import CallOutput
    from collective.fleet.call import Call

_SUMMARIZED = frozenset({"install", "update", "uninstall", "purge"})
VERBS: Mapping[str, ExtraVerb] = {}


def call_output(call: Call, args: argparse.Namespace) -> CallOutput:
    """Return the output of a call of the agent."""
    from collective.clients.apps._package_console import PackageOutput
    from collective.clients.results import CallOutput

    return PackageOutput(call, args) if call.action.name in _SUMMARIZED else CallOutput(call, args)
