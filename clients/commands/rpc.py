"""`crpc AGENT ACTION [KEY=VALUE …]`: send a request to many nodes, and print the replies as the DDL describes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from collective.clients import (
    apps,
    ddl_source,
    detached,
    input_options,
    job_options,
    lookup,
    options,
    rollout_checks,
    rollout_options,
    rollout_plan,
)
from collective.clients.commands import COMMANDS
from collective.clients.confirmation import Confirmation
from collective.clients.input_files import Sources
from collective.clients.inputs import ask_secrets, read_inputs
from collective.clients.notify_options import notifier
from collective.clients.parser import examples_epilog
from collective.clients.prepared_call import PreparedCall, connected, detach, planned, send
from collective.clients.repeating_options import check_repeating, is_repeated
from collective.clients.request_parser import make_parser as make_parser
from collective.clients.streams import write
from collective.clients.view_options import report_undeclared
from collective.errors import ConfigError, UsageError
from collective.suggestions import suggest

if TYPE_CHECKING:
    from collective.catalog import Catalog
    from collective.clients.parser import Parser
    from collective.config import ClientConfig
    from collective.ddl import Action
    from collective.fleet.call import Call
    from collective.fleet.fleet import Fleet

_HELP = frozenset({"-h", "--help"})


def run(arguments: Sequence[str]) -> int:
    """Run an extra verb of the agent; or check everything, send the request, and print the replies."""
    agent, *rest = arguments
    parser = make_parser()
    name = agent.partition("@")[0]
    rest = parser.command_first(rest, apps.make_parsers(name))
    verb = apps.verbs(name).get(rest[0]) if rest else None
    if verb is not None:
        return verb.run(rest[1:])
    if not _HELP.isdisjoint(rest):
        return _print_help(parser.parse_args([agent, *(word for word in rest if word not in _HELP)]))
    words = input_options.as_words([agent, *rest], parser, lambda: _inputs(parser, [agent, *rest]))
    args = parser.parse_args(words)
    return perform(args, args.words)


def _inputs(parser: Parser, words: Sequence[str]) -> Collection[str]:
    """Return the inputs of the action in the words of a command line that may have options which are inputs."""
    given = {name: lookup.option_value(words, name, short) for name, short in (("--config", ""), ("--target", "-T"))}
    options_ = [f"{name}={value}" for name, value in given.items() if value is not None]
    catalog = options.catalog(parser.parse_args([*words[:2], *options_]), words[0])
    return _action(catalog, words[:2]).inputs


def perform(args: argparse.Namespace, words: Sequence[str]) -> int:
    """Send the request of `words` and print the replies; return the exit code of the call."""
    if rollout_plan.is_wanted(args):
        return _perform_plan(args, words)
    if getattr(args, "detach", False):
        config, catalog = configuration(args, words)
        prepared = prepare(args, words, config, catalog)
        with connected(config, catalog, prepared.targets) as fleet:
            return detach(args, fleet, prepared)
    if is_repeated(args):
        config, catalog = configuration(args, words)
        prepared = prepare(args, words, config, catalog)
        with connected(config, catalog, prepared.targets) as fleet:
            from collective.clients.repeated_call import repeat

            return repeat(args, fleet, prepared)
    from collective.clients.results import present, print_sent

    with sent(args, words) as (call, fleet):
        return print_sent(call, args, fleet) if args.no_results else present(apps.call_output(call, args), call, fleet)


def _perform_plan(args: argparse.Namespace, words: Sequence[str]) -> int:
    """Show or save the plan of `words`; send nothing."""
    config, catalog = configuration(args, words)
    prepared = prepare(args, words, config, catalog)
    with connected(config, catalog, prepared.targets) as fleet:
        return rollout_plan.present(planned(fleet, prepared), fleet, args)


@contextmanager
def sent(args: argparse.Namespace, words: Sequence[str]) -> Iterator[tuple[Call, Fleet]]:
    """Check the agent, action and inputs in `words` and send the request; yield the call and its fleet."""
    if rollout_plan.is_wanted(args):
        raise UsageError("--plan, --save-plan: not available for this command")
    config, catalog = configuration(args, words)
    prepared = prepare(args, words, config, catalog)
    with connected(config, catalog, prepared.targets) as fleet:
        call = send(args, fleet, prepared)
        with prepared.notifier.following(call):
            yield call, fleet


def configuration(args: argparse.Namespace, words: Sequence[str]) -> tuple[ClientConfig, Catalog]:
    """Return the configuration and its DDLs for the request of `words`; raise ConfigError or UsageError."""
    config = _config(args, words)

    from collective.catalog import Catalog

    catalog = Catalog(config.ddls)
    if len(words) > 1:
        ddl_source.complete(catalog, config, words[0])
    return config, catalog


def prepare(args: argparse.Namespace, words: Sequence[str], config: ClientConfig, catalog: Catalog) -> PreparedCall:
    """Check the agent, action and inputs in `words`, and the options; return the call to send."""
    action = _action(catalog, words)
    check_dry_run(args, action)
    check_repeating(args, action)
    if args.policy and not rollout_plan.is_wanted(args):
        raise UsageError("--policy: has no effect without --plan")
    detached.check(args)
    if not rollout_plan.is_wanted(args):  # whose fields are those of the plan
        report_undeclared(args, action)  # a wrong field is an error before anything is sent
    sources = Sources()
    data = read_inputs(words[2:], action, sources)
    if sys.stdin.isatty():
        data = ask_secrets(data, action)
    return prepare_action(args, action, data, config, catalog, sources)


def prepare_action(
    args: argparse.Namespace,
    action: Action,
    data: Mapping[str, Any],
    config: ClientConfig,
    catalog: Catalog,
    sources: Sources | None = None,
) -> PreparedCall:
    """Check the inputs of an action, and the options; return the call to send."""
    return PreparedCall(
        action,
        action.check_input(data),
        pace=rollout_options.pace(args),
        targets=options.targets(args, sources),
        confirmation=Confirmation(action, data, config.max_targets, config.type_above),
        timeout=args.timeout,
        ttl=args.ttl,
        dry_run=args.dry_run and not args.plan,
        hooks=rollout_checks.hooks(args, catalog),
        gates=rollout_checks.gates(args, action),
        max_cost=args.max_cost,
        background=job_options.background(args),
        reason=args.reason,
        notifier=notifier(args, config),
    )


def _print_help(args: argparse.Namespace) -> int:
    """Print the help page of an agent or of one of its actions."""
    from collective.clients.commands.describe import text_width
    from collective.clients.render.describe import describe_action, describe_agent, example, usage

    catalog = options.catalog(args, args.words[0])
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
    if not catalog.has(agent) and (hint := lookup.hint(agent, ())):
        raise UsageError(f"there is neither an agent nor a command '{agent}' ({hint})")


def check_dry_run(args: argparse.Namespace, action: Action) -> None:
    """Raise NoDryRun if the action has no dry run, and UsageError if its report would not be shown."""
    if args.dry_run:
        action.require_dry_run()
        if args.no_results:
            raise UsageError("--no-results: not allowed with --dry-run, whose report is in the replies")
        if args.save_plan:
            raise UsageError("--save-plan: not allowed with --dry-run (the plan would be applied for real)")


def _action(catalog: Catalog, words: Sequence[str]) -> Action:
    """Return the action of the first two words; raise UsageError, with a suggestion, for an unknown one."""
    agent, *rest = words
    _check_agent(catalog, agent)
    actions, verbs = catalog.ddl(agent).actions, apps.verbs(agent.partition("@")[0])
    if not rest:
        raise UsageError(f"{agent}: action missing (it has {', '.join(dict.fromkeys([*actions, *verbs]))})")
    if rest[0] not in actions and (hint := suggest(rest[0], verbs)):
        raise UsageError(f"{agent} has no action '{rest[0]}' ({hint})")
    return catalog.action(agent, rest[0])
