"""Where facts come from. A source has a label for people, and `read`, which raises ConfigError when it is broken.

Commands and executables run in the runner's processes: after their time they are ended with all that they have
started, and none outlives the daemon.
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
from collective.node.actions.job import ActionJob
from collective.node.actions.runner import Runner
from collective.node.facts import ec2, external
from collective.node.facts.built_in import built_in, full_name
from collective.node.facts.formats import Values, parse_output, read_file

Execute = Callable[[Sequence[str]], str]

COMMAND_SECONDS = 30.0  # that a command or executable may take
_DATA = (".yaml", ".yml", ".json", ".txt")
_LEFTOVERS = ("~", ".bak", ".orig", ".rpmnew", ".rpmsave", ".dpkg-dist", ".dpkg-new", ".dpkg-old")


@dataclass(frozen=True)
class Source:
    """One source of facts. A `slow` one may wait for something: a network, a process."""

    label: str
    read: Callable[[], Values]
    slow: bool = False


BUILT_IN = Source("built-in facts", built_in)
FULL_NAME = Source("the node's name in DNS", full_name, slow=True)
EC2 = Source("EC2 metadata", ec2.read, slow=True)


def file(path: Path) -> Source:
    """Return the source that a YAML, JSON or key=value file is."""
    return Source(str(path), partial(read_file, path))


def command(words: Sequence[str], execute: Execute) -> Source:
    """Return the source that a command's output is: JSON, YAML or key=value."""
    label = shlex.join(words)
    return Source(label, lambda: parse_output(execute(words), label), slow=True)


def folder(path: Path, execute: Execute) -> Iterator[Source]:
    """Yield the sources in a `facts.d` folder as it is now, by name: data by suffix, everything else is executed."""
    try:
        entries = sorted(path.iterdir())
    except FileNotFoundError:
        return
    except OSError as error:
        yield Source(str(path), partial(_raise, f"{path}: cannot be read: {error.strerror}"))
        return
    for entry in entries:
        if entry.name.startswith(".") or entry.name.endswith(_LEFTOVERS) or entry.is_dir():
            continue
        yield file(entry) if entry.suffix in _DATA else _executable(entry, execute)


def _executable(path: Path, execute: Execute) -> Source:
    def read() -> Values:
        if not os.access(path, os.X_OK):
            raise ConfigError(f"{path}: neither executable nor {', '.join(_DATA)}: chmod +x it, or take it away")
        if path.stat().st_mode & stat.S_IWOTH:
            raise ConfigError(f"{path}: not run, because everybody may write it: chmod o-w it")
        return parse_output(execute([str(path)]), str(path))

    return Source(str(path), read, slow=True)


def _raise(error: str) -> Values:
    raise ConfigError(error)


def executed_by(runner: Runner, seconds: float = COMMAND_SECONDS) -> Execute:
    """Return a function that runs a command for at most `seconds`, returns its output, and raises ConfigError."""

    def execute(words: Sequence[str]) -> str:
        answer = runner.run(ActionJob(str(external.__file__), "output", {"command": list(words)}, {}), seconds)
        if answer.reason == "timeout":
            raise ConfigError(f"{shlex.join(words)}: ended after {seconds:.0f} s without an answer")
        if answer.statuscode:
            raise ConfigError(f"{shlex.join(words)}: {answer.statusmsg}")
        return str(answer.data["stdout"])

    return execute
