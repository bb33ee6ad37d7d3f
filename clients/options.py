"""The options that several commands share: targets and running; and the values that they stand for.

    add_targets(parser)        which nodes        targets(args) -> Targets
    add_running(parser)        timeouts           recorder(args, config) -> CallRecord
    add_dry_run(parser)        whether to change anything
    add_target(parser)         -T alone, for commands that select no nodes
    client_config(args)        client.yaml, with the collective of -T
    catalog(args)              the DDLs of the configuration

The options of every command (`--config`, `--output`, …) are in `parser.py`, those of a rollout in
`rollout_options.py`.
"""

from __future__ import annotations

import argparse
import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collective import durations
from collective.clients.completed_by import completed_by
from collective.clients.node_lists import CHOICES, is_set, read_nodes
from collective.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from collective.catalog import Catalog
    from collective.clients.input_files import Sources
    from collective.clients.parser import Parser
    from collective.config import ClientConfig
    from collective.fleet.node_sets import NodeSet
    from collective.fleet.recording import CallRecord
    from collective.fleet.runs.folder import RunFolder
    from collective.fleet.targets import Targets


def add_target(parser: Parser, group: argparse._ActionsContainer | None = None) -> None:
    """Add `-T`; `COLLECTIVE_TARGET` is its environment variable."""
    option = (group or parser).add_argument(
        "-T", "--target", metavar="NAME", help="use another collective of the configuration ($COLLECTIVE_TARGET)"
    )
    completed_by("collective", option)
    parser.read_variable("target", "COLLECTIVE_TARGET")


def add_targets(parser: Parser) -> None:
    """Add the options that select nodes."""
    from collective.fleet.amounts import Amount, read_amount

    group = parser.add_argument_group("target options")

    def repeated(kind: str, *names: str, **settings: Any) -> None:
        completed_by(kind, group.add_argument(*names, action="append", default=[], **settings))

    repeated("fact_test", "-F", "--with-fact", metavar="EXPR", help="nodes with a fact: role=web, cpus>=4, os=~^Debian")
    repeated("class", "-C", "--with-class", metavar="NAME", help="nodes with a class; a name or /regex/")
    repeated("node_agent", "-A", "--with-agent", metavar="NAME", help="nodes with an agent; a name or /regex/")
    identity = "nodes by identity: a name, /regex/, web[01-20].my.net, or groups: @web!web07.my.net"
    repeated("node", "-I", "--with-identity", metavar="NAME", help=identity)
    both = "facts and classes, separated by spaces"
    repeated("facts_and_classes", "-W", "--with", dest="with_", metavar="'A B'", help=both)
    select = group.add_argument(
        "-S", "--select", metavar="EXPR", help="an expression of facts and classes with and, or, not, ()"
    )
    completed_by("expression", select)
    group.add_argument(
        "--nodes",
        metavar="FILE",
        help="read identities and groups, one per line, or the JSON of an earlier call; -: standard input",
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
        "--dm",
        choices=("registry", "broadcast", "ec2"),
        help="discovery method (default: registry if there is one); ec2: nodes on EC2 instances, and instances without",
    )
    group.add_argument("--dt", type=seconds, metavar="DURATION", help="time limit for asking nodes whether they match")


def add_max_age(parser: Parser) -> None:
    """Add `--max-age`."""
    parser.add_argument(
        "--max-age",
        type=seconds,
        metavar="DURATION",
        help="use what was read from the registry with this option at most so long ago: 60, 5m",
    )


def add_running(parser: Parser, *, saves: bool = True) -> None:
    """Add the timeouts of a call, and `--no-save` unless it is never saved."""
    group = parser.add_argument_group("call options")
    group.add_argument(
        "-t",
        "--timeout",
        type=seconds,
        metavar="DURATION",
        help="how long to wait for replies: 30, 2m ($COLLECTIVE_TIMEOUT)",
    )
    group.add_argument(
        "--ttl", type=seconds, metavar="DURATION", help="how long nodes may start the request (60; 6 in a rollout)"
    )
    if saves:
        add_saving(group)
    parser.read_variable("timeout", "COLLECTIVE_TIMEOUT")
    parser.read_variable("ttl", "COLLECTIVE_TTL")


def add_dry_run(parser: Parser) -> None:
    """Add `-n`."""
    parser.add_argument(
        "-n", "--dry-run", action="store_true", help="have the nodes report what they would change, and change nothing"
    )


