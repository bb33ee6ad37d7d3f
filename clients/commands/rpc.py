"""`crpc AGENT ACTION [KEY=VALUE …]`: one request to many nodes; all that is shown comes from the DDL."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile
from typing import TYPE_CHECKING

from collective.clients import apps, options
from collective.clients.commands import COMMANDS
from collective.clients.confirmation import confirmation
from collective.clients.input_files import Sources
from collective.clients.inputs import ask_secrets, read_inputs
from collective.clients.parser import Parser
from collective.clients.results import add_showing, present, show_sent
from collective.errors import UsageError
from collective.suggestions import suggest

if TYPE_CHECKING:
    from collective.catalog import Catalog
    from collective.ddl import Action
    from collective.fleet.call import Call
    from collective.fleet.fleet import Fleet


def run(arguments: Sequence[str]) -> int:
    """Hand over to an extra verb of the agent; else check everything, send, and show the replies."""
    verb = apps.verbs(arguments[0]).get(arguments[1]) if len(arguments) > 1 else None
    if verb is not None:
        return verb.run(arguments[2:])
    parser = make_parser()
    if not {"-h", "--help"}.isdisjoint(arguments):
        return _help(parser, list(takewhile(lambda word: not word.startswith("-"), arguments))[:2])
    given = parser.parse_args(arguments)
    return perform(given, given.words)


def make_parser(prog: str = "crpc AGENT ACTION", usage: str = "crpc AGENT ACTION [KEY=VALUE ...] [options]") -> Parser:
    """Return a parser of all that a request may be given; `words` are those that are no options."""
    parser = Parser(prog, usage=usage)
    parser.add_argument("words", nargs="*", help="agent, action and inputs: 'crpc describe AGENT' tells what there is")
    options.add_targets(parser)
    options.add_running(parser)
    options.add_rollout(parser)
    add_showing(parser)
    return parser


def perform(given: argparse.Namespace, words: Sequence[str]) -> int:
    """Send what `words` say, and show the replies; return the exit code of what became of the nodes."""
    with sent(given, words) as (call, fleet):
        return show_sent(call, fleet) if given.no_results else present(call, given, fleet)


@contextmanager
def sent(given: argparse.Namespace, words: Sequence[str]) -> Iterator[tuple[Call, Fleet]]:
    """Check agent, action and inputs (`words`), and send; yield the call and the fleet that it is made to."""
    config = options.client_config(given)

    from collective.catalog import Catalog

    catalog = Catalog(config.ddls)
    action = _action(catalog, words)
    sources = Sources()
    data = read_inputs(words[2:], action, sources)
    if sys.stdin.isatty():
        data = ask_secrets(data, action)
    data = action.check_input(data)
    pace = options.pace(given)
    targets = options.targets(given, sources)

    from collective.fleet.fleet import Fleet

    with Fleet.connect(config, catalog) as fleet:
        call = fleet.call(
            action.agent,
            action.name,
            data,
            targets=targets,
            pace=pace,
            timeout=given.timeout,
            ttl=given.ttl,
            confirm=confirmation(given.yes),
        )
        yield call, fleet


def _help(parser: argparse.ArgumentParser, words: Sequence[str]) -> int:
    """Tell about the agent or action that is meant, and about the options that every request takes."""
    from collective.clients.commands import describe

    code = describe.run(words)
    sys.stdout.write("\n")
    parser.print_help()
    return code


def _action(catalog: Catalog, words: Sequence[str]) -> Action:
    """Return the action that is meant; raise UsageError, guessing what was meant by a word that is unknown."""
    agent, *rest = words
    if agent not in catalog.paths and (meant := suggest(agent, COMMANDS)):
        raise UsageError(f"there is neither an agent nor a command '{agent}': {meant}")
    known = catalog.ddl(agent).actions
    if not rest:
        raise UsageError(f"{agent}: which action? It has {', '.join([*known, *apps.verbs(agent)])}")
    if rest[0] not in known and (meant := suggest(rest[0], apps.verbs(agent))):
        raise UsageError(f"{agent} has no action '{rest[0]}': {meant}")
    return catalog.action(agent, rest[0])
