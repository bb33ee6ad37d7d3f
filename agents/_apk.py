"""Manage packages with apk (Alpine). apk never prompts, and waits for its lock with --wait (apk(8))."""

from __future__ import annotations

import re

from collective.agent import Aborted, Completed, run
from collective.agents._packages import Package, Settled
from collective.agents._rpm import left

_VERBS = {"install": ("add",), "update": ("add", "--upgrade"), "uninstall": ("del",), "purge": ("del", "--purge")}
# zsh-5.9-r4 x86_64 {zsh} (MIT) [installed]   or   [upgradable from: zsh-5.9-r3]; with --providers after <NAME>
_LISTED = re.compile(
    r"^(?:<(?P<provides>[^>]*)> )?(?P<name>\S+)-(?P<version>\d\S*)-(?P<release>r\d+) (?P<arch>\S+) \{[^}]*\} \(.*\)",
    re.MULTILINE,
)
_VERSION_DEPTH = 2  # spaces before a version in `apk policy`; its repositories are indented deeper
_INSTALLED = "lib/apk/db/installed"  # the entry of `apk policy` for the installed version
_CHANGED = re.compile(
    r"^\(\d+/\d+\) (?:Installing|Upgrading|Downgrading|Purging|Replacing|Reinstalling) ", re.MULTILINE
)


class Apk:
    """Alpine's package manager: an implementation of `_packages.Provider`."""

    name = "apk"

    def query(self, package: str, deadline: float, version: str | None = None) -> Package:  # noqa: ARG002 - one version
        """Return the state of a package, or of an installed one that provides it."""
        rows = _listed(_apk(["list", "--installed", "--providers", "--", package], deadline))
        own = [_package(row) for row in rows if row["name"] == package]
        others = [_package(row)._replace(provides=package) for row in rows if row["provides"] == package]
        return next(iter([*own, *others]), Package(package))

    def removable(self, package: str, deadline: float) -> Package:
        """Return the state of the package of exactly this name: apk does not remove what provides it."""
        found = self.query(package, deadline)
        return Package(package) if found.provides else found

    def same_version(self, found: Package, version: str) -> bool:
        """Return whether the full version is the same, as `=` of apk compares it."""
        return found.ensure == version

    def change(
        self, verb: str, package: str, version: str | None, settled: Settled, deadline: float
    ) -> tuple[bool, str]:
        """Install, update, uninstall or purge; see `_packages.Provider`. apk pins an explicit version."""
        target = f"{package}={version}" if version else package
        done = _apk([*_VERBS[verb], "--", target], deadline)
        if done.exitcode != 0 and not settled(self.query(package, deadline)):
            raise _failure(verb, done)
        return _CHANGED.search(done.stdout) is not None, done.stdout + done.stderr

    def simulate(self, verb: str, package: str, version: str | None, deadline: float) -> tuple[bool, str]:
        """Simulate a change with `--simulate`; see `_packages.Provider`."""
        target = f"{package}={version}" if version else package
        done = _apk([*_VERBS[verb], "--simulate", "--", target], deadline)
        if done.exitcode != 0:
            raise _failure(verb, done)
        return _CHANGED.search(done.stdout) is not None, done.stdout + done.stderr

    def installed(self) -> list[str]:
        """Return one line for each installed package."""
        rows = _listed(run(["apk", "list", "--installed"]))
        return [f"{row['name']} {row['arch']} {row['version']}-{row['release']}" for row in rows]

    def refresh(self, deadline: float) -> tuple[int, str]:
        """Refresh the package lists."""
        done = _apk(["update"], deadline)
        if done.exitcode != 0:
            raise _failure("update", done)
        return done.exitcode, done.stdout + done.stderr

    def outdated(self, deadline: float) -> list[dict[str, str]]:
        """Return available updates; `repo` is empty, because apk does not list repositories here."""
        done = _apk(["list", "--upgradable"], deadline)
        rows = _listed(done)
        return [{"package": row["name"], "version": f"{row['version']}-{row['release']}", "repo": ""} for row in rows]

    def candidates(self, package: str, deadline: float) -> list[dict[str, str]]:
        """Return the versions in the package lists."""
        done = _apk(["policy", "--", package], deadline)
        found, version = [], ""
        for line in done.stdout.splitlines():
            depth, text = len(line) - len(line.lstrip()), line.strip()
            if depth == _VERSION_DEPTH:
                version = text.rstrip(":")
            elif depth > _VERSION_DEPTH and text != _INSTALLED:
                found.append({"version": version, "repo": text})
        return found


def _listed(done: Completed) -> list[re.Match[str]]:
    """Return the rows of `apk list`; raise Aborted if apk reports an error, as an unread package is not absent."""
    if done.exitcode != 0 and "ERROR: " in done.stderr + done.stdout:
        raise _failure("list", done)
    return list(_LISTED.finditer(done.stdout))


def _package(row: re.Match[str]) -> Package:
    return Package(row["name"], f"{row['version']}-{row['release']}", row["version"], row["release"], "0", row["arch"])


def _apk(arguments: list[str], deadline: float) -> Completed:
    seconds = left(deadline)
    return run(["apk", "--no-progress", "--wait", str(int(seconds)), *arguments], timeout=seconds)


def _failure(verb: str, done: Completed) -> Aborted:
    """Return an error with apk's own message: `ERROR: …` and the lines after it."""
    error = " ".join((done.stderr + done.stdout).partition("ERROR: ")[2].split())
    message = error or f"apk {verb} failed with exit code {done.exitcode}"
    return Aborted(message, data={"output": done.stdout + done.stderr, "exitcode": done.exitcode})
