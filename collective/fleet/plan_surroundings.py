"""What the registry knows about a plan, and who makes it: shown with a plan, and saved with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from collective.config import ClientConfig
from collective.errors import TransportError
from collective.fleet import discovery, reply_slots
from collective.fleet.plan import CallPlan, Parties
from collective.registry import Contents, Nodes
from collective.transport import Transport


@dataclass(frozen=True)
class Surroundings:
    """What the registry knows about a plan; all is empty without a registry.

    `nodes` is the number of registered nodes. `version` is that of this caller's DDL, `versions` are those of the agent
    by node. `excluded` are nodes that match and are not asked, with the reason: stopped, without the agent, not chosen
    by the limit.
    """

    nodes: int = 0
    version: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    excluded: Mapping[str, str] = field(default_factory=dict)

    @property
    def other_versions(self) -> dict[str, str]:
        """The nodes whose agent has another version than this caller's DDL, with that version."""
        return {name: version for name, version in self.versions.items() if version != self.version}


def surroundings(plan: CallPlan, registry: Nodes | None, version: str) -> Surroundings:
    """Return what the registry knows about a plan; `version` is that of this caller's DDL."""
    try:
        contents = registry.read() if registry else Contents()
    except TransportError:
        contents = Contents()
    now = registry.now() if registry else 0.0
    agent = plan.action.agent
    return Surroundings(
        nodes=len(contents.records),
        version=version,
        versions={
            record.identity: record.agents[agent]
            for record in contents.records
            if record.identity in plan.nodes and agent in record.agents
        },
        excluded=discovery.excluded(contents, now, plan.targets, agent, plan.found),
    )


def parties(config: ClientConfig, transport: Transport) -> Parties:
    """Return who makes a plan, and for which collective. Raises TransportError."""
    slot = reply_slots.take(config.state, config.collective)
    try:
        slot.store(transport.open_replies(slot.queue, slot.known))  # tells which installation this is
    finally:
        slot.release()
    return Parties(config.collective, transport.installation, config.caller)
