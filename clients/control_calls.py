"""Call an action of the agent `control` for a command that prints the replies like those of every action."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from collective.clients import options
from collective.clients.parser import Parser
from collective.clients.results import CallOutput, present
from collective.clients.single_call import open_call
from collective.clients.view_options import add_views


def add_options(parser: Parser) -> None:
    """Add the options of targets, timeouts and results."""
    options.add_targets(parser)
    options.add_running(parser)
    add_views(parser)


def control(args: argparse.Namespace, action: str, data: Mapping[str, Any]) -> int:
    """Call the action, print the replies, and return the exit code."""
    with open_call(args, action, data, agent="control") as (call, fleet):
        return present(CallOutput(call, args), call, fleet)
