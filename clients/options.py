"""The options that several commands share: targets, running, rolling out; and the values that they stand for.

    add_targets(parser)        which nodes        targets(args) -> Targets
    add_running(parser)        timeouts
    add_rollout(parser)        how fast           pace(args) -> Pace
    add_target(parser)         -T alone, for commands that select no nodes
    client_config(args)        client.yaml, with the collective of -T
    catalog(args)              the DDLs of the configuration

The options of every command (`--config`, `--output`, …) are in `parser.py`.
"""

from __future__ import annotations

import argparse
import re
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from collective.clients.node_lists import CHOICES
from collective.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from collective.catalog import Catalog
    from collective.clients.input_files import Sources
    from collective.clients.parser import Parser
    from collective.config import ClientConfig
    from collective.fleet.pace import Pace
    from collective.fleet.targets import Targets


def add_target(parser: Parser, group: argparse._ActionsContainer | None = None) -> None:
    """Add `-T`; `COLLECTIVE_TARGET` is its environment variable."""
    (group or parser).add_argument(
        "-T", "--target", metavar="NAME", help="use another collective of the configuration ($COLLECTIVE_TARGET)"
    )
    parser.read_variable("target", "COLLECTIVE_TARGET")


def add_targets(parser: Parser) -> None:
    """Add the options that select nodes."""
    from collective.fleet.amounts import Amount, read_amount

    group = parser.add_argument_group("target options")

    def repeated(*names: str, **settings: Any) -> None:
        group.add_argument(*names, action="append", default=[], **settings)

    repeated("-F", "--with-fact", metavar="EXPR", help="nodes with a fact: role=web, cpus>=4, os=~^Debian")
    repeated("-C", "--with-class", metavar="NAME", help="nodes with a class; a name or /regex/")
    repeated("-A", "--with-agent", metavar="NAME", help="nodes with an agent; a name or /regex/")
    repeated("-I", "--with-identity", metavar="NAME", help="nodes by identity: a name, /regex/ or web[01-20].my.net")
    repeated("-W", "--with", dest="with_", metavar="'A B'", help="facts and classes, separated by spaces")
    group.add_argument(
        "-S", "--select", metavar="EXPR", help="an expression of facts and classes with and, or, not, ()"
    )
    group.add_argument(
        "--nodes",
        metavar="FILE",
        help="read identities, one per line, or the JSON of an earlier call; -: standard input",
    )
    group.add_argument(
        "--nodes-from",
        choices=CHOICES,
        help="nodes to use from that JSON (default: ok); unreached: all without a reply",
    )
    some = group.add_mutually_exclusive_group()
    some.add_argument(
        "--limit", type=partial(read_amount, "--limit"), metavar="N|N%", help="at most N nodes, selected at random"
    )
    some.add_argument("-1", "--one", action="store_const", dest="limit", const=Amount(1), help="same as --limit 1")
    group.add_argument("--limit-seed", type=_integer, metavar="N", help="select the same nodes again for the same N")
    add_target(parser, group)
    group.add_argument(
        "--expect-all", action="store_true", help="exit 3 if known nodes were not asked because they are stale"
    )
    group.add_argument(
        "--dm", choices=("registry", "broadcast"), help="discovery method (default: registry if there is one)"
    )
    group.add_argument("--dt", type=seconds, metavar="SECONDS", help="time limit for asking nodes whether they match")


def add_running(parser: Parser) -> None:
    """Add the timeouts of a call."""
    group = parser.add_argument_group("call options")
    group.add_argument(
        "-t", "--timeout", type=seconds, metavar="SECONDS", help="how long to wait for replies ($COLLECTIVE_TIMEOUT)"
    )
    group.add_argument(
        "--ttl", type=seconds, metavar="SECONDS", help="how long nodes may start the request (60; 6 in a rollout)"
    )
    parser.read_variable("timeout", "COLLECTIVE_TIMEOUT")
    parser.read_variable("ttl", "COLLECTIVE_TTL")


