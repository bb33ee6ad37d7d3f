"""The command line of a request, `crpc AGENT ACTION …`: all options of a call.

It is apart from `commands/rpc.py`, so that completion in the shell need not wait for what sends and prints.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from collective.clients import (
    detached,
    job_options,
    options,
    repeating_options,
    rollout_checks,
    rollout_options,
    rollout_plan,
)
from collective.clients.completed_by import completed_by
from collective.clients.notify_options import add_notify
from collective.clients.parser import Parser
from collective.clients.view_options import add_views

_EXAMPLES = (
    "crpc rpcutil ping",
    "crpc package status package=bash -F role=web",
    "crpc rpcutil get_fact fact=role --limit 2 -o table",
    "crpc rpcutil daemon_stats --batch 50% --batch-sleep 1 --max-fail 1",
    "crpc rpcutil daemon_stats --waves 1,50%,rest --max-fail 1",
    "crpc rpcutil daemon_stats --waves 1,rest --gate 'reply:statuscode=0' --before 'rpcutil ping'",
)


def make_parser(
    prog: str = "crpc AGENT ACTION",
    usage: str = "crpc AGENT ACTION [KEY=VALUE ...] [options]",
    description: str | None = "Send a request to many nodes and print the replies.",
    examples: Sequence[str] = _EXAMPLES,
    words: str = "agent, action and inputs ('crpc describe AGENT' lists them)",
) -> Parser:
    """Return the parser of a request; `words` describes the words that are not options."""
    parser = Parser(prog, usage=usage, description=description, examples=examples)
    argument = parser.add_argument("words", nargs="*", help=words if usage != argparse.SUPPRESS else argparse.SUPPRESS)
    completed_by("request", argument)
    options.add_targets(parser)
    options.add_dry_run(parser)
    options.add_running(parser)
    rollout_options.add_reason(parser)
    rollout_options.add_rollout(parser)
    rollout_checks.add_options(parser)
    rollout_plan.add_options(parser)
    detached.add_option(parser)
    job_options.add_options(parser)
    add_notify(parser)
    repeating_options.add_repeating(parser)
    group = add_views(parser)
    group.add_argument("--no-results", action="store_true", help="print the request id, do not wait for replies")
    return parser
