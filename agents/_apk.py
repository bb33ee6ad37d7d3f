"""Packages by apk (Alpine). It asks nothing, and waits for its lock itself when it is told how long (apk(8))."""

from __future__ import annotations

import re

from collective.agent import Aborted, Completed, run
from collective.agents._packages import Package, Settled
from collective.agents._rpm import left

_VERBS = {"install": ("add",), "update": ("add", "--upgrade"), "uninstall": ("del",), "purge": ("del", "--purge")}
# zsh-5.9-r4 x86_64 {zsh} (MIT) [installed]   or   [upgradable from: zsh-5.9-r3]
_LISTED = re.compile(
    r"^(?P<name>\S+)-(?P<version>\d\S*)-(?P<release>r\d+) (?P<arch>\S+) \{[^}]*\} \(.*\)", re.MULTILINE
)
_VERSION_DEPTH = 2  # spaces before a version in `apk policy`; the places that have it stand deeper
_INSTALLED = "lib/apk/db/installed"  # one of these places: this node
_ACTED = re.compile(r"^\(\d+/\d+\) (?:Installing|Upgrading|Downgrading|Purging|Replacing|Reinstalling) ", re.MULTILINE)


class Apk:
    """Alpine's package manager, as `_packages.Provider` wants it."""

    name = "apk"

    def query(self, package: str, deadline: float) -> Package:
        """Return how `package` is."""
        done = _apk(["list", "--installed", "--", package], deadline)
        for row in _LISTED.finditer(done.stdout):
            if row["name"] == package:
                ensure = f"{row['version']}-{row['release']}"
                return Package(package, ensure, row["version"], row["release"], "0", row["arch"])
        return Package(package)

    def change(
        self, verb: str, package: str, version: str | None, settled: Settled, deadline: float
    ) -> tuple[bool, str]:
        """Do what `verb` says; see `_packages.Provider`. A version that was asked for stays pinned, as apk does it."""
        wanted = f"{package}={version}" if version else package
        done = _apk([*_VERBS[verb], "--", wanted], deadline)
        if done.exitcode != 0 and not settled(self.query(package, deadline)):
            raise _failure(verb, done)
        return _ACTED.search(done.stdout) is not None, done.stdout + done.stderr

    def installed(self) -> list[str]:
        """Return one line for each installed package."""
        rows = _LISTED.finditer(run(["apk", "list", "--installed"]).stdout)
        return [f"{row['name']} {row['arch']} {row['version']}-{row['release']}" for row in rows]

    def refresh(self, deadline: float) -> tuple[int, str]:
        """Fetch the package lists anew."""
        done = _apk(["update"], deadline)
        if done.exitcode != 0:
            raise _failure("update", done)
        return done.exitcode, done.stdout + done.stderr

    def outdated(self, deadline: float) -> list[dict[str, str]]:
        """Return what could be upgraded; apk's list does not say from which repository."""
        done = _apk(["list", "--upgradable"], deadline)
        rows = _LISTED.finditer(done.stdout)
        return [{"package": row["name"], "version": f"{row['version']}-{row['release']}", "repo": ""} for row in rows]

    def candidates(self, package: str, deadline: float) -> list[dict[str, str]]:
        """Return what the package lists offer."""
        done = _apk(["policy", "--", package], deadline)
        found, version = [], ""
        for line in done.stdout.splitlines():
            depth, text = len(line) - len(line.lstrip()), line.strip()
            if depth == _VERSION_DEPTH:
                version = text.rstrip(":")
            elif depth > _VERSION_DEPTH and text != _INSTALLED:
                found.append({"version": version, "repo": text})
        return found


def _apk(arguments: list[str], deadline: float) -> Completed:
    seconds = left(deadline)
    return run(["apk", "--no-progress", "--wait", str(int(seconds)), *arguments], timeout=seconds)


def _failure(verb: str, done: Completed) -> Aborted:
    """Say what went wrong, in apk's own words: `ERROR: …` and the lines that belong to it."""
    said = " ".join((done.stderr + done.stdout).partition("ERROR: ")[2].split())
    message = said or f"apk {verb} failed with exit code {done.exitcode}"
    return Aborted(message, data={"output": done.stdout + done.stderr, "exitcode": done.exitcode})
