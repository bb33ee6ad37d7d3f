"""Packages by zypper and rpm (SUSE, openSUSE). zypper waits for its lock itself when it is told how long.

Exit codes are from zypper(8). Lists are read from its XML, which is meant for programs; it comes from the package
manager of this very node, by its own command.
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
_WELL = frozenset({0, 102, 103})  # done; done, and a reboot is needed; done, and zypper itself was updated
_LOCKED = 7
_ACTED = re.compile(r"^\(\d+/\d+\) (?:Installing|Removing)", re.MULTILINE)
_PROMPTS = re.compile(r"^Continue\? .*$\n?", re.MULTILINE)


class Zypper:
    """SUSE's package manager, as `_packages.Provider` wants it."""

    name = "zypper"

    def query(self, package: str, deadline: float) -> Package:
        """Ask rpm how `package` is."""
        return _rpm.query(package, deadline)

    def change(
        self, verb: str, package: str, version: str | None, settled: Settled, deadline: float
    ) -> tuple[bool, str]:
        """Do what `verb` says; see `_packages.Provider`."""
        wanted = f"{package}={version}" if version else package
        done = _zypper([*_VERBS[verb], "--", wanted], deadline)
        output = _PROMPTS.sub("", done.stdout) + done.stderr
        if done.exitcode not in _WELL and not settled(self.query(package, deadline)):
            raise _failure(verb, done)
        return _ACTED.search(done.stdout) is not None, output

    def installed(self) -> list[str]:
        """Return one line for each installed package."""
        return _rpm.installed()

    def refresh(self, deadline: float) -> tuple[int, str]:
        """Fetch the package lists anew; one repository that cannot be read is a failure."""
        done = _zypper(["refresh", "--force"], deadline)
        if done.exitcode != 0:
            raise _failure("refresh", done)
        return done.exitcode, done.stdout + done.stderr

    def outdated(self, deadline: float) -> list[dict[str, str]]:
        """Return what `list-updates` lists."""
        done = _zypper(["--xmlout", "list-updates", "--type", "package"], deadline)
        if done.exitcode != 0:
            raise _failure("list-updates", done)
        return parse_updates(done.stdout)

    def candidates(self, package: str, deadline: float) -> list[dict[str, str]]:
        """Return what the package lists offer."""
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
    waiting = {"ZYPP_LOCK_TIMEOUT": str(int(seconds)), "LC_ALL": "C.UTF-8"}
    return run(["zypper", "--non-interactive", "--no-color", *arguments], env=waiting, timeout=seconds)


def _elements(text: str, name: str) -> Iterator[ElementTree.Element]:
    try:
        yield from ElementTree.fromstring(text).iter(name)  # noqa: S314 - of this node's own package manager
    except ElementTree.ParseError as error:
        raise Aborted(f"zypper's list cannot be read: {error}", data={"output": text}) from None


def _failure(verb: str, done: Completed) -> Aborted:
    """Say what went wrong, in zypper's own words when it has some."""
    said = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith("Please see the above")]
    message = " ".join(said[:2]) or f"zypper {verb} failed with exit code {done.exitcode}"
    if done.exitcode == _LOCKED:
        holder = (said or ["another package run holds the lock"])[0].rstrip(".")
        message = f"{holder}: ask again when that has ended"
    return Aborted(message, data={"output": done.stdout + done.stderr, "exitcode": done.exitcode})
