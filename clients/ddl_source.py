"""Complete the DDLs of a caller: fetch one that it lacks from a node, unless `ddl_source` of client.yaml is `local`."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from collective.clients.commands import COMMANDS
from collective.clients.streams import notice
from collective.errors import ConfigError, NoResponse, TransportError

if TYPE_CHECKING:
    from collective.catalog import Catalog
    from collective.config import ClientConfig

_LOCAL = "run 'crpc help' for a list; 'ddl_source' of client.yaml is 'local', so no DDL is fetched from a node"
_CLOSE = 0.75  # similarity of a name to a known one, from 0 to 1, from which it is probably mistyped


def complete(catalog: Catalog, config: ClientConfig, agent: str) -> None:
    """Add the DDL of an agent that the catalog lacks, given as NAME or NAME@VERSION, if a node has it.

    A name that is probably a mistyped command or agent is not looked for. Raises UsageError if a node has the agent,
    and its DDL cannot be used; NoResponse if nodes have it, and none answers.
    """
    name = agent.partition("@")[0]
    if config.ddl_source == "local":
        catalog.hint = _LOCAL
        return
    if config.registry == "none" or catalog.has(name) or name in catalog.ruby_paths:
        return
    if not _is_agent_name(name) or get_close_matches(name, {*COMMANDS, *catalog.paths}, 1, _CLOSE):
        return
    from collective.fleet.ddl_cache import FetchedDDLs
    from collective.fleet.fetched_ddls import fetch
    from collective.fleet.fleet import Fleet

    try:
        with Fleet.connect(config, catalog) as fleet:
            found = fetch(fleet, FetchedDDLs(config.state, config.collective), agent)
    except ConfigError:
        return  # without AWS there are no nodes either
    except NoResponse:
        raise
    except TransportError as error:
        notice(f"whether a node has the agent '{name}' is unknown: {error}")
        return
    if found is not None:
        catalog.add_fetched(name, found)


def _is_agent_name(name: str) -> bool:
    return name.replace("_", "a").isalnum() and name.isascii() and name == name.lower() and name[0].isalpha()
