"""Read a playbook, and check all of it that needs no run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from collective.clients.playbooks.call_checks import agents, check_calls
from collective.clients.playbooks.name_checks import check_names
from collective.clients.playbooks.reading import read_playbook

if TYPE_CHECKING:
    from collective.catalog import Catalog
    from collective.clients.playbooks.definition import PlaybookDefinition
    from collective.config import ClientConfig


def load(
    path: Path, args: argparse.Namespace, config: ClientConfig | None, catalog: Catalog, *, fetch: bool
) -> PlaybookDefinition:
    """Return the playbook in a file, checked; raise ConfigError, naming file and line, for the first problem.

    With `fetch`, DDLs that this caller lacks are fetched from nodes, as for a call; else only those fetched before are
    used.
    """
    playbook = read_playbook(path)
    check_names(playbook)
    if config is not None:
        for agent in dict.fromkeys(agents(playbook)):
            _complete(catalog, config, agent, fetch=fetch)
    check_calls(playbook, args, catalog)
    return playbook


def _complete(catalog: Catalog, config: ClientConfig, agent: str, *, fetch: bool) -> None:
    from collective.clients import ddl_source
    from collective.fleet.ddl_cache import FetchedDDLs

    name = agent.partition("@")[0]
    if fetch:
        ddl_source.complete(catalog, config, agent)
    elif not catalog.has(name):
        cache = FetchedDDLs(config.state, config.collective)
        if entry := cache.entries().get(name):
            catalog.add_fetched(name, cache.path(name, entry))
