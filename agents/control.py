"""List and stop the work of a node: background jobs, running requests, and everything in an emergency.

Its actions run inside the daemon, so a busy node answers them too. A caller may stop its own requests; for those of
others it needs `all=true`, which a policy can forbid with a rule on the inputs.
"""

from __future__ import annotations

from collective.agent import Reply, action
from collective.node_info import NodeInfo


@action
def jobs(all: bool, *, node: NodeInfo, caller: str) -> Reply:
    """Return the background jobs, without their results."""
    return {"jobs": node.control.jobs(caller, everyone=all)}


@action
def result(id: str, all: bool, *, node: NodeInfo, caller: str) -> Reply:
    """Return the state of a job, and its result once it has ended."""
    return node.control.result(id, caller, everyone=all)


@action
def cancel(id: str, all: bool, *, node: NodeInfo, caller: str, dry_run: bool = False) -> Reply:
    """Stop a request or a job, whether it has begun or not; all processes of its action are killed."""
    return {"id": id, "became": node.control.cancel(id, caller, everyone=all, running=True, dry_run=dry_run)}


@action
def revoke(id: str, all: bool, *, node: NodeInfo, caller: str, dry_run: bool = False) -> Reply:
    """Keep a request or a job from beginning; one that has begun is not touched."""
    return {"id": id, "became": node.control.cancel(id, caller, everyone=all, running=False, dry_run=dry_run)}


@action
def settle(id: str, all: bool, *, node: NodeInfo, caller: str, dry_run: bool = False) -> Reply:
    """Return what became of a request, and its reply; one that has not begun is kept from beginning."""
    return dict(node.control.settle(id, caller, everyone=all, dry_run=dry_run))


@action
def freeze(reason: str, *, node: NodeInfo, caller: str, dry_run: bool = False) -> Reply:
    """Refuse everything but actions that read, at once and across restarts."""
    return {"frozen": dict(node.control.freeze(caller, reason, dry_run=dry_run))}


@action
def thaw(*, node: NodeInfo, dry_run: bool = False) -> Reply:
    """End a freeze."""
    before = node.control.thaw(dry_run=dry_run)
    return {"frozen": None, "before": dict(before) if before else None}


@action
def status(*, node: NodeInfo) -> Reply:
    """Return whether the node is frozen, and how many requests it works on."""
    frozen = node.control.frozen()
    return {"frozen": dict(frozen) if frozen else None, "running": node.running}
