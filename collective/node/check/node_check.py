"""Report problems of a node's setup: `collectived --check`. Nothing is created or changed.

configuration   plugins, keys, policy             exit code 78
files           trusted_paths.py, permissions.py  exit code 78
AWS             aws_probe.py                      exit code 77: access denied, 69: unreachable; within ten seconds
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from collective.config import NodeConfig
from collective.errors import AccessDenied, CollectiveError, TransportError
from collective.exit_codes import CONFIGURATION, DENIED, UNAVAILABLE
from collective.node import assembly, trust
from collective.node.check import aws_probe, permissions, trusted_paths, watch_check
from collective.node.facts import Facts, sources
from collective.node.facts.sources import Source
from collective.node.plugins.plugin_set import Plugins
from collective.node.policy_file import problems as policy_problems
from collective.registry import NodeRecord
from collective.registry.encoding import fit, omission
from collective.version import __version__

if TYPE_CHECKING:
    import boto3


@dataclass(frozen=True)
class Findings:
    """The result of a check: `problems` are error lines, `notes` are lines for information.

    `exit_code` is 0 without problems, else the highest code of all problems.
    """

    problems: Sequence[str]
    notes: Sequence[str]
    exit_code: int  # of several errors the greatest: the one to repair first


def check(config: NodeConfig, path: Path, session: boto3.Session | None = None) -> Findings:
    """Check the node of a configuration that was read from the file `path`."""
    plugins = assembly.load_plugins(config)
    local = [
        *_configuration(config, plugins),
        *watch_check.problems(config),
        *trusted_paths.problems(config, path),
        *permissions.problems((), _paths_written(config), os.geteuid()),
    ]
    aws = aws_probe.probe(config, session)
    found = [*((CONFIGURATION, line) for line in local), *((_code(error), str(error)) for error in aws.problems)]
    notes = [f"{config.identity} in {config.collective}: agents {', '.join(sorted(plugins.agents))}", *aws.notes]
    return Findings([line for _, line in found], notes, max((code for code, _ in found), default=0))


def _code(error: CollectiveError) -> int:
    if isinstance(error, AccessDenied):
        return DENIED
    return UNAVAILABLE if isinstance(error, TransportError) else CONFIGURATION


def _configuration(config: NodeConfig, plugins: Plugins) -> Iterable[str]:
    yield from trust.problems(config)
    yield from plugins.problems
    yield from _facts(config)
    yield from policy_problems(config.policy, plugins.inputs)
    try:
        trust.existing_node_key(config.state)
    except CollectiveError as error:
        yield str(error)


def _facts(config: NodeConfig) -> Iterable[str]:
    """Yield an error if the registry cannot store the facts and classes of the files; commands are not run."""
    files = [Path(source.label) for source in _data_files(config)]
    facts = Facts([*files, *config.facts], config.classes)
    record = NodeRecord(config.identity, __version__, facts.current, tuple(sorted(facts.classes)))
    if text := omission(fit(record)):
        yield f"facts: {text} (filters that need them must ask the node: reduce the facts of {_largest(config, files)})"


def _data_files(config: NodeConfig) -> Iterable[Source]:
    for folder in config.fact_folders:
        yield from (source for source in sources.folder(folder, _not_executed) if not source.slow)


def _largest(config: NodeConfig, files: Sequence[Path]) -> Path:
    existing = [path for path in [*files, *config.facts, *config.classes] if path.is_file()]
    return max(existing, key=lambda path: path.stat().st_size, default=config.state)


def _not_executed(_words: Sequence[str]) -> str:
    return ""


def _paths_written(config: NodeConfig) -> dict[str, Path]:
    """Return the paths that the daemon must be able to write, by configuration key."""
    written = {"state": config.state / "journal.sqlite", "audit": config.audit}
    if config.audit_envelopes:
        written["audit_envelopes"] = config.audit_envelopes / "request.payload"
    return written
