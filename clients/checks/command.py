"""`crpc check nodes` and the other checks of a collective: plug-ins of Nagios, also for Prometheus and Cacti."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from collective.clients import options, output
from collective.clients.checks.thresholds import Threshold, read_threshold
from collective.clients.nagios import CHECKS, UNKNOWN
from collective.clients.parser import Parser
from collective.clients.streams import notice, write
from collective.errors import TransportError, UsageError
from collective.path_checks import is_folder

if TYPE_CHECKING:
    from collective.clients.checks.measures import Measured
    from collective.config import ClientConfig

_ABOUT = {
    "nodes": ("Check that the nodes in the registry are alive", "stale and invalid nodes", "0", "5"),
    "queues": ("Check that nodes read their queues", "unread messages in the longest node queue", "10", "100"),
    "replies": ("Check that callers read their replies", "messages in the longest reply queue", "1000", "10000"),
    "requests": ("Check that no request waits for long", "seconds that the oldest unread request waits", "300", "900"),
    "orphans": ("Check that each node queue has a node", "node queues without a node in the registry", "0", "20"),
    "registry": ("Check that the registry can be read", "seconds that a read takes", "2", "10"),
}


def make_parsers() -> dict[str, Parser]:
    """Return the parser of each check."""
    return {name: _make_parser(name) for name in CHECKS}


def _make_parser(name: str) -> Parser:
    about, what, warning, critical = _ABOUT[name]
    parser = Parser(
        f"crpc check {name}",
        description=f"{about}.\n\nThe thresholds apply to the number of {what}. The exit code is 0 (OK), 1 (WARNING), "
        "2 (CRITICAL) or 3 (UNKNOWN: the check failed). With --format prometheus and cacti it is 0 or 3.",
        examples=[f"crpc check {name}", f"crpc check {name} -w 20 -c 50 --format prometheus"],
    )
    for letter, word, default in (("w", "warning", warning), ("c", "critical", critical)):
        parser.add_argument(
            f"-{letter}",
            f"--{word}",
            type=_threshold,
            default=read_threshold(default),
            metavar="RANGE",
            help=f"{word} outside this range: 10, 10:, ~:10, 10:20; inside: @10:20 (default: {default})",
        )
    parser.add_argument("--format", choices=("nagios", "prometheus", "cacti"), default="nagios", help="default: nagios")
    options.add_target(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Measure and print; return the exit code for Nagios. Errors are raised, and UNKNOWN for the caller."""
    if is_folder(Path(args.verb)):
        raise UsageError(f"'{args.verb}' is a check and a folder (use './{args.verb}' or another working directory)")
    if "output" in args.from_variables:
        args.output = "text"
    if not output.is_plain_text(args, ()):
        raise UsageError(f"check {args.verb}: output options are not supported (use --format)")

    config = options.client_config(args)
    return _as_plugin(args, config) if args.format == "nagios" else _as_values(args, config)


def _as_plugin(args: argparse.Namespace, config: ClientConfig) -> int:
    """Print the line of a Nagios plug-in."""
    from collective.clients.checks import forms

    measured = _measured(args.verb, config)
    state = forms.state_of(measured, args.warning, args.critical)
    write(forms.as_nagios(args.verb, measured, state, {"warning": args.warning, "critical": args.critical}))
    return state


def _as_values(args: argparse.Namespace, config: ClientConfig) -> int:
    """Print values for a program that draws them; if AWS cannot be read, only the state, which is then unknown."""
    from collective.clients.checks import forms
    from collective.clients.checks.measures import Measured

    try:
        measured = _measured(args.verb, config)
        state = forms.state_of(measured, args.warning, args.critical)
    except TransportError as error:
        notice(f"check {args.verb}: {error}")
        measured, state = Measured({}, ""), UNKNOWN
    if args.format == "prometheus":
        write(forms.as_prometheus(args.verb, config.collective, measured, state, time.time()))
    else:
        write(forms.as_cacti(measured, state))
    return UNKNOWN if state == UNKNOWN else 0


def _measured(check: str, config: ClientConfig) -> Measured:
    from collective.clients.checks import measures, unread

    measure = {
        "nodes": measures.nodes,
        "queues": measures.queues,
        "replies": measures.replies,
        "requests": unread.requests,
        "orphans": measures.orphans,
        "registry": measures.registry,
    }
    return measure[check](config)


def _threshold(text: str) -> Threshold:
    try:
        return read_threshold(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
