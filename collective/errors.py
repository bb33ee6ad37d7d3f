"""Every error that collective raises, in one tree.

    CollectiveError
    ├── ConfigError             a configuration file is wrong or missing
    │   └── PolicyError         … a policy, with all its faults
    ├── UsageError              what the caller asked for makes no sense
    ├── DDLError                a DDL, an agent or their pairing is wrong
    ├── MessageError            a message cannot be read or written
    │   ├── SignatureError      … or is not signed by somebody we trust
    │   └── MessageTooLarge     … or does not fit into the transport
    ├── TransportError          a message could not be moved
    │   ├── Unreachable         nobody answers, or only with faults
    │   ├── AccessDenied        credentials are missing or refused
    │   │   └── Forbidden       … or good, and do not allow this
    │   └── NotFound            the queue, topic or table does not exist
    ├── NoNodes                 no node matched, so nothing was sent
    ├── TooManyTargets          more nodes matched than anybody said are meant, so nothing was sent
    └── RPCError                what an action may raise; it becomes the reply
        ├── Aborted        1    the action could not do it
        ├── UnknownAction  2
        ├── MissingInput   3
        ├── InvalidInput   4
        └── Failed         5    anything else; `reason` says what

A node's failure is a value (`messages.Reply`); only the caller's own troubles are raised on the caller.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def printable(text: str) -> str:
    """Return a text as one line: what it quotes comes from strangers, and terminals and logs obey some signs."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode("ascii") for sign in text)


class CollectiveError(Exception):
    """The root of every error here. Its text is one line: where, what, what now."""

    def __init__(self, text: str = "") -> None:
        super().__init__(printable(text))


class ConfigError(CollectiveError):
    """A configuration file is missing, unreadable or says something it cannot mean."""

    @property
    def problems(self) -> tuple[str, ...]:
        """All that is wrong, a line each."""
        return (str(self),)


class PolicyError(ConfigError):
    """A policy says something it cannot mean; `faults` are lines, each naming file, line and rule."""

    def __init__(self, problems: Sequence[str]) -> None:
        more = f" (and {len(problems) - 1} more: 'crpc policy check' names them)" if len(problems) > 1 else ""
        super().__init__(problems[0] + more)
        self._problems = tuple(printable(error) for error in problems)

    @property
    def problems(self) -> tuple[str, ...]:
        """All that is wrong, a line each."""
        return self._problems


class UsageError(CollectiveError):
    """The caller asked for something that cannot be: an option, an agent, a name."""


class DDLError(CollectiveError):
    """A DDL is wrong, or an agent's code and its DDL disagree."""


class MessageError(CollectiveError):
    """A message is not one of ours, or says something that its schema forbids."""


class SignatureError(MessageError):
    """A message is not signed, or not by somebody who is trusted."""


class MessageTooLarge(MessageError):
    """A message is larger than its transport carries; both numbers are in bytes."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"message of {size} bytes is larger than the transport's limit of {limit} bytes")
        self.size = size
        self.limit = limit


class TransportError(CollectiveError):
    """A message could not be moved."""


class Unreachable(TransportError):
    """The service does not answer, or answers only with faults or throttling."""


class AccessDenied(TransportError):
    """The service says no, or there are no credentials to show."""


class Forbidden(AccessDenied):
    """The service knows us, and we may not do this."""


class NotFound(TransportError):
    """A queue, topic, table or subscription does not exist; `kind` is which of these, `name` its name."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(f"{kind} '{name}' does not exist")
        self.kind = kind
        self.name = name


class NoNodes(CollectiveError):
    """No node matched, so nothing was sent."""


class TooManyTargets(CollectiveError):
    """So many `nodes` matched that somebody has to say that they are meant; nothing was sent."""

    def __init__(self, nodes: int, why: str) -> None:
        super().__init__(f"{nodes} node{'' if nodes == 1 else 's'} matched: {why}: nothing was sent")
        self.nodes = nodes


class RPCError(CollectiveError):
    """What ends an action without success; it becomes the reply.

    `statuscode` is the reply's, `data` its data (the action's outputs as far as they are known), and
    `reason` is a word for programs when the framework itself refused.
    """

    statuscode = 5

    def __init__(self, message: str, *, data: Mapping[str, Any] | None = None, reason: str | None = None) -> None:
        Exception.__init__(self, message)  # it may have lines: a command's own words
        self.data: dict[str, Any] = dict(data or {})
        self.reason = reason


class Aborted(RPCError):
    """The action could not do what was asked, or its caller may not ask for it."""

    statuscode = 1


class UnknownAction(RPCError):
    """No such agent or action."""

    statuscode = 2


class MissingInput(RPCError):
    """A required input was not given."""

    statuscode = 3


class InvalidInput(RPCError):
    """An input that the DDL refuses."""

    statuscode = 4


class Failed(RPCError):
    """Anything else. The framework's own reasons: timeout, interrupted, busy, crashed, expired, filtered."""

    statuscode = 5
