"""Serve the agents of a folder on a node in memory: what a caller would see, without AWS and without a daemon."""

from __future__ import annotations

import logging
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from collective.authoring.folders import AgentFolder
from collective.errors import ConfigError
from collective.fleet.fleet import Fleet
from collective.testing import memory_fleet
from collective.yaml_file import read_yaml

log = logging.getLogger(__name__)


@contextmanager
def local_fleet(folders: AgentFolder, agent: str, facts: Path | None = None) -> Iterator[Fleet]:
    """Yield a fleet with one node, this machine, that has the agents of a folder.

    `facts` is a YAML file with the node's facts. Raises ConfigError if `agent` cannot be loaded.
    """
    plugins = folders.load(standard=True)
    if problem := plugins.agents.refused.get(agent):
        raise ConfigError(problem)
    for warning in plugins.agents[agent].warnings if agent in plugins.agents else ():
        log.warning("agent.warning", extra={"error": warning})
    with tempfile.TemporaryDirectory(prefix="collective-") as folder:
        nodes = {socket.gethostname(): _facts(facts)}
        with memory_fleet(Path(folder), nodes, ddls=[folders.ddl], plugins=plugins) as network:
            yield network.fleet


def _facts(path: Path | None) -> dict[str, Any]:
    values = read_yaml(path) if path else {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: facts must be a mapping, not {type(values).__name__}")
    return values