def add_rollout(parser: Parser) -> None:
    """Add the options that set the pace of a rollout, and when it stops."""
    from collective.fleet.amounts import read_amount, read_count

    group = parser.add_argument_group("rollout options")
    group.add_argument(
        "--concurrency", type=partial(read_count, "--concurrency"), metavar="N", help="at most N nodes at work at once"
    )
    group.add_argument("--batch", type=partial(read_amount, "--batch"), metavar="N|N%", help="N nodes at a time")
    group.add_argument("--batch-sleep", type=seconds, metavar="SECONDS", help="pause between two batches")
    group.add_argument(
        "--max-fail",
        type=partial(read_amount, "--max-fail"),
        metavar="N|N%",
        help="stop after N failed or silent nodes",
    )
    group.add_argument("--live", action="store_true", help="show the rollout on the whole screen while it runs")
    group.add_argument("--yes", action="store_true", help="do not ask for confirmation")


def pace(args: argparse.Namespace) -> Pace:
    """Return the pace that the rollout options describe; raise UsageError for options that exclude each other."""
    from collective.fleet.pace import Pace

    if args.batch_sleep and args.batch is None:
        raise UsageError("--batch-sleep: there is no pause without batches (add --batch)")
    paced = args.concurrency or args.batch or args.max_fail
    if args.no_results and paced:
        raise UsageError("--no-results: not allowed with --concurrency, --batch or --max-fail, which need the replies")
    if args.no_results and args.live:
        raise UsageError("--no-results: not allowed with --live, which shows the replies")
    return Pace(args.concurrency, args.batch, args.batch_sleep or 0.0, args.max_fail)


def targets(args: argparse.Namespace, sources: Sources | None = None) -> Targets:
    """Return the targets that the options select; raise UsageError, pointing at the place, for invalid ones.

    `sources` reads the file of `--nodes`, and the other files of the same command line.
    """
    from collective import filters
    from collective.fleet.targets import Targets

    if args.limit_seed is not None and args.limit is None:
        raise UsageError("--limit-seed: nothing is selected at random without a limit (add --limit or --one)")
    _check_encoding(args)
    wanted = filters.parse(
        with_fact=args.with_fact,
        with_class=args.with_class,
        with_agent=args.with_agent,
        with_identity=args.with_identity,
        with_=args.with_,
        select=args.select,
    )
    nodes = None
    if args.nodes is not None:
        from collective.clients.node_lists import read_nodes

        nodes = read_nodes(args.nodes, args.nodes_from, sources)
    elif args.nodes_from is not None:
        raise UsageError(f"--nodes-from {args.nodes_from}: needs --nodes with the JSON of an earlier call")
    return Targets(wanted, nodes, args.dm, args.dt, args.limit, args.limit_seed)


def _check_encoding(args: argparse.Namespace) -> None:
    """Raise UsageError for a filter that is not UTF-8, as no request can carry it."""
    given = [
        *(("-F", text) for text in args.with_fact),
        *(("-C", text) for text in args.with_class),
        *(("-A", text) for text in args.with_agent),
        *(("-I", text) for text in args.with_identity),
        *(("-W", text) for text in args.with_),
        ("-S", args.select or ""),
    ]
    for option, text in given:
        try:
            text.encode()
        except UnicodeEncodeError:
            raise UsageError(f"{option} '{text}': not valid UTF-8") from None


def client_config(args: argparse.Namespace) -> ClientConfig:
    """Read `client.yaml`, with the collective of `-T`; an unknown collective is an error, never the default."""
    from collective.config import load_client

    config = load_client(args.config)
    if getattr(args, "expect_all", False):
        config = replace(config, expect_all=True)
    try:
        return replace(config, collective=config.known_collective(getattr(args, "target", None)))
    except UsageError as error:
        if "target" not in args.from_variables:
            raise
        raise UsageError(f"{args.from_variables['target']}: {error}") from None


def catalog(args: argparse.Namespace) -> Catalog:
    """Return the DDLs of the configuration; those of the standard agents when there is no configuration."""
    from collective.catalog import Catalog
    from collective.config import load_client

    try:
        return Catalog(load_client(args.config).ddls)
    except ConfigError:
        if args.config:
            raise
        return Catalog()


def seconds(text: str) -> float:
    """Read a duration in seconds."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 86400:
        raise argparse.ArgumentTypeError(f"invalid duration '{text}': use seconds, more than 0 and at most 86400")
    return value


def _integer(text: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,18}", text):
        raise argparse.ArgumentTypeError(f"invalid integer '{text}'")
    return int(text)
