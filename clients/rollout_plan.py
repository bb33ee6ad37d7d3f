"""Show what a call would do, save it in a file, and check what it costs, before anything is sent.

crpc package update package=openssl -C web --waves 1,rest --plan

package update package=openssl on 12 nodes (web[01-12])
  wave 1: 1 node: web01
  wave 2: 11 nodes: web[02-12]
  not asked: web13 (last seen 3 days ago)
  about 52 requests, $0.00002
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collective.clients import options
from collective.clients.render.formatting import in_words
from collective.clients.streams import notice
from collective.durations import in_words as in_time
from collective.errors import PlanRefused, UsageError
from collective.exit_codes import NO_NODES
from collective.nodesets import fold
from collective.text import escape_controls, plural

if TYPE_CHECKING:
    from collections.abc import Mapping

    from collective.clients.parser import Parser
    from collective.ddl import Action
    from collective.fleet.fleet import Fleet
    from collective.fleet.plan import CallPlan
    from collective.fleet.plan_surroundings import Surroundings
    from collective.setup.cost import CallCost

_COLUMNS = ("wave", "rank", "node")


def add_options(parser: Parser) -> None:
    """Add the options that show, save or limit a plan."""
    group = parser.add_argument_group("plan options")
    group.add_argument("--plan", action="store_true", help="show nodes, waves and cost; send nothing")
    group.add_argument(
        "--save-plan", type=Path, metavar="FILE", help="write the plan to a new file for 'crpc apply'; send nothing"
    )
    group.add_argument(
        "--policy",
        type=options.path,
        action="append",
        default=[],
        metavar="FILE",
        help="with --plan, a copy of the nodes' policy: show which nodes would refuse; repeated: other policies",
    )
    group.add_argument("--max-cost", type=_dollars, metavar="DOLLARS", help="send nothing if it costs more than this")


def is_wanted(args: argparse.Namespace) -> bool:
    """Return whether the options ask for the plan instead of the call."""
    return bool(args.plan or args.save_plan)


def check_cost(plan: CallPlan, fleet: Fleet, most: float | None) -> None:
    """Raise PlanRefused when a plan costs more than `most` US dollars."""
    if most is None:
        return
    cost = _cost(plan, fleet.surroundings(plan), fleet)
    if cost.dollars > most:
        raise PlanRefused(f"it costs about {_price(cost.dollars)}, --max-cost is {_price(most)}")


def present(plan: CallPlan, fleet: Fleet, args: argparse.Namespace) -> int:
    """Print a plan, and save it if asked to; return the exit code."""
    around = fleet.surroundings(plan)
    cost = _cost(plan, around, fleet)
    if args.save_plan:
        write_new(args.save_plan, saved_document(plan, around, fleet), "--save-plan")
    from collective.clients.expected_duration import expected_seconds
    from collective.clients.output import Output, show
    from collective.clients.plan_forecast import forecast

    seconds = expected_seconds(plan, options.run_folder(fleet.config))
    found = forecast(plan, fleet, args.policy, dry_run=args.dry_run)
    document = {**_document(plan, around, cost, fleet), "expected_seconds": seconds, **found.document()}
    rows = [(number, wave.rank, node) for number, wave in enumerate(plan.waves, start=1) for node in wave.nodes]
    text = _text(plan, around, cost, seconds) + found.text()
    show(args, Output("rollout-preview", document, _COLUMNS, rows, lambda: text))
    if args.save_plan and not args.quiet:
        notice(f"plan saved: run it with 'crpc apply {args.save_plan}'")
    return found.exit_code if plan.nodes else NO_NODES


def saved_document(plan: CallPlan, around: Surroundings, fleet: Fleet, valid: float | None = None) -> dict[str, Any]:
    """Return the signed document of a plan, whose approvals are valid for `valid` seconds (default: a day)."""
    from collective.fleet.approvals import EXPIRES
    from collective.fleet.plan import saved
    from collective.signing import PLAN_NAMESPACE, caller_key

    sign = caller_key.signing(fleet.config.key, namespace=PLAN_NAMESPACE)
    return saved(plan, around.versions, fleet.parties(), time.time(), sign, valid or EXPIRES)


def write_new(path: Path, document: Mapping[str, Any], option: str) -> None:
    """Write a plan to a new file; raise UsageError, naming the option."""
    try:
        with path.open("x", encoding="utf-8") as file:
            json.dump(document, file, indent=2)
            file.write("\n")
    except FileExistsError:
        raise UsageError(f"{option} '{path}': the file exists (choose another name, or remove it)") from None
    except OSError as error:
        raise UsageError(f"{option} '{path}': {error.strerror}") from None


def _cost(plan: CallPlan, around: Surroundings, fleet: Fleet) -> CallCost:
    from collective.prices import USUALLY_DIRECT
    from collective.setup.cost import call_cost

    limit = fleet.config.direct_limit
    direct = USUALLY_DIRECT if limit is None else limit
    if plan.action.secrets & plan.data.keys():
        direct = max(len(plan.nodes), 1)
    steps = 1 + len(plan.hooks.named())
    return call_cost([len(wave.nodes) for wave in plan.waves] * steps, around.nodes or len(plan.nodes), direct)


def _document(plan: CallPlan, around: Surroundings, cost: CallCost, fleet: Fleet) -> dict[str, Any]:
    return {
        "collective": fleet.config.collective,
        "agent": plan.action.agent,
        "action": plan.action.name,
        "data": plan.action.masked(plan.data),
        "nodes": list(plan.nodes),
        "waves": [{"rank": wave.rank, "nodes": list(wave.nodes)} for wave in plan.waves],
        "pace": plan.pace.to_data(),
        "hooks": {name: _call(hook.action, hook.data) for name, hook in plan.hooks.named().items()},
        "gates": [gate.name for gate in plan.gates.gates],
        "background": plan.background.to_data() if plan.background else None,
        "timeout": plan.timeout,
        "ttl": plan.ttl,
        "not_asked": dict(plan.found.not_asked),
        "not_evaluated": dict(plan.found.not_evaluated),
        "silent": list(plan.found.silent),
        "excluded": dict(around.excluded),
        "other_versions": around.other_versions,
        "cost": {"requests": cost.requests, "publishes": cost.publishes, "dollars": cost.dollars},
    }


def _text(plan: CallPlan, around: Surroundings, cost: CallCost, seconds: float | None) -> str:
    """Return the plan as lines of text."""
    from collective.clients.plan_forecast import reason_lines
    from collective.clients.plan_summary import job_line

    lines = [f"{_call(plan.action, plan.data)} on {_counted(plan.nodes)}"]
    if len(plan.waves) > 1:
        for number, wave in enumerate(plan.waves, start=1):
            rank = f" ({wave.rank})" if wave.rank else ""
            lines.append(f"  wave {number}{rank}: {_counted(wave.nodes)}")
    if plan.background:
        lines.append(f"  {job_line(plan.background.to_data())}")
    pace = plan.pace.to_data()
    lines += [f"  {name.replace('_', '-')}: {_setting(value)}" for name, value in pace.items()]
    lines += [f"  {name}: {_call(hook.action, hook.data)}" for name, hook in plan.hooks.named().items()]
    lines += [f"  gate: {gate.name}" for gate in plan.gates.gates]
    lines += reason_lines("not asked", plan.found.not_asked)
    lines += reason_lines("not asked", around.excluded)
    lines += reason_lines("cannot evaluate the filter", plan.found.not_evaluated)
    if plan.found.silent:
        lines.append(f"  did not answer whether they match: {fold(plan.found.silent)}")
    others = {
        name: f"agent version {version}, the DDL is {around.version}" for name, version in around.other_versions.items()
    }
    lines += reason_lines("other version", others)
    if seconds is not None:
        lines.append(f"  about {in_time(max(seconds, 1))}, as in earlier runs")
    publishes = f" and {plural(cost.publishes, 'publish', 'publishes')}" if cost.publishes else ""
    lines.append(f"  about {plural(cost.requests, 'request')}{publishes}, {_price(cost.dollars)}")
    return "\n".join(escape_controls(line) for line in lines) + "\n"


def _call(action: Action, data: Mapping[str, Any]) -> str:
    """Return an action with its inputs, secrets masked; without those that have the default of the DDL."""
    typed = {name: value for name, value in data.items() if value != action.inputs.get(name, {}).get("default")}
    inputs = [f"{name}={in_words(value)}" for name, value in action.masked(typed).items()]
    return escape_controls(" ".join([action.agent, action.name, *inputs]))


def _counted(nodes: Any) -> str:
    return f"{plural(len(nodes), 'node')} ({fold(nodes)})" if nodes else "0 nodes"


def _setting(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value)


def _price(dollars: float) -> str:
    return f"${dollars:,.2f}" if dollars >= 0.1 else f"${dollars:.6f}".rstrip("0").rstrip(".")


def _dollars(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:
        raise argparse.ArgumentTypeError(f"invalid amount '{text}': use US dollars, such as 0.05")
    return value
