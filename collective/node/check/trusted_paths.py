"""Find the files that the daemon trusts or executes, and refuse them when other users can change them.

collectived --check   reports every problem
start                 refuses to start (`require`)
reload                keeps the last valid version (`guard` for files, `plugin_problem` for agents)
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from collective.config import NodeConfig
from collective.errors import ConfigError
from collective.node.check import permissions
from collective.text import plural


def problems(config: NodeConfig, path: Path) -> list[str]:
    """Return a line for each path that other users can change; `path` is the file of the configuration."""
    return _problems(_paths(config, path))


def require(config: NodeConfig, path: Path) -> None:
    """Raise ConfigError, in one line, when other users can change a path that the daemon trusts."""
    found = problems(config, path)
    if found:
        others = f" (and {plural(len(found) - 1, 'more problem')}: run 'collectived --check')" if found[1:] else ""
        raise ConfigError(found[0] + others)


def guard(path: Path) -> str | None:
    """Return why a file must not be trusted; None if only root and the daemon's user can change it."""
    return next(iter(_problems([path])), None)


def plugin_problem(config: NodeConfig) -> str | None:
    """Return why agents, data functions, DDLs and settings must not be loaded; None if they may."""
    return next(iter(_problems(_with_content(_plugin_folders(config)))), None)


def _problems(paths: Iterable[Path]) -> list[str]:
    return list(permissions.problems(paths, {}, os.geteuid()))


def _paths(config: NodeConfig, path: Path) -> list[Path]:
    """Return the paths that the daemon trusts or executes. Who can write to them has the daemon's permissions."""
    folders = [*_plugin_folders(config), *config.fact_folders]
    files = [path, config.policy, config.allowed_signers, config.revoked_keys, *config.facts, *config.classes]
    programs = [file for words in config.fact_commands for file in _command_files(words)]
    programs += [file for watch in config.watches.values() for file in _watch_files(watch)]
    metrics = [config.metrics.parent] if config.metrics else []  # the owner of a folder can replace files in it
    local = [config.local_files] if config.local_files else []
    return [*files, *programs, *metrics, *local, config.state, *_with_content(folders)]


def _watch_files(watch: Mapping[str, Any]) -> Iterable[Path]:
    """Yield the files of a watch: its template, and the programs of its commands."""
    template = watch.get("template") or {}
    yield from [Path(template["src"])] if template else []
    for command in (watch.get("exec"), watch.get("exec_json"), template.get("check"), template.get("reload")):
        yield from _command_files(str(command or "").split())


def _plugin_folders(config: NodeConfig) -> list[Path]:
    return [*config.agents, *config.ddls, config.settings]


def _with_content(folders: Sequence[Path]) -> list[Path]:
    return [*folders, *(entry for folder in folders for entry in permissions.below(folder))]


def _command_files(words: Sequence[str]) -> Iterable[Path]:
    """Yield the program of a command, if found, and the files among its arguments, which may be scripts."""
    found = shutil.which(words[0]) if words else None
    yield from [Path(found)] if found else []
    yield from (Path(word) for word in words[1:] if os.path.isfile(word))  # noqa: PTH113 - Path's may raise
