"""Find and read the state files of the Puppet agent: locks, the summary and the report of the last run.

    puppet config print … ─► paths ─► agent_disabled.lock      {"disabled_message": …}, while disabled
                                      agent_catalog_run.lock   the process number of a run
                                      last_run_summary.yaml    counts and times
                                      last_run_report.yaml     every resource, with Ruby tags

The report is read without the tags: nothing in it is ever executed or turned into an object.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from collective.agent import Aborted, run
from collective.processes import runs

_PATHS = ("agent_disabled_lockfile", "agent_catalog_run_lockfile", "lastrunfile", "lastrunreport")
_LARGEST = 64 * 1024 * 1024  # bytes of a report
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _ReportLoader(_Loader):  # type: ignore[misc]
    """Reads YAML with Ruby tags as plain mappings, lists and strings."""


def _plain(loader: Any, _suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_scalar(node)


# YAML 1.1 gives the words `=` and `<<` meanings that no report has; PyYAML refuses the whole file for them.
for _tag in ("value", "merge"):
    _ReportLoader.add_constructor(f"tag:yaml.org,2002:{_tag}", _ReportLoader.construct_scalar)
_ReportLoader.add_multi_constructor("!ruby/", _plain)
_ReportLoader.add_multi_constructor("!", _plain)


@dataclass(frozen=True)
class PuppetState:
    """The paths of one Puppet agent's state files."""

    disabled_lock: Path
    run_lock: Path
    summary: Path
    report: Path

    @classmethod
    def find(cls, command: str, seconds: float) -> PuppetState:
        """Ask Puppet for its paths; raise Aborted if that fails."""
        done = run([command, "config", "print", "--section", "agent", *_PATHS], timeout=seconds)
        found = dict(line.split(" = ", 1) for line in done.stdout.splitlines() if " = " in line)
        if done.exitcode != 0 or not set(_PATHS) <= found.keys():
            last = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-1]
            raise Aborted(f"{command} config print failed: {last}")
        return cls(*(Path(found[name]) for name in _PATHS))

    @property
    def disabled(self) -> str | None:
        """Why runs are disabled; None if they are enabled."""
        try:
            content = json.loads(self.disabled_lock.read_text(encoding="utf-8", errors="replace") or "{}")
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            return "reason not specified"
        message = content.get("disabled_message") if isinstance(content, dict) else None
        return str(message or "reason not specified")

    @property
    def applying(self) -> bool:
        """Whether a run is going on. A lock whose process has ended is none."""
        try:
            pid = self.run_lock.read_text(encoding="ascii", errors="replace").strip()
        except OSError:
            return False
        return pid.isdigit() and runs(int(pid))

    def last_run(self) -> Mapping[str, Any]:
        """Return the content of the summary; {} before the first run."""
        found = _read(self.summary)
        return found if isinstance(found, Mapping) else {}

    def resources(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield the resources of the last run: name and status."""
        found = _read(self.report)
        statuses = found.get("resource_statuses") if isinstance(found, Mapping) else None
        for name, status in (statuses or {}).items():
            if isinstance(status, Mapping):
                yield str(name), status


def _read(path: Path) -> Any:
    try:
        if path.stat().st_size > _LARGEST:
            raise Aborted(f"{path}: larger than {_LARGEST} bytes")
        return yaml.load(path.read_bytes(), Loader=_ReportLoader)  # noqa: S506 - a safe loader, see above
    except FileNotFoundError:
        return {}
    except (OSError, yaml.YAMLError, ValueError, RecursionError) as error:
        raise Aborted(f"{path}: cannot be read: {str(error).splitlines()[0]}") from None


def number(values: Mapping[str, Any], *keys: str) -> float:
    """Return a number in nested mappings; 0 if it is missing, or not a number."""
    found: Any = values
    for key in keys:
        found = found.get(key) if isinstance(found, Mapping) else None
    return float(found) if isinstance(found, (int, float)) and math.isfinite(found) else 0.0


def address(server: str | None) -> tuple[str | None, str | None]:
    """Split `HOST:PORT`, which Puppet takes as two options. Names without a port and addresses of IPv6 stay whole."""
    host, colon, port = (server or "").partition(":")
    return (host, port) if colon and port.isdigit() else (server, None)


def arguments(options: Mapping[str, Any]) -> Sequence[str]:
    """Return the options of one run for the command line; None and false are omitted."""
    words: list[str] = []
    for name, value in options.items():
        if value is True:
            words.append(f"--{name}")
        elif value is not None and value is not False:
            words.append(f"--{name}={value}")
    return words