def add_saving(group: argparse._ActionsContainer) -> None:
    """Add `--no-save`."""
    group.add_argument("--no-save", action="store_true", help="do not save this call for crpc runs, show and retry")


def recorder(args: argparse.Namespace, config: ClientConfig, retry_of: str | None = None) -> CallRecord:
    """Return what saves a call; it saves nothing with `--no-save`, with `save_runs: false`, and without that option.

    `retry_of` is the ID of the run that the call retries.
    """
    from collective.fleet.recording import NO_RECORD

    if getattr(args, "no_save", True) or not config.save_runs:
        return NO_RECORD
    from collective.fleet.runs.recorder import RunRecorder

    return RunRecorder(run_folder(config), retry_of=retry_of)


def run_folder(config: ClientConfig) -> RunFolder:
    """Return the folder of saved runs."""
    from collective.fleet.runs.folder import RunFolder

    return RunFolder(config.state / "runs", config.runs_days, config.runs_megabytes)


def targets(args: argparse.Namespace, sources: Sources | None = None) -> Targets:
    """Return the targets that the options select; raise UsageError, pointing at the place, for invalid ones.

    `sources` reads the file of `--nodes`, and the other files of the same command line.
    """
    from collective import filters
    from collective.fleet.targets import Targets

    if args.limit_seed is not None and args.limit is None:
        raise UsageError("--limit-seed: nothing is selected at random without a limit (add --limit or --one)")
    _check_encoding(args)
    sets = _sets(args)
    wanted = filters.parse(
        with_fact=args.with_fact,
        with_class=args.with_class,
        with_agent=args.with_agent,
        with_identity=args.with_identity if sets is None else (),
        with_=args.with_,
        select=args.select,
    )
    nodes = None
    if args.nodes is None and args.nodes_from is not None:
        raise UsageError(f"--nodes-from {args.nodes_from}: needs --nodes with the JSON of an earlier call")
    if args.nodes is not None:
        listed = read_nodes(args.nodes, args.nodes_from, sources)
        if any(map(is_set, listed)):
            sets = _with_list(sets, listed, args)
        else:
            nodes = listed
    return Targets(wanted, nodes, args.dm, args.dt, args.limit, args.limit_seed, sets)


def _sets(args: argparse.Namespace) -> NodeSet | None:
    """Return the set of all `-I` together if one of them has an operator or a group, else None."""
    from collective.fleet.node_sets import is_expression

    if not any(map(is_expression, args.with_identity)):
        return None
    from collective.clients import node_groups

    return node_groups.read(args.with_identity, client_config(args))


def _with_list(sets: NodeSet | None, lines: list[str], args: argparse.Namespace) -> NodeSet:
    """Return the nodes of the file of `--nodes` that are also in the set of `-I`, if there is one."""
    from collective.clients import node_groups
    from collective.fleet.node_sets import CombinedNodes

    listed = node_groups.read(lines, client_config(args), "--nodes")
    return listed if sets is None else CombinedNodes("&", sets, listed)


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
    """Read `client.yaml` for the collective of `-T`; an unknown collective is an error, never the default."""
    from collective.config import load_client

    try:
        config = load_client(args.config, getattr(args, "target", None))
    except UsageError as error:
        if "target" not in args.from_variables:
            raise
        raise UsageError(f"{args.from_variables['target']}: {error}") from None
    # `--dm ec2` asks which instances are not nodes, so that one without a daemon is not success.
    every = getattr(args, "expect_all", False) or getattr(args, "dm", None) == "ec2"
    return replace(config, expect_all=True) if every else config


def catalog(args: argparse.Namespace, agent: str | None = None) -> Catalog:
    """Return the DDLs of the configuration; those of the standard agents when there is no configuration.

    The DDL of `agent` is fetched from a node if it is missing.
    """
    from collective.catalog import Catalog

    try:
        config = client_config(args)
    except ConfigError:
        if args.config:
            raise
        return Catalog()
    found = Catalog(config.ddls)
    if agent is not None and not found.has(agent):
        from collective.clients import ddl_source

        ddl_source.complete(found, config, agent)
    return found


def seconds(text: str) -> float:
    """Read a duration: a number of seconds, or one with a unit such as `2m`."""
    try:
        return durations.read_wait(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def path(text: str) -> Path:
    """Read the name of a file."""
    if not text:
        raise argparse.ArgumentTypeError("the name of a file must not be empty")
    return Path(text)


def _integer(text: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,18}", text):
        raise argparse.ArgumentTypeError(f"invalid integer '{text}'")
    return int(text)
