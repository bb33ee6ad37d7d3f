"""The work of the steps `call` and `wait`: one call of `Fleet` each, or the same again until the nodes are there."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING, Any

from collective import durations
from collective.clients import options, rollout_plan
from collective.clients.playbooks import call_options
from collective.clients.playbooks.definition import PlaybookStep
from collective.clients.playbooks.expressions import resolved, secret
from collective.clients.playbooks.progress import PlaybookProgress
from collective.clients.playbooks.results import GROUPS, StepResult, of_nodes, problem
from collective.clients.playbooks.saved_state import PlaybookState
from collective.clients.playbooks.scope import StepScope
from collective.clients.prepared_call import PreparedCall, planned, start
from collective.clients.repeated_call import RoundClock, Until, exit_code_until
from collective.clients.run_records import recorder
from collective.errors import NoNodes, UsageError
from collective.exit_codes import FAILED, OK
from collective.fleet.recording import NO_RECORD, NoRecord
from collective.fleet.steering.mirrored_record import MirroredRecord
from collective.fleet.targets import Targets
from collective.masking import texts
from collective.nodesets import fold_any
from collective.text import plural

if TYPE_CHECKING:
    from collective.ddl import Action
    from collective.fleet.call import Call
    from collective.fleet.fleet import Fleet
    from collective.fleet.outcomes import Outcomes
    from collective.fleet.pace import Pace

_INTERRUPTED = "interrupted"
_EVERY = 5.0  # seconds between two looks of a wait
_AT_MOST = 600.0  # seconds that a wait takes


class NodeWork:
    """Calls actions on nodes for the steps of one run. `args` are the options of `crpc playbook run`."""

    def __init__(
        self,
        args: argparse.Namespace,
        fleet: Fleet,
        state: PlaybookState,
        progress: PlaybookProgress,
        clock: RoundClock,
    ) -> None:
        self._args = args
        self._fleet = fleet
        self._state = state
        self._progress = progress
        self._clock = clock
        self._opening = Lock()  # one call after the other: a question may be asked
        self._calls: list[Call] = []
        self.outcomes: dict[str, str] = {}  # of each node, in the last call to it
        self._ok: dict[str, dict[str, Any]] = {}  # OK replies of earlier attempts, by key and node

    def stop(self, reason: str) -> None:
        """Let no open call send to further nodes."""
        for call in list(self._calls):
            if not call.closed:
                call.stop(reason)

    def call(self, step: PlaybookStep, scope: StepScope, key: str) -> StepResult:
        """Call an action on the nodes that were not OK before. Raises what `Fleet.call` raises."""
        args, prepared = self._prepared(resolved(step.body, scope.values()))
        runs = self._state.called(key, step) if scope.recorded else []
        earlier = self._earlier(key, runs, prepared.action)
        prepared = replace(prepared, retry_of=next(iter(runs[::-1]), None) if earlier else None)
        with closing(prepared.notifier):
            noted = NotedCall(self._state, key, step) if scope.recorded else NO_RECORD
            call = self._start(args, prepared, noted, earlier)
            if call is None:
                return StepResult({**_nodes_result(earlier), "run": ""})
            code = self._progress.present(call, args, self._fleet)
        data = {**of_nodes(call.outcomes, code, earlier), "run": call.request_id}
        self._ok[key] = {name: data["replies"][name] for name in data["ok"]} if code else {}
        self.outcomes |= {node: group for group in GROUPS for node in data[group]}
        message = problem(data, call.stopped) if code else ""
        secrets = _secret_texts(prepared, call.outcomes)
        return StepResult(data, code, message, secrets, run=call.request_id, interrupted=call.stopped == _INTERRUPTED)

    def wait(self, step: PlaybookStep, scope: StepScope, _key: str) -> StepResult:
        """Wait until the replies match, or until all nodes match a filter."""
        body = resolved(step.body, scope.values())
        if "call" not in body:
            return self._wait_for_filter(body)
        repeat = {name: body[name] for name in ("until", "every", "for") if name in body}
        args, prepared = self._prepared(body["call"], **repeat)
        args.quiet = args.quiet or not self._progress.is_text
        total, pending = Until(args, self._fleet, prepared, self._clock).collect()
        code = exit_code_until(total, pending)
        self._progress.show(total, args)
        data = {**of_nodes(total.outcomes, code, {}), "pending": pending}
        message = f"{plural(len(pending), 'node')} did not match '{body['until']}': {fold_any(pending)}" if code else ""
        secrets = _secret_texts(prepared, total.outcomes)
        return StepResult(data, code, message, secrets, run=total.request_id, interrupted=total.stopped == _INTERRUPTED)

    # -- calls

    def _prepared(self, body: Mapping[str, Any], **repeat: Any) -> tuple[argparse.Namespace, PreparedCall]:
        args, found = call_options.prepared(body, self._args, self._fleet.config, self._fleet.catalog, **repeat)
        return args, replace(found, notifier=found.notifier.during())

    def _start(
        self, args: argparse.Namespace, prepared: PreparedCall, noted: NoRecord, earlier: Mapping[str, Any]
    ) -> Call | None:
        """Send the request to the nodes that are not in `earlier`; return None when there are none left."""
        with self._opening:
            plan = planned(self._fleet, prepared)
            if earlier:
                left = [node for node in plan.nodes if node not in earlier]
                if plan.nodes and not left:
                    return None
                prepared = replace(prepared, targets=Targets(nodes=left))
                plan = planned(self._fleet, prepared)
            rollout_plan.check_cost(plan, self._fleet, prepared.max_cost)
            record = MirroredRecord(recorder(args, self._fleet, plan, prepared.retry_of), noted)
            call = start(args, self._fleet, plan, prepared.confirmation, record, prepared.notifier)
            self._calls = [one for one in self._calls if not one.closed] + [call]
            return call

    def _earlier(self, key: str, runs: Sequence[str], action: Action) -> dict[str, Any]:
        """Return the OK replies of this step's earlier calls: in this run, or the `runs` of the one that is resumed."""
        if key not in self._ok:
            found: dict[str, Any] = {}
            for run in runs:
                found |= self._saved_replies(run, action)
            self._ok[key] = found
        return self._ok[key]

    def _saved_replies(self, run: str, action: Action) -> dict[str, Any]:
        from collective.fleet.runs import saved_run

        try:
            saved = saved_run.read(options.run_folder(self._fleet.config).find(run))
        except UsageError as error:
            self._progress.say(f"{error}: all of its nodes are asked again")
            return {}
        unknown = sorted(saved.reached - saved.replies.keys())
        if unknown and not action.idempotent:
            count = plural(len(unknown), "node")
            self._progress.say(f"{count} may have run {action.agent} {action.name} before: sent to, and no reply")
        replies = {name: reply for name, reply in saved.replies.items() if not reply["statuscode"]}
        return {name: _without_secrets(reply, action) for name, reply in replies.items()}

    # -- waiting for a filter

    def _wait_for_filter(self, body: Mapping[str, Any]) -> StepResult:
        every = _seconds(body.get("every"), _EVERY)
        deadline = self._clock.now() + _seconds(body.get("for"), _AT_MOST)
        while True:
            nodes, pending = self._not_matching(body)
            if not pending or self._clock.now() + every >= deadline:
                break
            self._clock.wait(every)
        names = {"nodes": sorted(nodes), "ok": sorted(nodes - pending), "pending": sorted(pending)}
        code = FAILED if pending else OK
        data = {"ran": True, "succeeded": not pending, "exit": code, **names}
        message = f"{plural(len(pending), 'node')} did not match '{body['filter']}': {fold_any(pending)}"
        return StepResult(data, code, message if pending else "")

    def _not_matching(self, body: Mapping[str, Any]) -> tuple[set[str], set[str]]:
        """Return the nodes of the targets, and those of them that do not match the filter. Raises NoNodes."""
        given = body["targets"]
        select = f"({given['select']}) and ({body['filter']})" if "select" in given else body["filter"]
        nodes = set(self._fleet.find(self._targets(given), verify=False).nodes)
        if not nodes:
            raise NoNodes("no node matches the targets")
        matching: set[str] = set()
        with suppress(NoNodes):
            matching = set(self._fleet.find(self._targets({**given, "select": select})).nodes)
        return nodes, nodes - matching

    def _targets(self, given: Mapping[str, Any]) -> Targets:
        args = call_options.arguments({"agent": "rpcutil", "action": "ping", "targets": given}, self._args)
        found: Targets = call_options.with_nodes(options.targets(args), given.get("nodes"))
        return found


