"""`crpc AGENT ACTION [KEY=VALUE …]`: send a request to many nodes, and print the replies as the DDL describes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from collective.clients import apps, options
from collective.clients.commands import COMMANDS
from collective.clients.confirmation import Confirmation
from collective.clients.input_files import Sources
from collective.clients.inputs import ask_secrets, read_inputs
from collective.clients.parser import Parser, examples_epilog
from collective.clients.results import CallOutput, add_showing, present, print_sent
from collective.clients.streams import write
from collective.errors import ConfigError, UsageError
from collective.suggestions import suggest

if TYPE_CHECKING:
    from collective.catalog import Catalog
    from collective.config import ClientConfig
    from collective.ddl import Action
    from collective.fleet.call import Call
    from collective.fleet.fleet import Fleet

_HELP = frozenset({"-h", "--help"})


_EXAMPLES = (
    "crpc rpcutil ping",
    "crpc package status package=bash -F role=web",
    "crpc rpcutil get_fact fact=role --limit 2 -o table",
    "crpc rpcutil daemon_stats --batch 50% --batch-sleep 1 --max-fail 1",
)


def make_parser(
    prog: str = "crpc AGENT ACTION",
    usage: str = "crpc AGENT ACTION [KEY=VALUE ...] [options]",
    description: str | None = "Send a request to many nodes and print the replies.",
    examples: Sequence[str] = _EXAMPLES,
) -> Parser:
    """Return the parser of a request; `words` are the words that are not options."""
    parser = Parser(prog, usage=usage, description=description, examples=examples)
    words = "agent, action and inputs ('crpc describe AGENT' lists them)"
    parser.add_argument("words", nargs="*", help=words if usage != argparse.SUPPRESS else argparse.SUPPRESS)
    options.add_targets(parser)
    options.add_running(parser)
    options.add_rollout(parser)
    add_showing(parser)
    return parser


def run(arguments: Sequence[str]) -> int:
    """Run an extra verb of the agent; or check everything, send the request, and print the replies."""
    agent, *rest = arguments
    parser = make_parser()
    rest = parser.command_first(rest, apps.make_parsers(agent))
    verb = apps.verbs(agent).get(rest[0]) if rest else None
    if verb is not None:
        return verb.run(rest[1:])
    if not _HELP.isdisjoint(rest):
        return _print_help(parser.parse_args([agent, *(word for word in rest if word not in _HELP)]))
    args = parser.parse_args([agent, *rest])
    return perform(args, args.words)


def perform(args: argparse.Namespace, words: Sequence[str]) -> int:
    """Send the request of `words` and print the replies; return the exit code of the call."""
    with sent(args, words) as (call, fleet):
        return print_sent(call, args, fleet) if args.no_results else present(CallOutput(call, args), fleet)


@contextmanager
def sent(args: argparse.Namespace, words: Sequence[str]) -> Iterator[tuple[Call, Fleet]]:
    """Check the agent, action and inputs in `words` and send the request; yield the call and its fleet."""
    config = _config(args, words)

    from collective.catalog import Catalog

    catalog = Catalog(config.ddls)
    action = _action(catalog, words)
    sources = Sources()
    data = read_inputs(words[2:], action, sources)
    if sys.stdin.isatty():
        data = ask_secrets(data, action)
    confirmation = Confirmation(action, data, config.max_targets)
    data = action.check_input(data)
    pace = options.pace(args)
    targets = options.targets(args, sources)

    from collective.fleet.fleet import Fleet

    with Fleet.connect(config, catalog) as fleet:
        call = fleet.call(
            action.agent,
            action.name,
            data,
            targets=targets,
            pace=pace,
            timeout=args.timeout,
            ttl=args.ttl,
            confirm=confirmation.confirm(args.yes),
        )
        yield call, fleet


def _print_help(args: argparse.Namespace) -> int:
    """Print the help page of an agent or of one of its actions."""
    from collective.clients.commands.describe import text_width
    from collective.clients.render.describe import describe_action, describe_agent, example, usage

    catalog = options.catalog(args)
    if len(args.words) < 2:
        agent = args.words[0]
        _check_agent(catalog, agent)
        verbs = {name: verb.about for name, verb in apps.verbs(agent).items()}
        page = describe_agent(catalog.ddl(agent), text_width(), verbs)
        head, tail = (
            f"crpc {agent} ACTION [KEY=VALUE ...] [options]",
            f"'crpc {agent} ACTION --help' lists the options.\n",
        )
    else:
        action = _action(catalog, args.words)
        page = describe_action(action, text_width())
        parser = make_parser(usage=argparse.SUPPRESS, description=None)
        parser.epilog = examples_epilog([example(action)])
        head, tail = usage(action), parser.format_help()
    write(f"usage: {head}\n\n{page}\n{tail}")
    return 0


def _config(args: argparse.Namespace, words: Sequence[str]) -> ClientConfig:
    """Return the configuration; raise ConfigError, or UsageError for a mistake that needs none to be found."""
    try:
        return options.client_config(args)
    except ConfigError:
        from collective.catalog import Catalog

        standard = Catalog()
        if words[0] in standard.paths or suggest(words[0], {*COMMANDS, *standard.paths}):
            _action(standard, words)
        raise


def _check_agent(catalog: Catalog, agent: str) -> None:
    if not catalog.has(agent) and (hint := suggest(agent, COMMANDS)):
        raise UsageError(f"there is neither an agent nor a command '{agent}' ({hint})")


def _action(catalog: Catalog, words: Sequence[str]) -> Action:
    """Return the action of the first two words; raise UsageError, with a suggestion, for an unknown one."""
    agent, *rest = words
    _check_agent(catalog, agent)
    actions, verbs = catalog.ddl(agent).actions, apps.verbs(agent)
    if not rest:
        raise UsageError(f"{agent}: action missing (it has {', '.join(dict.fromkeys([*actions, *verbs]))})")
    if rest[0] not in actions and (hint := suggest(rest[0], verbs)):
        raise UsageError(f"{agent} has no action '{rest[0]}' ({hint})")
    return catalog.action(agent, rest[0])
