"""Install agents and data functions that callers push with `crpc plugin push`, and return to the version before.

Its actions run inside the daemon, which loads a plug-in on trial before it is installed.
"""

from __future__ import annotations

from collective.agent import Reply, action
from collective.node_info import NodeInfo


@action
def install(bundle: str, digest: str, *, node: NodeInfo, dry_run: bool = False) -> Reply:
    """Install a version of a plug-in and serve it; a plug-in that cannot be loaded changes nothing."""
    return node.plugins.install(bundle, digest, dry_run)


@action
def rollback(name: str, *, node: NodeInfo, dry_run: bool = False) -> Reply:
    """Serve the version of a plug-in before the present one."""
    return node.plugins.rollback(name, dry_run)


@action
def list(*, node: NodeInfo) -> Reply:
    """Return the plug-ins that were pushed to this node."""
    return {"plugins": node.plugins.list()}
