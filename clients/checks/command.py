"""`crpc check nodes`, `queues`, `replies` and `registry`: plug-ins of Nagios, also for Prometheus."""

from __future__ import annotations

import argparse
from pathlib import Path

from collective.clients import options, output
from collective.clients.checks.thresholds import Threshold, read_threshold
from collective.clients.nagios import CHECKS
from collective.clients.parser import Parser
from collective.clients.streams import write
from collective.errors import UsageError

_ABOUT = {
    "nodes": ("Check that the nodes in the registry are alive", "stale and invalid nodes", "0", "5"),
    "queues": ("Check that nodes read their queues", "unread messages in the longest node queue", "10", "100"),
    "replies": ("Check that callers read their replies", "messages in the longest reply queue", "1000", "10000"),
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
        "2 (CRITICAL) or 3 (UNKNOWN: the check failed). With --format prometheus it is 0 or 3.",
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
    parser.add_argument("--format", choices=("nagios", "prometheus"), default="nagios", help="default: nagios")
    options.add_target(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Measure and print; return the exit code for Nagios. Errors are raised, and UNKNOWN for the caller."""
    if Path(args.verb).is_dir():
        raise UsageError(f"'{args.verb}' is a check and a folder (use './{args.verb}' or another working directory)")
    if "output" in args.from_variables:
        args.output = "text"
    if not output.is_plain_text(args, ()):
        raise UsageError(f"check {args.verb}: output options are not supported (use --format)")

    from collective.clients.checks import forms, measures

    config = options.client_config(args)
    measure = {
        "nodes": measures.nodes,
        "queues": measures.queues,
        "replies": measures.replies,
        "registry": measures.registry,
    }
    measured = measure[args.verb](config)
    state = forms.state_of(measured, args.warning, args.critical)
    if args.format == "prometheus":
        write(forms.as_prometheus(args.verb, config.collective, measured, state))
        return 0
    thresholds = {"warning": args.warning, "critical": args.critical}
    write(forms.as_nagios(args.verb, measured, state, thresholds))
    return state


def _threshold(text: str) -> Threshold:
    try:
        return read_threshold(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
