"""Sources of facts: files, commands, `facts.d` folders. A source has a label and `read`, which raises ConfigError.

Commands and executables run in processes of the runner. After their timeout they are killed with all processes that
they started, and none outlives the daemon.
"""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from collective.errors import ConfigError
from collective.fact_files.formats import Values, parse_output, read_file
from collective.node.actions.job import ActionJob
from collective.node.actions.runner import Runner
from collective.node.facts import external
from collective.node.facts.built_in import built_in, full_name
from collective.node.facts.ec2_source import EC2Facts, described_by

Execute = Callable[[Sequence[str]], str]

COMMAND_SECONDS = 30.0  # timeout of a command or executable
_DATA_SUFFIXES = (".yaml", ".yml", ".json", ".txt")
_IGNORED_ENDINGS = ("~", ".bak", ".orig", ".rpmnew", ".rpmsave", ".dpkg-dist", ".dpkg-new", ".dpkg-old")


@dataclass(frozen=True)
class Source:
    """One source of facts. A `slow` source may wait for the network or a process."""

    label: str
    read: Callable[[], Values]
    slow: bool = False


BUILT_IN = Source("built-in facts", built_in)
FULL_NAME = Source("the host name in DNS", full_name, slow=True)


def ec2(runner: Runner, api_facts: Sequence[str]) -> Source:
    """Return the source for this EC2 instance; `api_facts` are read from the APIs of AWS."""
    return Source("EC2 metadata", EC2Facts(api_facts, described_by(runner)).read, slow=True)


def file(path: Path) -> Source:
    """Return the source for a YAML, JSON or key=value file."""
    return Source(str(path), partial(read_file, path))


def command(words: Sequence[str], execute: Execute) -> Source:
    """Return the source for the output of a command: JSON, YAML or key=value."""
    label = shlex.join(words)
    return Source(label, lambda: parse_output(execute(words), label), slow=True)


def folder(path: Path, execute: Execute) -> Iterator[Source]:
    """Yield the sources in a `facts.d` folder, by name. Data files are read, other files are executed."""
    try:
        entries = sorted(path.iterdir())
    except FileNotFoundError:
        return
    except OSError as error:
        yield Source(str(path), partial(_raise, f"{path}: cannot be read: {error.strerror}"))
        return
    for entry in entries:
        if entry.name.startswith(".") or entry.name.endswith(_IGNORED_ENDINGS) or entry.is_dir():
            continue
        yield file(entry) if entry.suffix in _DATA_SUFFIXES else _executable(entry, execute)


def _executable(path: Path, execute: Execute) -> Source:
    def read() -> Values:
        if not os.access(path, os.X_OK):
            raise ConfigError(
                f"{path}: neither executable nor {', '.join(_DATA_SUFFIXES)} (use chmod +x, or delete the file)"
            )
        if path.stat().st_mode & stat.S_IWOTH:
            raise ConfigError(f"{path}: not executed, because all users can write to it (use chmod o-w)")
        return parse_output(execute([str(path)]), str(path))

    return Source(str(path), read, slow=True)


def _raise(error: str) -> Values:
    raise ConfigError(error)


def executed_by(runner: Runner, seconds: float = COMMAND_SECONDS) -> Execute:
    """Return a function that runs a command with a timeout and returns its output; it raises ConfigError."""

    def execute(words: Sequence[str]) -> str:
        result = runner.run(ActionJob(str(external.__file__), "output", {"command": list(words)}, {}), seconds)
        if result.reason == "timeout":
            raise ConfigError(f"{shlex.join(words)}: timed out after {seconds:.0f} s")
        if result.statuscode:
            raise ConfigError(f"{shlex.join(words)}: {result.statusmsg}")
        return str(result.data["stdout"])

    return execute
