"""Every error that collective raises, in one tree.

    CollectiveError
    ├── ConfigError             a configuration file is missing or invalid
    │   └── PolicyError         a policy file is invalid; lists every problem
    ├── UsageError              invalid arguments: an option, a name, an agent
    ├── DDLError                a DDL is invalid, or an agent does not match its DDL
    ├── MessageError            a message cannot be decoded or encoded
    │   ├── SignatureError      a signature is missing, invalid or not trusted
    │   └── MessageTooLarge     a message exceeds the transport's size limit
    ├── TransportError          a call to the transport or registry failed
    │   ├── Unreachable         no answer, server errors or throttling
    │   ├── AccessDenied        credentials are missing or rejected
    │   │   └── Forbidden       credentials are valid but lack a permission
    │   └── NotFound            the queue, topic or table does not exist
    ├── NoNodes                 no node matched, nothing was sent
    ├── PlanRefused             a plan has drifted or costs too much, nothing was sent
    ├── RunRefused              a run may not be taken or steered now; nothing was changed
    │   └── UntrustedKey        a key is not trusted to take or steer it
    ├── ClusterRefused          this machine may not join a cluster, or has lost its place
    ├── TooManyTargets          too many nodes matched without confirmation, nothing was sent
    └── RPCError                raised by an action; becomes its reply
        ├── Aborted        1    the action failed, or is not authorized
        ├── UnknownAction  2    the node has no such agent or action
        ├── MissingInput   3    a required input is missing
        ├── InvalidInput   4    an input does not match the DDL
        └── Failed         5    anything else; `reason` says what

What fails on a node is a value (`messages.Reply`); a caller only raises errors of its own side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from collective.text import escape_controls, plural


class CollectiveError(Exception):
    """Base class of all errors. The message is one line: `WHERE: WHAT (HINT)`; control characters are escaped."""

    def __init__(self, text: str = "") -> None:
        super().__init__(escape_controls(text))


class ConfigError(CollectiveError):
    """A configuration file is missing, unreadable or invalid."""

    @property
    def problems(self) -> tuple[str, ...]:
        """Every problem found, one line per problem."""
        return (str(self),)


class PolicyError(ConfigError):
    """A policy file is invalid; each line of `problems` names file, line and rule."""

    def __init__(self, problems: Sequence[str]) -> None:
        others = len(problems) - 1
        hint = f" (and {plural(others, 'more problem')}: run 'crpc policy check')" if others else ""
        super().__init__(problems[0] + hint)
        self._problems = tuple(escape_controls(problem) for problem in problems)

    @property
    def problems(self) -> tuple[str, ...]:
        """Every problem found, one line per problem."""
        return self._problems


class UsageError(CollectiveError):
    """Invalid arguments: an option, a name, an agent that does not exist."""


class DDLError(CollectiveError):
    """A DDL is invalid, or an agent's code does not match its DDL."""


class MessageError(CollectiveError):
    """A message cannot be decoded or encoded, or does not match its schema."""


class WrongVersion(MessageError):
    """A message has another version of the format; `version` is the message's."""

    def __init__(self, version: int, supported: int) -> None:
        super().__init__(
            f"envelope: message format {version}, this version of collective supports format {supported} "
            "(upgrade the older side)"
        )
        self.version = version


class SignatureError(MessageError):
    """A message has no signature, or one that is invalid or not trusted."""


class MessageTooLarge(MessageError):
    """A message exceeds the transport's limit; `size` and `limit` are bytes."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"message of {size} bytes exceeds the transport's limit of {limit} bytes")
        self.size = size
        self.limit = limit


class TransportError(CollectiveError):
    """A call to the transport or the registry failed."""


class Unreachable(TransportError):
    """The service does not answer, or only with server errors or throttling."""


class NoResponse(TransportError):
    """Nodes were asked for what a call needs, and none of them has answered."""


class AccessDenied(TransportError):
    """Credentials are missing or rejected."""


class Forbidden(AccessDenied):
    """The credentials are valid but lack a permission."""


class NotFound(TransportError):
    """A queue, topic, table or subscription does not exist; `kind` is which of these, `name` its name."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(f"{kind} '{name}' does not exist")
        self.kind = kind
        self.name = name


class NoNodes(CollectiveError):
    """No node matched, so nothing was sent."""


class TooManyTargets(CollectiveError):
    """More nodes matched than the caller confirmed; nothing was sent. `nodes` is their number."""

    def __init__(self, nodes: int, why: str) -> None:
        super().__init__(f"{plural(nodes, 'node')} matched: {why}: nothing was sent")
        self.nodes = nodes

    @classmethod
    def by_limit(cls, nodes: int, limit: int) -> TooManyTargets:
        """Return the error for more nodes than the `limit` max_targets."""
        return cls(nodes, f"max_targets allows {limit}: narrow the targets, or raise it in client.yaml")


class PlanRefused(CollectiveError):
    """A plan may not be carried out: it has drifted, costs too much or lacks the right signature; nothing was sent."""

    def __init__(self, why: str) -> None:
        super().__init__(f"plan: {why}: nothing was sent")


class RunRefused(CollectiveError):
    """A run may not be taken or steered: another caller does, or a key is not trusted; nothing was sent."""

    def __init__(self, why: str) -> None:
        super().__init__(f"run: {why}: nothing was changed")


class UntrustedKey(RunRefused):
    """The key of this caller, or of the caller that began the run, is not trusted."""


class ClusterRefused(CollectiveError):
    """The machine may not join a cluster now, or another machine has its place."""

    def __init__(self, cluster: str, why: str) -> None:
        super().__init__(f"cluster {cluster}: {why}")


class RPCError(CollectiveError):
    """Ends an action without success; becomes the reply.

    `statuscode` and `data` (the outputs known so far) are those of the reply. `reason` is a machine-readable
    word, set when the framework and not the action refused. `message` may have several lines.
    """

    statuscode = 5

    def __init__(self, message: str, *, data: Mapping[str, Any] | None = None, reason: str | None = None) -> None:
        Exception.__init__(self, message)  # unlike others, it may quote several lines of a command's output
        self.data: dict[str, Any] = dict(data or {})
        self.reason = reason


class Aborted(RPCError):
    """The action failed, or its caller is not authorized."""

    statuscode = 1


class UnknownAction(RPCError):
    """The node has no such agent or action."""

    statuscode = 2


class OtherVersion(UnknownAction):
    """The node has another version of the agent than the call demands."""

    def __init__(self, message: str) -> None:
        super().__init__(message, reason="other_version")


class MissingInput(RPCError):
    """A required input is missing."""

    statuscode = 3


class InvalidInput(RPCError):
    """An input does not match the DDL."""

    statuscode = 4


class UncheckedInput(InvalidInput):
    """The inputs could not be checked against the DDL in time."""


class NoDryRun(InvalidInput):
    """The action cannot report what it would change."""

    def __init__(self, message: str) -> None:
        super().__init__(message, reason="no_dry_run")


class Failed(RPCError):
    """Anything else. `reason` is one of docs/reference/codes.md, such as timeout, interrupted, busy or crashed."""

    statuscode = 5
