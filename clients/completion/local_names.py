"""What this machine knows for completion: the configuration, the DDLs, and the names that the last calls have kept."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collective.clients import lookup
from collective.errors import CollectiveError

if TYPE_CHECKING:
    from collective.config import ClientConfig
    from collective.fleet.registry_names import RegistryNames


class LocalNames:
    """What is known without the network, read when it is needed. `words` are those of the command line."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words = words

    @cached_property
    def config(self) -> ClientConfig | None:
        """The configuration of the collective that the command line is for; None without a valid one."""
        from collective.config import load_client

        with suppress(CollectiveError):
            target = lookup.option_value(self.words, "-T", "--target")
            return load_client(lookup.config_file(self.words)).in_collective(target)
        return None

    @cached_property
    def agents(self) -> Mapping[str, Path]:
        """The DDL files by agent."""
        from collective.catalog import Catalog

        if self.config is None:
            return Catalog().paths
        from collective.fleet.ddl_cache import FetchedDDLs

        fetched = FetchedDDLs(self.config.state, self.config.collective).paths()
        return {**fetched, **Catalog(self.config.ddls).paths}

    def ddl(self, agent: str) -> Mapping[str, Any]:
        """Return a DDL as it is in its file: it is not validated, so that completion is fast."""
        try:
            return dict(json.loads(self.agents[agent].read_text(encoding="utf-8")))
        except (KeyError, OSError, ValueError, TypeError, RecursionError):
            return {}

    def stands_for(self, command: str) -> list[str]:
        """Return the words that an alias, or a command of the user's own, stands for; none for another command."""
        from collective.clients import own_commands

        return own_commands.stands_for(command, self.config) if self.config else []

    @cached_property
    def names(self) -> RegistryNames:
        """The names in the registry, as of the last call that read it."""
        from collective.fleet import registry_names

        if self.config is None:
            return registry_names.RegistryNames()
        return registry_names.load(self.config.state, self.config.collective)
