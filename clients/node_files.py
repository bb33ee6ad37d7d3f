"""Find the files of the node on this machine, for commands that read one when none is given."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from collective.config import NodeConfig, load_node, node_file
from collective.errors import ConfigError, UsageError


def audit_log(config: Path | None) -> Path:
    """Return the path of this node's audit log; `config` is the option `--config`. Raises ConfigError, UsageError."""
    return _node(config).audit


def policy(config: Path | None) -> Path:
    """Return the path of this node's policy; `config` is the option `--config`. Raises ConfigError, UsageError."""
    return _node(config).policy


def ddls(config: Path | None) -> Sequence[Path]:
    """Return the folders of this node's DDLs, besides the standard ones; raises like `policy`."""
    return _node(config).ddls


def node(config: Path | None) -> NodeConfig:
    """Return this node's configuration; `config` is the option `--config`. Raises ConfigError."""
    return load_node(config)


def _node(config: Path | None) -> NodeConfig:
    path = config
    if path is None:
        with suppress(ConfigError):
            path = node_file()
        if path is None or not path.exists():
            raise UsageError("FILE is missing (it can be omitted on a node only: there is no node.yaml here)")
    return load_node(path)
