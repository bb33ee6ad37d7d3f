"""The options of a step's call: those of the command line, read by the same parser, so that they mean the same.

targets: {with_fact: [role=web]}     --with-fact role=web
pace: {waves: [1, rest]}             --waves 1,rest
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from collective.clients.request_parser import make_parser
from collective.errors import UsageError

if TYPE_CHECKING:
    from collective.catalog import Catalog
    from collective.clients.prepared_call import PreparedCall
    from collective.config import ClientConfig

_NOT_OPTIONS = ("agent", "action", "inputs", "targets", "pace")
# What the command line of `crpc playbook run` decides for all of its calls.
_SHARED = (
    "config",
    "target",
    "debug",
    "verbose",
    "quiet",
    "color",
    "no_save",
    "yes",
    "no_group",
    "from_variables",
    "notify",
)


def prepared(
    body: Mapping[str, Any], shared: argparse.Namespace, config: ClientConfig, catalog: Catalog, **repeat: Any
) -> tuple[argparse.Namespace, PreparedCall]:
    """Return the options and the call of a `call`, whose expressions are resolved; `repeat` are until, every and for.

    Raises UsageError or an RPCError as `crpc AGENT ACTION` does.
    """
    from collective.clients.commands import rpc

    args = arguments(body, shared, **repeat)
    action = catalog.action(body["agent"], body["action"])
    call = rpc.prepare_action(args, action, body.get("inputs", {}), config, catalog)
    return args, replace(call, targets=with_nodes(call.targets, body.get("targets", {}).get("nodes")))


def check_options(body: Mapping[str, Any], shared: argparse.Namespace, catalog: Catalog, **repeat: Any) -> None:
    """Raise UsageError or an RPCError for wrong options of a call; its inputs are not looked at."""
    from collective.clients import job_options, options, rollout_checks, rollout_options
    from collective.clients.commands import rpc
    from collective.clients.repeating_options import check_repeating

    args = arguments(body, shared, **repeat)
    action = catalog.action(body["agent"], body["action"])
    rpc.check_dry_run(args, action)
    check_repeating(args, action)
    with_nodes(options.targets(args), body.get("targets", {}).get("nodes"))
    rollout_options.pace(args)
    rollout_checks.hooks(args, catalog)
    rollout_checks.gates(args)
    job_options.background(args)


def arguments(body: Mapping[str, Any], shared: argparse.Namespace, **repeat: Any) -> argparse.Namespace:
    """Return the options of a call as the parser of requests returns them. Raises UsageError."""
    parser = make_parser()
    targets = {name: value for name, value in body.get("targets", {}).items() if name != "nodes"}
    others = {name: value for name, value in body.items() if name not in _NOT_OPTIONS}
    words = [body["agent"], body["action"]]
    for name, value in {**targets, **body.get("pace", {}), **others, **repeat}.items():
        option = f"--{name.replace('_', '-')}"
        words += _words(option, value, parser.options[option])
    args = parser.parse_args(words)
    for name in _SHARED:
        setattr(args, name, getattr(shared, name, getattr(args, name, None)))
    if repeat:
        args.notify = []  # the end of the playbook is notified of
    if "reason" not in body:
        args.reason = getattr(shared, "reason", None) or args.reason
    return args


def with_nodes(targets: Any, nodes: Any) -> Any:
    """Return targets limited to a list of names; None: not limited. Raises UsageError."""
    from collective.fleet.targets import Targets

    if nodes is None:
        return targets
    if isinstance(nodes, str):
        nodes = [nodes]
    if not isinstance(nodes, list) or not all(isinstance(name, str) for name in nodes):
        raise UsageError("nodes: must be a list of names")
    kept = (targets.method, targets.discovery_timeout, targets.limit, targets.limit_seed, targets.sets)
    return Targets(targets.filter, nodes, *kept)


def _words(option: str, value: Any, described: argparse.Action) -> Iterator[str]:
    """Yield the words of an option for a value of YAML."""
    if described.nargs == 0:
        if not isinstance(value, bool):
            raise UsageError(f"{option}: must be true or false, not '{value}'")
        if value:
            yield option
        return
    values = value if isinstance(value, list) else [value]
    for one in values:
        if isinstance(one, (bool, dict, list)) or one is None:
            raise UsageError(f"{option}: must be a string or a number, not '{one}'")
    if isinstance(described.default, list):  # it may be repeated
        yield from (f"{option}={one}" for one in values)
    else:
        yield f"{option}={','.join(map(str, values))}"
