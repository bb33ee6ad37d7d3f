"""`crpc retry [RUN]`: repeat a saved call on the nodes that did not answer OK."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from collective.clients import apps, detached, options, rollout_options, saved_runs
from collective.clients.commands import COMMANDS
from collective.clients.completed_by import completed_by
from collective.clients.confirmation import Confirmation, ask_whether
from collective.clients.inputs import ask_secrets, read_inputs
from collective.clients.notify_options import add_notify, notifier
from collective.clients.output import is_plain_text
from collective.clients.parser import Parser
from collective.clients.prepared_call import PreparedCall, connected, detach, send
from collective.clients.results import CallOutput, present, print_sent, show_results
from collective.clients.streams import notice
from collective.clients.view_options import MEMBERS, add_views, report_undeclared
from collective.errors import NoNodes, TooManyTargets, UsageError
from collective.masking import MASK
from collective.text import plural

if TYPE_CHECKING:
    from collective.config import ClientConfig
    from collective.ddl import Action
    from collective.fleet.pace import Pace
    from collective.fleet.runs.saved_run import SavedRun

_PAST = {"failed": "failed", "silent": "was silent", "skipped": "was skipped"}
_GROUPS = tuple(_PAST)


def make_parser() -> Parser:
    """Return the parser of `crpc retry`."""
    parser = Parser(
        "crpc retry",
        description=f"{COMMANDS['retry']}.\n\nThe call has the inputs, timeouts and pace of the saved run, and its "
        "nodes are those that failed, did not answer or were not reached. It is saved as a run of its own. Secrets are "
        "not saved: give them again as KEY=VALUE, or type them when asked.",
        examples=["crpc retry", "crpc retry last --failed", "crpc retry -2 --silent --skipped --batch 10"],
    )
    words = parser.add_argument(
        "words", nargs="*", metavar="RUN | KEY=VALUE", help="the saved run (default: last), and secret inputs"
    )
    completed_by("run", words)
    group = parser.add_argument_group("nodes to retry (default: all three)")
    group.add_argument("--failed", action="store_true", help="nodes that failed or could not evaluate the filter")
    group.add_argument("--silent", action="store_true", help="nodes that did not answer")
    group.add_argument("--skipped", action="store_true", help="nodes that were not sent to")
    options.add_target(parser)
    options.add_running(parser)
    rollout_options.add_reason(parser)
    rollout_options.add_rollout(parser)
    detached.add_option(parser)
    add_notify(parser)
    group = add_views(parser)
    group.add_argument("--no-results", action="store_true", help="print the request id, do not wait for replies")
    return parser


def run(arguments: Sequence[str]) -> int:
    """Repeat the call; return its exit code, or 0 if every node has answered OK before."""
    args = make_parser().parse_args(arguments)
    detached.check(args)
    wanted = [word for word in args.words if "=" not in word]
    if len(wanted) > 1:
        raise UsageError(f"unexpected argument '{wanted[1]}' (see 'crpc retry --help')")
    found, running = _find(args, wanted[0] if wanted else saved_runs.LAST)
    name = saved_runs.short(found.begin["run"])
    if running and not found.end:
        raise UsageError(f"run {name} is still running (wait for its end, or press Ctrl-C in its terminal)")
    nodes = _nodes(args, found)
    if not nodes and not _chosen(args):
        _show_nothing(args, found)
        notice(f"run {name}: nothing to retry, every node answered OK")
        return 0
    if not nodes:
        raise NoNodes(f"run {name}: no node {' or '.join(_PAST[one] for one in _chosen(args))}")
    return _send(args, found, nodes)


def _find(args: argparse.Namespace, wanted: str) -> tuple[SavedRun, bool]:
    """Return a run, and whether it was running before it was read: what it gets later would be sent again."""
    from collective.fleet.runs import saved_run

    file = saved_runs.folder(args).find(wanted)
    running = file.is_running()
    return saved_run.read(file), running


def _show_nothing(args: argparse.Namespace, found: SavedRun) -> None:
    """Print the results of no node, unless they are plain text: a document or a number is printed in any case."""
    from collective.fleet.outcomes import Outcomes
    from collective.fleet.runs.saved_call import SavedCall

    call = SavedCall(found)
    call.outcomes = Outcomes(())
    if not is_plain_text(args, [*MEMBERS, *call.action.outputs]):
        show_results(CallOutput(call, args))


def _send(args: argparse.Namespace, found: SavedRun, nodes: list[str]) -> int:
    config = options.client_config(args)
    if config.collective != found.begin["collective"]:
        args.target = found.begin["collective"]
        config = options.client_config(args)

    from collective.catalog import Catalog

    catalog = Catalog(config.ddls)
    action = catalog.action(found.begin["agent"], found.begin["action"])
    report_undeclared(args, action)  # a wrong field is an error before anything is sent
    data = _data(args, found, action)
    prepared = _prepared(args, found, config, action, data, nodes)
    if not args.quiet:
        notice(f"{saved_runs.described(found)}: retrying {plural(len(nodes), 'node')}")
    if not action.idempotent and not args.yes and not found.dry_run:
        _confirm(prepared, nodes, [node for node in nodes if node in found.silent], config)
    with connected(config, catalog) as fleet:
        if args.detach:
            return detach(args, fleet, prepared)
        call = send(args, fleet, prepared)
        if args.no_results:
            return print_sent(call, args, fleet)
        with prepared.notifier.following(call):
            return present(apps.call_output(call, args), call, fleet)


def _prepared(
    args: argparse.Namespace,
    found: SavedRun,
    config: ClientConfig,
    action: Action,
    data: dict[str, Any],
    nodes: list[str],
) -> PreparedCall:
    from collective.fleet.targets import Targets

    return PreparedCall(
        action,
        action.check_input(data),
        Targets(nodes=nodes),
        _pace(args, found),
        confirmation=Confirmation(action, data, config.max_targets, config.type_above),
        timeout=args.timeout or found.request["timeout"],
        ttl=args.ttl or found.request["ttl"],
        retry_of=found.begin["run"],
        dry_run=found.dry_run,
        reason=args.reason,
        notifier=notifier(args, config),
    )


def _chosen(args: argparse.Namespace) -> list[str]:
    return [group for group in _GROUPS if getattr(args, group)]


def _nodes(args: argparse.Namespace, found: SavedRun) -> list[str]:
    return sorted({node for group in _chosen(args) or _GROUPS for node in getattr(found, group)})


def _pace(args: argparse.Namespace, found: SavedRun) -> Pace:
    """Return the pace of the command line; without one, that of the saved run."""
    from collective.fleet.pace import AT_ONCE, Pace

    given = rollout_options.pace(args)
    saved: dict[str, Any] = found.request.get("pace") or {}
    if given != AT_ONCE or args.no_results:
        return given
    try:
        return Pace(**saved)
    except TypeError:
        name = saved_runs.short(found.begin["run"])
        raise UsageError(
            f"run {name}: its pace cannot be read (was it saved by another version? give one, such as --batch 10)"
        ) from None


def _data(args: argparse.Namespace, found: SavedRun, action: Action) -> dict[str, Any]:
    """Return the saved inputs with the secrets of the command line or the terminal; raise UsageError without them."""
    data = dict(found.request["data"])
    given = read_inputs([word for word in args.words if "=" in word], action)
    for key in given:
        if key not in action.secrets:
            raise UsageError(f"'{key}': only secrets can be given again, the other inputs are those of the run")
    data |= given
    missing = [key for key, value in data.items() if value == MASK and key in action.secrets]
    for key in missing:
        del data[key]
    if sys.stdin.isatty():
        data = ask_secrets(data, action)
    if lacking := [key for key in missing if key not in data]:
        raise UsageError(
            f"the secret '{lacking[0]}' is not saved (give it again: {lacking[0]}=…, or {lacking[0]}=@FILE)"
        )
    return data


def _confirm(prepared: PreparedCall, nodes: list[str], unanswered: list[str], config: ClientConfig) -> None:
    """Warn that nodes may have run the action; ask on a terminal. Raises TooManyTargets without confirmation."""
    if not unanswered:
        return
    count = plural(len(unanswered), "node")
    notice(f"{count} may have run the action before: sent to, and no reply")
    confirmation = Confirmation(prepared.action, prepared.data, config.max_targets)
    if sys.stdin.isatty() and not ask_whether(confirmation.question(nodes)):
        raise TooManyTargets(len(nodes), "not confirmed (use --yes to omit the question)")
