"""Manage packages with zypper and rpm (SUSE, openSUSE). zypper waits for its lock with ZYPP_LOCK_TIMEOUT.

Exit codes are from zypper(8). Lists are parsed from its XML output, which comes from this node's own package manager.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree import ElementTree

from collective.agent import Aborted, Completed, run
from collective.agents import _rpm
from collective.agents._packages import Package, Settled

_VERBS = {
    "install": ("install", "--oldpackage", "--auto-agree-with-licenses"),
    "update": ("update", "--auto-agree-with-licenses"),
    "uninstall": ("remove",),
    "purge": ("remove",),
}
_SUCCESS = frozenset({0, 102, 103})  # success; reboot needed; zypper itself was updated
_LOCKED = 7
_CHANGED = re.compile(r"^\(\d+/\d+\) (?:Installing|Removing)", re.MULTILINE)
_WOULD_CHANGE = re.compile(r"^The following .* going to be ", re.MULTILINE)
_PROMPTS = re.compile(r"^Continue\? .*$\n?", re.MULTILINE)


class Zypper:
    """SUSE's package manager: an implementation of `_packages.Provider`."""

    name = "zypper"

    def query(self, package: str, deadline: float, version: str | None = None) -> Package:
        """Return the state of a package, from rpm."""
        return _rpm.query(package, deadline, version)

    def removable(self, package: str, deadline: float) -> Package:
        """Return the same as `query`: zypper removes what provides the name."""
        return _rpm.query(package, deadline)

    def same_version(self, found: Package, version: str) -> bool:
        """Return whether zypper takes `version` to mean the installed one."""
        return _rpm.same_version(found, version)

    def change(
        self, verb: str, package: str, version: str | None, settled: Settled, deadline: float
    ) -> tuple[bool, str]:
        """Install, update, uninstall or purge; see `_packages.Provider`."""
        target = f"{package}={version}" if version else package
        done = _zypper([*_VERBS[verb], "--", target], deadline)
        output = _PROMPTS.sub("", done.stdout) + done.stderr
        if done.exitcode not in _SUCCESS and not settled(self.query(package, deadline, version)):
            raise _failure(verb, done)
        return _CHANGED.search(done.stdout) is not None, output

    def simulate(self, verb: str, package: str, version: str | None, deadline: float) -> tuple[bool, str]:
        """Simulate a change with `--dry-run`; see `_packages.Provider`."""
        target = f"{package}={version}" if version else package
        command, *arguments = _VERBS[verb]
        done = _zypper([command, "--dry-run", *arguments, "--", target], deadline)
        if done.exitcode not in _SUCCESS:
            raise _failure(verb, done)
        return _WOULD_CHANGE.search(done.stdout) is not None, _PROMPTS.sub("", done.stdout) + done.stderr

    def installed(self) -> list[str]:
        """Return one line for each installed package."""
        return _rpm.installed()

    def refresh(self, deadline: float) -> tuple[int, str]:
        """Refresh the package lists; fails if one repository cannot be read."""
        done = _zypper(["refresh", "--force"], deadline)
        if done.exitcode != 0:
            raise _failure("refresh", done)
        return done.exitcode, done.stdout + done.stderr

    def outdated(self, deadline: float) -> list[dict[str, str]]:
        """Return the updates listed by `list-updates`."""
        done = _zypper(["--xmlout", "list-updates", "--type", "package"], deadline)
        if done.exitcode != 0:
            raise _failure("list-updates", done)
        return parse_updates(done.stdout)

    def candidates(self, package: str, deadline: float) -> list[dict[str, str]]:
        """Return the versions in the package lists."""
        search = ["--xmlout", "search", "--details", "--match-exact", "--type", "package", "--", package]
        done = _zypper(search, deadline)
        rows = [row for row in _elements(done.stdout, "solvable") if row.get("repository") != "(System Packages)"]
        return [{"version": row.get("edition", ""), "repo": row.get("repository", "")} for row in rows]


def parse_updates(text: str) -> list[dict[str, str]]:
    """Return the updates in the XML of `list-updates`: `{package, version, repo}` each."""
    return [
        {
            "package": row.get("name", ""),
            "version": row.get("edition", ""),
            "repo": next((source.get("alias", "") for source in row.iter("source")), ""),
        }
        for row in _elements(text, "update")
    ]


def _zypper(arguments: list[str], deadline: float) -> Completed:
    seconds = _rpm.left(deadline)
    environment = {"ZYPP_LOCK_TIMEOUT": str(int(seconds)), "LC_ALL": "C.UTF-8"}
    return run(["zypper", "--non-interactive", "--no-color", *arguments], env=environment, timeout=seconds)


def _elements(text: str, name: str) -> Iterator[ElementTree.Element]:
    try:
        yield from ElementTree.fromstring(text).iter(name)  # noqa: S314 - from this node's own package manager
    except ElementTree.ParseError as error:
        raise Aborted(f"cannot parse the output of zypper: {error}", data={"output": text}) from None


def _failure(verb: str, done: Completed) -> Aborted:
    """Return an error with zypper's own message, if there is one."""
    lines = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith("Please see the above")]
    message = " ".join(lines[:2]) or f"zypper {verb} failed with exit code {done.exitcode}"
    if done.exitcode == _LOCKED:
        holder = (lines or ["another package run holds the lock"])[0].rstrip(".")
        message = f"{holder} (try again when it has ended)"
    return Aborted(message, data={"output": done.stdout + done.stderr, "exitcode": done.exitcode})
