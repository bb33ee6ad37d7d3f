"""Open calls: build the request, take a reply slot, and keep the calls that are open until the fleet is closed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from collective import ddl, signing
from collective.config import ClientConfig
from collective.errors import TransportError
from collective.filters import Filter
from collective.fleet import approvals, reply_slots
from collective.fleet.call import Call
from collective.fleet.discovery import Discovery
from collective.fleet.gates import NO_GATES
from collective.fleet.outcomes import Outcomes
from collective.fleet.plan import CallPlan
from collective.fleet.recording import NO_RECORD, CallRecord
from collective.fleet.reply_checks import VerifyReply
from collective.fleet.reply_slots import Slot
from collective.fleet.rollout import Rollout
from collective.fleet.send_choice import SendChoice
from collective.fleet.sending import Sender
from collective.fleet.steps import Hook
from collective.messages import Request, new_id
from collective.registry import Nodes
from collective.transport import Transport

_MARGIN = 0.1  # part of the timeout, at most 1 s, that a node leaves for the transit of its reply


class CallOpener:
    """Makes the calls of one fleet, including those that ask nodes whether they match a filter."""

    def __init__(
        self,
        config: ClientConfig,
        transport: Transport,
        registry: Nodes | None,
        sign: signing.SignPayload,
        verify_reply: VerifyReply,
        clock: Callable[[], float],
    ) -> None:
        self._config = config
        self._transport = transport
        self._registry = registry
        self._sign = sign
        self._verify_reply = verify_reply
        self._clock = clock
        self._choice = SendChoice(config.state, config.collective, config.direct_limit)
        self._calls: list[Call] = []

    def close(self) -> None:
        """Close every open call."""
        for call in self._calls:
            call.settle()
        self._calls.clear()

    def request(
        self, action: ddl.Action, data: Mapping[str, Any], wanted: Filter, timeout: float, ttl: float
    ) -> Request:
        """Return the request; every wave sends it with its own time and targets, and all but the first with new ids."""
        return Request(
            id=new_id(),
            collective=self._config.collective,
            installation="",
            caller=self._config.caller,
            sender=self._config.sender,
            agent=action.agent,
            action=action.name,
            data=data,
            targets=None,
            filter=wanted.to_data(),
            time=time.time(),
            ttl=ttl,
            timeout=timeout - min(1.0, _MARGIN * timeout),
            reply_to="",
            demanded=action.demanded,
            critical=("demanded",) if action.demanded else (),
        )

    def planned_request(self, plan: CallPlan) -> Request:
        """Return the request of a plan."""
        request = self.request(plan.action, plan.data, plan.targets.filter, plan.timeout, plan.ttl)
        request = replace(request, reason=plan.reason, total=len(plan.nodes), approvals=plan.approvals)
        if plan.approvals:  # a plan can be run again, for nodes that were silent: each time it is a run of its own
            request = replace(request, run=approvals.approved_run(plan.approvals))
        if plan.earlier:
            request = replace(request, id=plan.earlier.run)
        if plan.dry_run:
            request = replace(request, dry_run=True, critical=(*request.critical, "dry_run"))
        if plan.background:
            request = replace(request, job=plan.background.to_data(), critical=(*request.critical, "job"))
        return request

    def open_planned(self, plan: CallPlan, record: CallRecord) -> Call:
        """Return the call of a plan; nothing has been sent yet."""
        request = self.planned_request(plan)
        hooks = plan.hooks.named()
        longest = max([plan.timeout, *(hook.action.timeout + self._config.transit for hook in hooks.values())])
        rollout = Rollout(list(plan.nodes), plan.pace, longest, plan.facts, gated=bool(plan.gates.gates))
        call = self.open(plan.action, request, rollout, plan.found, plan, record)
        if plan.earlier:
            call.continue_from(plan.earlier)
        return call

    def open(
        self,
        action: ddl.Action,
        request: Request,
        rollout: Rollout,
        found: Discovery,
        plan: CallPlan | None = None,
        record: CallRecord = NO_RECORD,
    ) -> Call:
        """Take a reply slot and return the call that receives there; nothing has been sent yet."""
        slot = reply_slots.take(self._config.state, self._config.collective)
        with _releasing_on_error(slot):
            slot.store(self._transport.open_replies(slot.queue, slot.known))
            hooks = plan.hooks.named() if plan else {}
            call = Call(
                sender=self._sender(action, request, slot.queue, found.known),
                hooks={name: self._hook_sender(hook, request, slot.queue, found.known) for name, hook in hooks.items()},
                action=action,
                rollout=rollout,
                slot=slot,
                discovery_ms=plan.discovery_ms if plan else 0.0,
                gates=plan.gates if plan else NO_GATES,
                outcomes=self._outcomes(found, plan),
                discovery_ids=found.request_ids,
                verify=self._verify_reply,
                is_member=self._is_member,
                record=record,
                clock=self._clock,
            )
        self._calls = [open_call for open_call in self._calls if not open_call.closed]
        self._calls.append(call)
        return call

    def _outcomes(self, found: Discovery, plan: CallPlan | None) -> Outcomes:
        return Outcomes(
            found.nodes,
            not_asked=found.not_asked,
            not_evaluated=found.not_evaluated,
            undiscovered=found.silent,
            expect_all=self._config.expect_all,
            success_threshold=plan.pace.success_threshold if plan else None,
        )

    def _sender(self, action: ddl.Action, request: Request, replies: str, nodes: int) -> Sender:
        """Return what sends a request, whose replies go to the queue `replies`, in a collective of some nodes."""
        request = replace(request, installation=self._transport.installation, reply_to=replies, time=time.time())
        secret = bool(action.secrets & request.data.keys())
        return Sender(self._transport, request, self._sign, self._choice, secret, nodes)

    def _hook_sender(self, hook: Hook, request: Request, replies: str, nodes: int) -> Sender:
        """Return what sends a hook to the nodes of a call; it needs no filter, because the nodes are named."""
        timeout = hook.action.timeout + self._config.transit
        own = self.request(hook.action, hook.data, Filter(), timeout, request.ttl)
        own = replace(own, id=request.id, run=request.run, reason=request.reason, total=request.total)
        return self._sender(hook.action, own, replies, nodes)  # it is part of the same run

    def _is_member(self, sender: str) -> bool:
        """Return whether the registry has a node, so that its reply counts although it was not expected."""
        try:
            records = self._registry.read().records if self._registry else []
        except TransportError:
            return False
        return any(record.identity == sender for record in records)


@contextmanager
def _releasing_on_error(slot: Slot) -> Iterator[None]:
    """Free a reply slot when the block fails: no call is there to free it."""
    try:
        yield
    except BaseException:
        slot.release()
        raise


@contextmanager
def closing_on_error(call: Call) -> Iterator[None]:
    """Close a call when the block fails."""
    try:
        yield
    except BaseException:
        call.close()
        raise
