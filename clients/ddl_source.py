"""Complete the DDLs of a caller: fetch one that it lacks from a node, unless `ddl_source` of client.yaml is `local`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collective.clients import lookup
from collective.suggestions import suggest

if TYPE_CHECKING:
    from collective.catalog import Catalog
    from collective.config import ClientConfig


def complete(catalog: Catalog, config: ClientConfig, agent: str) -> None:
    """Add the DDL of an agent that the catalog lacks, given as NAME or NAME@VERSION.

    A name that is probably a mistyped command or agent is not looked for. Raises UsageError if no node has the agent.
    """
    name = agent.partition("@")[0]
    if config.ddl_source == "local" or config.registry == "none" or catalog.has(name) or name in catalog.ruby_paths:
        return
    if not _is_agent_name(name) or lookup.hint(name, ()) or suggest(name, catalog.paths):
        return
    from collective.fleet.fetched_ddls import FetchedDDLs, fetch
    from collective.fleet.fleet import Fleet

    with Fleet.connect(config, catalog) as fleet:
        catalog.add_fetched(name, fetch(fleet, FetchedDDLs(config.state, config.collective), name))


def _is_agent_name(name: str) -> bool:
    return name.replace("_", "a").isalnum() and name.isascii() and name == name.lower() and name[0].isalpha()
