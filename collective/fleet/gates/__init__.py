"""Gates: conditions that must hold before the next wave of a rollout begins.

    cmd:./check.sh --strict      a command exits with 0; it gets the rollout as JSON on standard input
    reply:data.version>=2        an expression holds for the reply of every node that was reached
    alarm:errors-high            a CloudWatch alarm is in the state OK
    http:https://my.net/health   a GET request is answered with a 2xx status

A gate fails when it cannot tell: an absent reply, an alarm without data and an unreachable server are failures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from collective.errors import UsageError

if TYPE_CHECKING:
    from collective.messages import Reply

STOP, PAUSE = "stop", "pause"
RECHECK = 10.0  # seconds until a gate that pauses a rollout is checked again


@dataclass(frozen=True)
class GateView:
    """What a gate sees: `document` is the rollout so far as JSON, `replies` are those of all nodes that were reached.

    `unanswered` are the nodes that were reached and have neither replied nor are at work.
    """

    document: Mapping[str, Any]
    replies: Sequence[Reply]
    unanswered: Sequence[str]


class RolloutGate(Protocol):
    """A condition; `name` is how it was written. One that asks a person is not `unattended`: only between two waves."""

    name: str
    unattended: bool

    def check(self, view: GateView) -> str:
        """Return why the gate is closed, in one line; an empty string when it is open."""
        ...


@dataclass(frozen=True)
class Gates:
    """The gates of a rollout, in the order in which they are checked.

    `every` is after how many seconds they are checked again while a wave is at work (None: only between waves), and
    `action` what happens when one is closed: the rollout stops, or it pauses until all are open.
    """

    gates: tuple[RolloutGate, ...] = ()
    every: float | None = None
    action: str = STOP

    def __post_init__(self) -> None:
        """Raise UsageError for an invalid value."""
        if self.action not in (STOP, PAUSE):
            raise UsageError(f"gates: action '{self.action}': must be {STOP} or {PAUSE}")
        if self.every is not None and not 0 < self.every < float("inf"):
            raise UsageError(f"gates: every '{self.every}': must be a number of seconds")

    @classmethod
    def read(cls, gates: Iterable[str], every: float | None = None, action: str = STOP) -> Gates:
        """Return gates as they are written: `cmd:COMMAND`, `reply:EXPR`, `alarm:NAME`, `http:URL`; raise UsageError."""
        return cls(tuple(read_gate("gates", text) for text in gates), every, action)


NO_GATES = Gates()


def read_gate(option: str, text: str) -> RolloutGate:
    """Read a gate; raise UsageError, naming `option`, for an invalid one."""
    if text.startswith(("http://", "https://")):
        text = f"http:{text}"
    kind, colon, value = text.partition(":")
    if not colon or kind not in _KINDS or not value:
        raise UsageError(f"{option} '{text}': must be cmd:COMMAND, reply:EXPR, alarm:NAME or http:URL")
    return _KINDS[kind](option, value)


def _command(option: str, value: str) -> RolloutGate:
    from collective.fleet.gates.command import CommandGate

    return CommandGate.read(option, value)


def _reply(option: str, value: str) -> RolloutGate:
    from collective.fleet.gates.reply import ReplyGate

    return ReplyGate.read(option, value)


def _alarm(_option: str, value: str) -> RolloutGate:
    from collective.fleet.gates.alarm import AlarmGate

    return AlarmGate(value)


def _http(option: str, value: str) -> RolloutGate:
    from collective.fleet.gates.http import HTTPGate

    return HTTPGate.read(option, value)


_KINDS: Mapping[str, Callable[[str, str], RolloutGate]] = {
    "cmd": _command,
    "reply": _reply,
    "alarm": _alarm,
    "http": _http,
}