class NotedCall(NoRecord):
    """Writes the ID of a step's call to the state of the playbook, before anything is sent."""

    def __init__(self, state: PlaybookState, key: str, step: PlaybookStep) -> None:
        self._state = state
        self._key = key
        self._step = step

    def begin(self, call: Call, pace: Pace) -> None:  # noqa: ARG002 - a protocol
        """Take the call before anything is sent."""
        self._state.note_call(self._key, self._step, call.request.id)


def _nodes_result(earlier: Mapping[str, Any]) -> dict[str, Any]:
    """Return the result of a call whose nodes have all been OK before."""
    names = sorted(earlier)
    general = {"ran": True, "succeeded": True, "exit": OK, "failed": [], "silent": [], "skipped": []}
    return {**general, "ok": names, "nodes": names, "replies": dict(earlier)}


def _secret_texts(prepared: PreparedCall, outcomes: Outcomes) -> tuple[str, ...]:
    """Return the secrets in the inputs and the replies of a call."""
    action = prepared.action
    found = list(action.secret_texts(prepared.data))
    for reply in outcomes.replies.values():
        found += [text for name in action.secrets & reply.data.keys() for text in texts(reply.data[name])]
    return tuple(found)


def _without_secrets(reply: Mapping[str, Any], action: Action) -> dict[str, Any]:
    data = {name: secret(name) if name in action.secrets else value for name, value in reply["data"].items()}
    kept = {name: reply.get(name) for name in ("statuscode", "statusmsg", "reason")}
    return {**kept, "data": data}


def _seconds(given: Any, default: float) -> float:
    return default if given is None else durations.read_wait(str(given))
