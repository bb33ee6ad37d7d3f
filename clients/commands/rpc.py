"""`crpc AGENT ACTION [KEY=VALUE …]`: one request to many nodes; all that is shown comes from the DDL."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from collective.clients import options
from collective.clients.commands import COMMANDS
from collective.clients.guard import confirmation
from collective.clients.inputs import ask_secrets, read_inputs
from collective.clients.results import add_showing, present, show_sent
from collective.clients.sources import Sources
from collective.errors import UsageError
from collective.suggestions import suggest


def run(arguments: Sequence[str]) -> int:
    """Check everything, send, show the replies; return the exit code of what became of the nodes."""
    parser = options.Parser("crpc AGENT ACTION", usage="crpc AGENT ACTION [KEY=VALUE ...] [options]")
    parser.add_argument("words", nargs="*", help="agent, action and inputs: 'crpc describe AGENT' tells what there is")
    options.add_targets(parser)
    options.add_running(parser)
    options.add_rollout(parser)
    add_showing(parser)
    given = options.parse(parser, arguments)
    config = options.client_config(given)

    from collective.catalog import Catalog

    catalog = Catalog(config.ddls)
    agent, *rest = given.words
    if agent not in catalog.paths and (meant := suggest(agent, COMMANDS)):
        raise UsageError(f"there is neither an agent nor a command '{agent}': {meant}")
    if not rest:
        raise UsageError(f"{agent}: which action? It has {', '.join(catalog.ddl(agent).actions)}")
    action = catalog.action(agent, rest[0])
    sources = Sources()
    data = read_inputs(rest[1:], action, sources)
    if sys.stdin.isatty():
        data = ask_secrets(data, action)
    data = action.check_input(data)
    targets = options.targets(given, sources)
    rollout = options.rollout(given)

    from collective.fleet.fleet import Fleet

    with Fleet.connect(config, catalog) as fleet:
        call = fleet.call(
            agent,
            action.name,
            data,
            filter=targets.filter,
            nodes=targets.nodes,
            method=targets.method,
            discovery_timeout=targets.timeout,
            timeout=given.timeout,
            ttl=given.ttl,
            confirm=confirmation(given.yes),
            **rollout,
        )
        return show_sent(call, fleet) if given.no_results else present(call, given, fleet)
