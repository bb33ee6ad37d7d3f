"""One request on its way through the node: what is known about it, step by step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from collective import ddl
from collective.filters import Filter
from collective.messages import MAX_SKEW, Envelope, Request
from collective.node.plugins.agents import LoadedAgent
from collective.node.plugins.plugin_set import Plugins
from collective.node.storage.journal import JournalEntry
from collective.transport import Delivery


@dataclass
class RequestContext:
    """A request that has been read and verified; each later step adds what it finds out.

    `plugins` is the set that the request is checked and run with, whatever the node loads meanwhile. `fingerprint`
    is that of the key that signed it.

    Added later: `journaled` once it has an entry of its own in the journal, `first` is the entry of an earlier
    delivery, `rule` is the policy's rule that allowed or denied it, `approvers` are the callers whose approvals are
    valid, `filter` is its parsed filter, and `queries` are the (data function, query) pairs that it needs permission
    for. `starts_job` is set for a job that is due, which is checked again.
    """

    delivery: Delivery
    envelope: Envelope
    request: Request
    plugins: Plugins
    fingerprint: str | None
    journaled: bool = False
    starts_job: bool = False
    first: JournalEntry | None = None
    rule: str | None = None
    approvers: tuple[str, ...] = ()
    filter: Filter = field(default_factory=Filter)
    queries: list[tuple[str, str]] = field(default_factory=list)

    @property
    def digest(self) -> str:
        """What identifies the request: the digest of its payload as signed."""
        return self.envelope.digest

    @property
    def named(self) -> bool:
        """Whether the request names its targets, and so this node; a broadcast does not."""
        return self.request.targets is not None

    @property
    def job_step(self) -> str | None:
        """What is decided about a background job: the `request` to run it, or its `start`; None without a job."""
        if self.request.job is None:
            return None
        return "start" if self.starts_job else "request"

    @property
    def has_secrets(self) -> bool:
        """Whether inputs are secret, or may be: only a DDL says which are."""
        action = self.plugins.agents.action(self.request.agent, self.request.action)
        return bool(self.request.data) if action is None else not action.secrets.isdisjoint(self.request.data)

    @property
    def age(self) -> float:
        """Seconds between sending and receiving, by the server's clock."""
        return self.delivery.received - self.delivery.sent

    @property
    def skew(self) -> float:
        """Seconds by which the caller's clock is ahead of the server's."""
        return self.request.time - self.delivery.sent

    @property
    def expires(self) -> float:
        """From when the message is refused, however often it is sent again: Unix seconds by the server's clock."""
        return self.request.time + self.request.ttl + MAX_SKEW

    @property
    def deadline(self) -> float:
        """When the caller stops waiting: Unix seconds by the server's clock."""
        return self.delivery.sent + self.request.timeout


@dataclass(frozen=True)
class AdmittedRequest:
    """A request that has passed all checks, with the action to run and its checked inputs `data`."""

    context: RequestContext
    agent: LoadedAgent
    action: ddl.Action
    data: Mapping[str, Any]

    @property
    def request(self) -> Request:
        """The request itself."""
        return self.context.request
