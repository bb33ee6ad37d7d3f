"""`crpc apply ID|FILE`: run a saved plan, if nothing that it was made for has changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collective.clients import detached, options, run_records
from collective.clients.commands import COMMANDS
from collective.clients.completed_by import completed_by
from collective.clients.confirmation import Confirmation
from collective.clients.notify_options import add_notify, notifier
from collective.clients.parser import Parser
from collective.clients.plan_summary import call_line, find_plan, read_plan, step_lines
from collective.clients.prepared_call import hand_over, start
from collective.clients.results import CallOutput, present
from collective.clients.rollout_checks import read_gates
from collective.clients.streams import notice
from collective.clients.view_options import add_views
from collective.config import KEY_NONE, ClientConfig
from collective.errors import PlanRefused

if TYPE_CHECKING:
    from collective.fleet.fleet import Fleet
    from collective.fleet.plan import CallPlan
    from collective.signing import SignPayload


def make_parser() -> Parser:
    """Return the parser of `crpc apply`."""
    parser = Parser(
        "crpc apply",
        description=f"{COMMANDS['apply']}.\n\nThe nodes and their order, the DDL and the agent versions must be "
        "those of the plan, which the key of this caller must have signed; else nothing is sent and the exit code is "
        "4. --save-plan writes a plan.",
        examples=[
            "crpc rpcutil daemon_stats -F role=web --waves 1,rest --save-plan plan.json",
            "crpc apply plan.json",
        ],
    )
    plan = parser.add_argument("plan", metavar="ID|FILE", help="a file of --save-plan, or a request of 'crpc request'")
    completed_by("file", plan)
    parser.add_argument(
        "--planner",
        metavar="FILE.pub",
        type=options.path,
        help="run a plan that the owner of this public key has signed",
    )
    parser.add_argument("--allow-drift", action="store_true", help="run the plan on the nodes that match now")
    parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    detached.add_option(parser)
    add_notify(parser)
    add_views(parser)
    options.add_saving(parser)
    options.add_target(parser)
    return parser


def run(arguments: Sequence[str]) -> int:
    """Compare the plan with what it would be now, send it, print the replies, and return the exit code."""
    args = make_parser().parse_args(arguments)
    detached.check(args)

    from collective.fleet.plan import drift

    config = options.client_config(args)
    document = read_plan(find_plan(args.plan, config), config)
    sign = _verified(document, config, args.planner)
    notifying = notifier(args, config)

    from collective.fleet.fleet import Fleet

    with Fleet.connect(config, sign=sign) as fleet:
        plan = _plan_again(fleet, document)
        changes = drift(document, plan, fleet.surroundings(plan).versions)
        if changes and not args.allow_drift:
            raise PlanRefused(f"{'; '.join(changes)} (make a new plan, or use --allow-drift)")
        for change in changes:
            notice(f"plan: {change}")
        if not args.quiet:
            _show(document, plan)
        confirmation = Confirmation(plan.action, plan.data, config.max_targets, config.type_above)
        if args.detach:
            return hand_over(args, fleet, plan, confirmation)
        call = start(args, fleet, plan, confirmation, run_records.recorder(args, fleet, plan), notifying)
        with notifying.following(call):
            return present(CallOutput(call, args), call, fleet)


def _verified(document: Mapping[str, Any], config: ClientConfig, planner: Path | None) -> SignPayload | None:
    """Raise PlanRefused unless the right key has signed the plan; return what signs requests (None: not loaded yet).

    The caller's key is loaded once, so that its passphrase is prompted for once.
    """
    from collective.fleet.plan_signature import check
    from collective.signing import caller_key, sshsig

    if planner:
        check(document, caller_key.public_key(planner), "the key in --planner")
        return None
    if config.key == KEY_NONE:
        check(document, None, "this caller")
        return None
    own = caller_key.choose(config.key)
    check(document, own.public, "this caller's key")
    return sshsig.signing_with(own.signer)


def _show(document: Mapping[str, Any], plan: CallPlan) -> None:
    """Write what is about to run to standard error."""
    for line in (call_line(document, plan.nodes), *step_lines(document)):
        notice(f"plan: {line}")


def _plan_again(fleet: Fleet, document: Mapping[str, Any]) -> CallPlan:
    """Return the saved call as it would be planned now."""
    from collective.fleet.background import Background
    from collective.fleet.pace import Pace
    from collective.fleet.plan import saved_targets
    from collective.fleet.steps import Hooks

    hooks = {name: fleet.hook(**hook) for name, hook in document["hooks"].items()}
    plan = fleet.plan(
        document["agent"],
        document["action"],
        document["data"],
        targets=saved_targets(document),
        pace=Pace(**document["pace"]),
        timeout=document["timeout"],
        ttl=document["ttl"],
        hooks=Hooks(**hooks),
    )
    background = Background(**document["background"]) if document["background"] else None
    plan = replace(plan, gates=read_gates(**document["gates"]), background=background, reason=document["reason"])
    approval = document["approval"]
    return replace(plan, approvals=approval) if approval["signatures"] else plan
