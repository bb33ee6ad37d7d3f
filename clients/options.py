"""The options that commands share, as the contract groups them: targets, running, showing."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from collective.errors import UsageError
from collective.suggestions import suggest

if TYPE_CHECKING:
    from collective.clients.input_files import Sources
    from collective.config import ClientConfig
    from collective.fleet.pace import Pace
    from collective.fleet.targets import Targets


class Once(argparse.Action):
    """Store an option's value; an option that is said twice is a mistake: neither value may win in silence."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Take the value that was given."""
        said = vars(namespace).setdefault("_said", set())
        if option_string and self.dest in said:
            parser.error(f"{option_string} is said twice")
        said.add(self.dest)
        setattr(namespace, self.dest, values)


class Parser(argparse.ArgumentParser):
    """argparse's, with our one line and exit code for what it refuses, and no guessing of shortened options."""

    def __init__(self, prog: str, **settings: Any) -> None:
        super().__init__(prog=prog, allow_abbrev=False, **settings)
        self.register("action", None, Once)
        self._see_help = f"see '{prog} --help'"
        self.add_argument("--config", type=Path, metavar="FILE", help="instead of the usual client.yaml")
        self.add_argument("--debug", action="store_true", help="show a traceback when something goes wrong")
        self.add_argument("-v", "--verbose", action="store_true", help="say more")

    def add_subparsers(self, **settings: Any) -> Any:
        """Have verbs, whose own parsers leave alone what was said before the verb."""
        return super().add_subparsers(parser_class=VerbParser, **settings)

    def error(self, message: str) -> NoReturn:
        """Refuse a command line."""
        unknown = re.fullmatch(r"unrecognized arguments: (-[^ =]*).*", message, re.DOTALL)
        hint = suggest(unknown[1], self._option_string_actions) if unknown else ""
        raise UsageError(f"{message}: {hint or self._see_help}")


class VerbParser(Parser):
    """A verb's: an option of every command that is not said after the verb keeps what was said before it."""

    def __init__(self, prog: str, **settings: Any) -> None:
        super().__init__(prog, **settings)
        for action in self._actions:  # those alone: a verb's own options, which have defaults, are added later
            action.default = argparse.SUPPRESS


