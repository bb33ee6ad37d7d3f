"""Find code, DDLs and settings in a folder of agents."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from collective.bundled import DDLS
from collective.errors import UsageError
from collective.node.plugins import plugin_set
from collective.node.plugins.agents import bundled
from collective.node.plugins.plugin_set import Plugins
from collective.path_checks import is_folder


@dataclass(frozen=True)
class AgentFolder:
    """The folders of code, of DDLs and of settings."""

    code: Path
    ddl: Path
    settings: Path

    @classmethod
    def of(cls, folder: Path) -> AgentFolder:
        """Return the folders in `folder`; without `agents` or `ddl` in it, the files are expected in itself.

        Raises UsageError if there is no such folder.
        """
        if not is_folder(folder):
            raise UsageError(f"{folder}: not a folder (give the folder that has 'agents' and 'ddl' in it)")
        code, ddl = folder / "agents", folder / "ddl"
        return cls(code if code.is_dir() else folder, ddl if ddl.is_dir() else folder, folder / "settings")

    def load(self, *, standard: bool) -> Plugins:
        """Load the plugins as a node does, with or without the standard agents. Problems are returned, not logged."""
        code, ddls = ([bundled()], [DDLS]) if standard else ([], [])
        with _unlogged():
            return plugin_set.load([*code, self.code], [*ddls, self.ddl], self.settings)


@contextmanager
def _unlogged() -> Iterator[None]:
    """Keep the loading of plugins from logging; `crpc` prints problems itself, once."""
    logger = logging.getLogger(plugin_set.__name__.rpartition(".")[0])
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(before)
