"""Ask nodes what became of the requests of a caller that ended: none of them is sent again.

    ended     its reply is the outcome of the node
    running   asked again, until its timeout is over
    revoked   it had not begun, and now cannot: the node is silent
    no reply  the node is silent

The node's journal has the reply for some minutes after the request, and for actions that only read no longer than
until it was sent. A node that cannot tell is silent, because it may have run the action. A node that was between two
steps has failed: the step that followed was not sent.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from collective.errors import Aborted
from collective.fleet.outcomes import Outcomes
from collective.fleet.runs import events
from collective.fleet.runs.saved_run import SavedRun
from collective.fleet.steps import AFTER, BEFORE
from collective.fleet.targets import Targets

if TYPE_CHECKING:
    from collective.fleet.fleet import Fleet

_MARGIN = 5.0  # seconds after a node's timeout within which its work has ended
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 15.0  # seconds between two questions to a node

Ask = Callable[[str, list[str]], Mapping[str, Mapping[str, Any]]]


class Settlement:
    """The questions about one run. `ask` returns the answers to `control settle` by node, for one request.

    `wait` sleeps some seconds, and raises an error when this caller must not go on.
    """

    def __init__(self, run: SavedRun, ask: Ask, wait: Callable[[float], None], now: Callable[[], float]) -> None:
        self._run = run
        self._ask = ask
        self._wait = wait
        self._now = now

    def events(self) -> Iterator[dict[str, Any]]:
        """Yield the events of the nodes that were reached and have no reply."""
        open_ = {node: request for node, request in last_requests(self._run).items() if node not in self._run.replies}
        silent: list[str] = []
        for request, nodes in _by_request(open_).items():
            answers = self._settled(request, nodes)
            for node in nodes:
                entry = self._entry(node, request, answers.get(node))
                if entry is None:
                    silent.append(node)
                else:
                    yield entry
        if silent:
            yield events.silent(sorted(silent))

    def _settled(self, request: str, nodes: list[str]) -> dict[str, Mapping[str, Any]]:
        """Ask until no node runs the request, or its timeout is over."""
        deadline = self._deadline(request)
        answers: dict[str, Mapping[str, Any]] = {}
        waiting, pause = list(nodes), _FIRST_PAUSE
        while waiting:
            answers.update(self._ask(request, waiting))
            self._wait(0.0)
            waiting = [node for node in waiting if answers.get(node, {}).get("became") == "running"]
            if not waiting or self._now() > deadline:
                break
            self._wait(pause)
            pause = min(_LONGEST_PAUSE, 2 * pause)
        return answers

    def _entry(self, node: str, request: str, answer: Mapping[str, Any] | None) -> dict[str, Any] | None:
        """Return the outcome of a node; None when it is silent."""
        reply = (answer or {}).get("reply")
        if reply is None:
            return None
        step, last = self._run.steps.get(request, ""), self._last_step()
        if step == AFTER and reply["statuscode"] == 0:
            main = self._main_request(node)
            kept = self._ask(main, [node]).get(node, {}).get("reply")
            reply, step = kept or {**reply, "data": {}}, ""  # the action was OK, or the hook would not have been sent
        elif step != last and reply["statuscode"] == 0:
            name = step or "the action"
            text = f"its caller ended after '{name}' was OK, and the step that follows was not sent"
            reply = {**reply, "statuscode": Aborted.statuscode, "statusmsg": text, "reason": "interrupted"}
        if step in (BEFORE, AFTER):
            reply = {**reply, "data": {}, "reason": reply["reason"] or step}
        return {"event": "reply", "sender": node, **reply}

    def _last_step(self) -> str:
        """Return the name of the step with which the work of a node ends."""
        plan = next((event for event in self._run.steering if event["event"] == "plan"), None)
        hooks = plan["document"]["call"]["hooks"] if plan else {}
        return AFTER if AFTER in hooks else ""

    def _main_request(self, node: str) -> str:
        requests = [request for request, name in self._run.steps.items() if not name]
        return next(one for one in reversed(requests) if node in self._nodes(one))

    def _nodes(self, request: str) -> Iterable[str]:
        nodes = self._run.sent[request]
        return self._run.expected if nodes is None else nodes

    def _deadline(self, request: str) -> float:
        sent = next((one for one in self._run.steering if one.get("request") == request), {})
        return float(sent.get("time", self._now())) + float(self._run.request["timeout"]) + _MARGIN


def last_requests(run: SavedRun) -> dict[str, str]:
    """Return the last request that was sent to each node."""
    found: dict[str, str] = {}
    for request, nodes in run.sent.items():
        found.update(dict.fromkeys(run.expected if nodes is None else nodes, request))
    return found


def asking(fleet: Fleet, every: Callable[[Outcomes], None]) -> Ask:
    """Return what asks the nodes of a fleet; `every` is called with the outcomes of each question."""

    def ask(request: str, nodes: list[str]) -> Mapping[str, Mapping[str, Any]]:
        call = fleet.call("control", "settle", {"id": request, "all": True}, targets=Targets(nodes=nodes))
        outcomes = call.wait()
        every(outcomes)
        return {name: reply.data for name, reply in outcomes.replies.items() if reply.ok and name in outcomes.expected}

    return ask


def sleeping(check: Callable[[], None], sleep: Callable[[float], None] = time.sleep) -> Callable[[float], None]:
    """Return what calls `check`, and sleeps in pieces of a second with a `check` after each."""

    def wait(seconds: float) -> None:
        check()
        while seconds > 0:
            sleep(min(1.0, seconds))
            seconds -= 1.0
            check()

    return wait


def _by_request(requests: Mapping[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for node, request in sorted(requests.items()):
        found.setdefault(request, []).append(node)
    return found
