"""Say what is wrong with a node before it serves: `collectived --check`. Nothing is made or changed by it.

configuration   plugins ─ keys ─ policy        78  wrong here: an administrator of this machine mends it
files           permissions.py                 78
AWS             probe.py                       77  refused · 69  not reached; within ten seconds
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from collective import policy
from collective.config import NodeConfig
from collective.errors import AccessDenied, CollectiveError, ConfigError, TransportError
from collective.exit_codes import CONFIGURATION, DENIED, UNAVAILABLE
from collective.node import assembly, trust
from collective.node.check import aws_probe, permissions
from collective.node.plugins.plugin_set import Plugins

if TYPE_CHECKING:
    import boto3


@dataclass(frozen=True)
class Findings:
    """What a check has found: `faults` are lines, each with what to do; `notes` are no faults."""

    problems: Sequence[str]
    notes: Sequence[str]
    exit_code: int  # of several errors the greatest: the one to repair first


def check(config: NodeConfig, path: Path, session: boto3.Session | None = None) -> Findings:
    """Check the node that the configuration in the file `path` describes."""
    plugins = assembly.load_plugins(config)
    local = [
        *_configuration(config, plugins),
        *permissions.problems(_read(config, path), _written(config), os.geteuid()),
    ]
    answers = aws_probe.ask(config, session)
    found = [*((CONFIGURATION, line) for line in local), *((_code(error), str(error)) for error in answers.problems)]
    notes = [f"{config.identity} in {config.collective}: agents {', '.join(sorted(plugins.agents))}", *answers.notes]
    return Findings([line for _, line in found], notes, max((code for code, _ in found), default=0))


def _code(error: CollectiveError) -> int:
    if isinstance(error, AccessDenied):
        return DENIED
    return UNAVAILABLE if isinstance(error, TransportError) else CONFIGURATION


def _configuration(config: NodeConfig, plugins: Plugins) -> Iterable[str]:
    yield from trust.problems(config)
    yield from plugins.problems
    try:
        if permissions.may_be_there(config.policy):
            policy.read(config.policy)
    except ConfigError as error:
        yield from error.problems
    try:
        trust.kept_key(config.state)
    except CollectiveError as error:
        yield str(error)


def _read(config: NodeConfig, path: Path) -> list[Path]:
    """Return what the daemon believes or runs: whoever may write it has what the daemon may."""
    folders = [*config.agents, *config.ddls, *config.fact_folders, config.settings]
    files = [path, config.policy, config.allowed_signers, config.revoked_keys, *config.facts, *config.classes]
    programs = [file for words in config.fact_commands for file in _files_of(words)]
    figures = [config.metrics.parent] if config.metrics else []  # its owner puts another file in this one's place
    return [
        *files,
        *programs,
        *figures,
        *folders,
        *(entry for folder in folders for entry in permissions.below(folder)),
    ]


def _files_of(words: Sequence[str]) -> Iterable[Path]:
    """Yield the program of a command, where it is found, and the files that its words name: scripts, most likely."""
    found = shutil.which(words[0]) if words else None
    yield from [Path(found)] if found else []
    yield from (Path(word) for word in words[1:] if os.path.isfile(word))  # noqa: PTH113 - Path's may raise


def _written(config: NodeConfig) -> dict[str, Path]:
    """Return what the daemon must be able to write, by its key; a folder is told by its first file."""
    written = {"state": config.state / "journal.sqlite", "audit": config.audit}
    if config.audit_envelopes:
        written["audit_envelopes"] = config.audit_envelopes / "request.payload"
    return written