def add_targets(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which nodes are meant."""
    group = parser.add_argument_group("targets")
    group.add_argument("-F", "--with-fact", action="append", default=[], metavar="EXPR", help="fact=value, <, >=, =~ …")
    group.add_argument("-C", "--with-class", action="append", default=[], metavar="NAME", help="a class, or /regex/")
    group.add_argument("-A", "--with-agent", action="append", default=[], metavar="NAME", help="nodes with this agent")
    group.add_argument(
        "-I",
        "--with-identity",
        action="append",
        default=[],
        metavar="NAME",
        help="name, /regex/ or web[01-20].my.net",
    )
    group.add_argument(
        "-W", "--with", action="append", default=[], dest="with_", metavar="'A B'", help="facts and classes"
    )
    group.add_argument("-S", "--select", metavar="EXPR", help="and, or, not, parentheses, facts and classes")
    group.add_argument(
        "--nodes", metavar="FILE", help="names, one a line, or an earlier call's JSON; '-': standard input"
    )
    group.add_argument(
        "--nodes-from",
        choices=("ok", "failed", "silent", "all"),
        help="which nodes of the JSON (default: ok)",
    )
    group.add_argument("-T", "--target", metavar="NAME", help="another collective that the configuration knows")
    group.add_argument("--dm", choices=("registry", "broadcast"), help="where the expected nodes come from")
    group.add_argument("--dt", type=seconds, metavar="SECONDS", help="how long a broadcast discovery may take")


def add_running(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how a call runs."""
    group = parser.add_argument_group("running")
    group.add_argument("-t", "--timeout", type=seconds, metavar="SECONDS", help="how long to wait for replies")
    group.add_argument(
        "--ttl", type=seconds, metavar="SECONDS", help="how long the request stays valid (60; 6 when rolling out)"
    )


def add_rollout(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which of the nodes are reached, how fast, and when to stop."""
    from collective.fleet.amounts import Amount, read_amount, read_count

    group = parser.add_argument_group("rolling out")
    some = group.add_mutually_exclusive_group()
    some.add_argument(
        "--limit", type=partial(read_amount, "--limit"), metavar="N|N%", help="some of the nodes, chosen at random"
    )
    some.add_argument("-1", "--one", action="store_const", dest="limit", const=Amount(1), help="one of the nodes")
    group.add_argument("--limit-seed", type=_seed, metavar="N", help="the same number chooses the same nodes")
    group.add_argument(
        "--concurrency", type=partial(read_count, "--concurrency"), metavar="N", help="so many nodes at work at most"
    )
    group.add_argument("--batch", type=partial(read_amount, "--batch"), metavar="N|N%", help="so many nodes at a time")
    group.add_argument("--batch-sleep", type=seconds, metavar="SECONDS", help="pause between two batches")
    group.add_argument(
        "--max-fail",
        type=partial(read_amount, "--max-fail"),
        metavar="N|N%",
        help="reach nobody further once so many failed or stayed silent",
    )
    group.add_argument("--yes", action="store_true", help="do not ask whether so many nodes are meant")


def pace(options: argparse.Namespace) -> Pace:
    """Return the pace that the options of `add_rollout` describe; raise UsageError for options that conflict."""
    from collective.fleet.pace import Pace

    if options.limit_seed is not None and options.limit is None:
        raise UsageError("--limit-seed: only a limit chooses nodes at random: add --limit or --one")
    if options.batch_sleep and options.batch is None:
        raise UsageError("--batch-sleep: there is a pause between batches only: add --batch")
    paced = options.concurrency or options.batch or options.max_fail
    if options.no_results and paced:
        raise UsageError("--no-results: nobody would wait to send on: leave out --concurrency, --batch and --max-fail")
    return Pace(options.concurrency, options.batch, options.batch_sleep or 0.0, options.max_fail)


def add_json(parser: argparse._ActionsContainer) -> None:
    """Add the option that has a command write for programs."""
    parser.add_argument("-j", "--json", action="store_true", help="one JSON document")


def targets(options: argparse.Namespace, sources: Sources | None = None) -> Targets:
    """Read the target options; raise UsageError, pointing at the place, for what cannot be read.

    `sources` reads the file of names, and those of the rest of the command line.
    """
    from collective import filters
    from collective.fleet.targets import Targets

    wanted = filters.parse(
        with_fact=options.with_fact,
        with_class=options.with_class,
        with_agent=options.with_agent,
        with_identity=options.with_identity,
        with_=options.with_,
        select=options.select,
    )
    nodes = None
    if options.nodes is not None:
        from collective.clients.node_lists import read_nodes

        nodes = read_nodes(options.nodes, options.nodes_from, sources)
    elif options.nodes_from is not None:
        raise UsageError(f"--nodes-from {options.nodes_from}: of which call? --nodes names its JSON")
    limit, seed = getattr(options, "limit", None), getattr(options, "limit_seed", None)
    return Targets(wanted, nodes, options.dm, options.dt, limit, seed)


def client_config(options: argparse.Namespace) -> ClientConfig:
    """Read `client.yaml`, with the collective that `-T` names; an unknown one is an error, never the default."""
    from collective.config import load_client

    config = load_client(options.config)
    return replace(config, collective=config.known_collective(getattr(options, "target", None)))


def seconds(text: str) -> float:
    """Read a duration given on the command line."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 86400:
        raise argparse.ArgumentTypeError(f"'{text}' is no number of seconds between 0 and 86400")
    return value


def _seed(text: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,18}", text):
        raise argparse.ArgumentTypeError(f"'{text}' is no whole number")
    return int(text)


def parse(parser: Parser, arguments: Sequence[str], before: argparse.Namespace | None = None) -> argparse.Namespace:
    """Parse with words and options in any order; what was found `before` is kept."""
    return parser.parse_intermixed_args(arguments, before)
