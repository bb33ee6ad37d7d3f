"""What a step has done: its result for expressions, and why it failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from collective.clients.playbooks.definition import PlaybookStep
from collective.exit_codes import FAILED, OK, SILENT, STOPPED
from collective.text import plural

if TYPE_CHECKING:
    from collective.clients.playbooks.scope import StepScope
    from collective.fleet.outcomes import Outcomes
    from collective.messages import Reply

_WORST = (STOPPED, FAILED, SILENT)
_LONGEST = 200  # characters of what a node says in a message
GROUPS = ("ok", "failed", "silent", "skipped")  # of nodes
_NO_NODES: Mapping[str, Any] = {"ok": [], "failed": [], "silent": [], "skipped": [], "nodes": [], "replies": {}}
_EMPTY: Mapping[str, Mapping[str, Any]] = {
    "call": {**_NO_NODES, "run": ""},
    "wait": _NO_NODES,
    "local": {"exit": 0, "stdout": "", "stderr": "", "json": None},
    "ask": {"answer": None},
    "for_each": {"results": []},
    "include": {"vars": {}},
    "notify": {"sent": False},
}


@dataclass(frozen=True)
class StepResult:
    """The result of a step: `data` for expressions, an exit code, and what went wrong.

    `secret` are strings that must not be shown or saved. With `unsaved` the step is not recorded as finished, because
    its result is secret and can be made again. `run` is the ID of its call.
    """

    data: Mapping[str, Any] = field(default_factory=dict)
    code: int = OK
    message: str = ""
    secret: tuple[str, ...] = ()
    unsaved: bool = False
    run: str = ""
    interrupted: bool = False


@dataclass(frozen=True)
class StepFailure:
    """The step at which a playbook stops. `final`: not to be rescued, because of an interrupt or the time limit.

    With `began` false, the step did not begin, because another one has failed.
    """

    step: PlaybookStep
    key: str
    title: str
    code: int
    message: str
    final: bool = False
    began: bool = True

    @classmethod
    def at(cls, step: PlaybookStep, scope: StepScope, code: int, message: str, *, final: bool = False) -> StepFailure:
        """Return the failure of a step."""
        return cls(step, scope.key(step), scope.title(step), code, message, final)

    def values(self) -> dict[str, Any]:
        """Return the variable `failure`."""
        return {"step": self.title, "number": self.key, "message": self.message, "exit": self.code}


@dataclass(frozen=True)
class EndedStep:
    """How a step has ended: its outcome, its result, and the failure that stops the playbook."""

    outcome: str
    result: StepResult
    failure: StepFailure | None = None


def contained(failure: StepFailure | None, **data: Any) -> tuple[StepResult, StepFailure | None]:
    """Return the result of a step with steps below it."""
    code = failure.code if failure else OK
    return StepResult({"ran": True, "succeeded": failure is None, "exit": code, **data}, code), failure


def worst(codes: Sequence[int]) -> int:
    """Return the exit code of several failures."""
    return next((code for code in _WORST if code in codes), max(codes, default=OK))


def omitted(step: PlaybookStep) -> dict[str, Any]:
    """Return the result of a step whose condition did not hold."""
    return {"ran": False, "succeeded": False, "exit": OK, **_EMPTY.get(step.kind, {})}


def of_nodes(outcomes: Outcomes, code: int, earlier: Mapping[str, Any]) -> dict[str, Any]:
    """Return the result of a call; `earlier` are the OK replies of attempts before this one, by node."""
    replies = {**earlier, **{name: reply_values(reply) for name, reply in outcomes.replies.items()}}
    return {
        "ran": True,
        "succeeded": code == OK,
        "exit": code,
        "ok": sorted({*earlier, *outcomes.ok}),
        "failed": sorted(outcomes.failed),
        "silent": outcomes.silent,
        "skipped": sorted(outcomes.skipped),
        "nodes": sorted({*earlier, *outcomes.expected, *outcomes.replies}),
        "replies": replies,
    }


def reply_values(reply: Reply) -> dict[str, Any]:
    """Return a reply for expressions."""
    return {"statuscode": reply.statuscode, "statusmsg": reply.statusmsg, "reason": reply.reason, "data": reply.data}


def problem(data: Mapping[str, Any], stopped: str) -> str:
    """Return why a call is not OK, in one line."""
    counts = [f"{len(data[name])} {name}" for name in GROUPS[1:] if data[name]]
    text = f"{', '.join(counts)} of {plural(len(data['nodes']), 'node')}" if counts else "no node answered"
    if data["failed"]:
        node = data["failed"][0]
        said = str(data["replies"][node]["statusmsg"]).strip().partition("\n")[0]
        text = f"{text} ({node}: {said[:_LONGEST]})"
    return f"{text} (stopped: {stopped})" if stopped else text
