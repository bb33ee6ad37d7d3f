"""Manage packages with dnf or yum, and rpm (Red Hat, Fedora, Amazon Linux). dnf and yum wait for their locks.

`query` and `installed` use rpm directly; all package managers based on rpm share them.
"""

from __future__ import annotations

import re
import time

from collective.agent import Aborted, Completed, run
from collective.agents._packages import Package, Settled

_VERBS = {"install": "install", "update": "update", "uninstall": "remove", "purge": "remove"}
_QUERY = r"%{INSTALLTIME}\t%{VERSION}\t%{RELEASE}\t%{EPOCH}\t%{ARCH}\t%{NAME}\n"
_CONTINUED = re.compile(r"^([ \t]*\S+)[ \t]*\n[ \t]+(\S+[ \t]+\S+[ \t]*)$", re.MULTILINE)  # name; version, repo
_NO_MATCH = re.compile(r"No matching packages", re.IGNORECASE)  # dnf and yum; dnf5 writes it in lower case
_AVAILABLE = re.compile(r"^Available packages", re.IGNORECASE | re.MULTILINE)  # headings; dnf5 has a small p
_OBSOLETING = re.compile(r"^Obsoleting packages", re.IGNORECASE | re.MULTILINE)
_NOTHING = re.compile(r"^Nothing to do", re.MULTILINE)  # not printed with -q
_DECLINED = re.compile(r"^(?:Operation aborted|Exiting on user [cC]ommand)", re.MULTILINE)  # dnf, yum
_UPDATES_AVAILABLE = 100  # exit code of `check-update`


class Yum:
    """dnf or yum, which have the same commands: an implementation of `_packages.Provider`."""

    def __init__(self, command: str) -> None:
        self.name = command

    def query(self, package: str, deadline: float, version: str | None = None) -> Package:
        """Return the state of a package, from rpm."""
        return query(package, deadline, version)

    def removable(self, package: str, deadline: float) -> Package:
        """Return the same as `query`: dnf and yum remove what provides the name."""
        return query(package, deadline)

    def same_version(self, found: Package, version: str) -> bool:
        """Return whether dnf and yum take `version` to mean the installed one."""
        return same_version(found, version)

    def change(
        self, verb: str, package: str, version: str | None, settled: Settled, deadline: float
    ) -> tuple[bool, str]:
        """Install, update, uninstall or purge; see `_packages.Provider`."""
        target = f"{package}-{version}" if version else package
        done = self._run([_VERBS[verb], "--", target], deadline)
        if done.exitcode != 0 and not settled(self.query(package, deadline, version)):
            raise self._failure(_VERBS[verb], done)
        changed = done.exitcode == 0 and not _NOTHING.search(done.stdout)
        return changed, done.stdout + done.stderr

    def simulate(self, verb: str, package: str, version: str | None, deadline: float) -> tuple[bool, str]:
        """Simulate a change with `--assumeno`, whose exit code is that of a refusal; see `_packages.Provider`."""
        target = f"{package}-{version}" if version else package
        done = run([self.name, "--assumeno", _VERBS[verb], "--", target], timeout=left(deadline))
        output = done.stdout + done.stderr
        declined = _DECLINED.search(output) is not None
        if done.exitcode != 0 and not declined:
            raise self._failure(_VERBS[verb], done)
        return declined, output

    def installed(self) -> list[str]:
        """Return one line for each installed package."""
        return installed()

    def refresh(self, deadline: float) -> tuple[int, str]:
        """Refresh the package lists."""
        self._run(["clean", "expire-cache"], deadline)
        done = self._run(["makecache"], deadline)
        if done.exitcode != 0:
            raise self._failure("makecache", done)
        return done.exitcode, done.stdout + done.stderr

    def outdated(self, deadline: float) -> list[dict[str, str]]:
        """Return the updates listed by `check-update`."""
        done = self._run(["-q", "check-update"], deadline)
        if done.exitcode not in (0, _UPDATES_AVAILABLE):
            raise self._failure("check-update", done)
        return parse_updates(done.stdout)

    def candidates(self, package: str, deadline: float) -> list[dict[str, str]]:
        """Return the versions in the package lists."""
        done = self._run(["-q", "list", "--showduplicates", "--", package], deadline)
        if done.exitcode != 0 and not _NO_MATCH.search(done.stdout + done.stderr):
            raise self._failure("list", done)
        rows = parse_updates("".join(_AVAILABLE.split(done.stdout, maxsplit=1)[1:]))
        return [{"version": row["version"], "repo": row["repo"]} for row in reversed(rows)]

    def _run(self, arguments: list[str], deadline: float) -> Completed:
        return run([self.name, "-y", *arguments], timeout=left(deadline))

    def _failure(self, verb: str, done: Completed) -> Aborted:
        errors = [line for line in done.stderr.splitlines() if line.startswith("Error")]
        message = "; ".join(errors) or f"{self.name} {verb} failed with exit code {done.exitcode}"
        return Aborted(message, data={"output": done.stdout + done.stderr, "exitcode": done.exitcode})


def query(package: str, deadline: float, version: str | None = None) -> Package:
    """Return the state of a package, or of an installed one that provides it, as rpm has it.

    Of several installed versions (kernels) it is `version`, or the last installed one.
    """
    # Not --last, which prints its own format between the lines of this one.
    done = run(["rpm", "-q", "--qf", _QUERY, "--", package], timeout=left(deadline))
    found = _packages(package, done)
    if not found:
        done = run(["rpm", "-q", "--whatprovides", "--qf", _QUERY, "--", package], timeout=left(deadline))
        rows = _packages("", done)
        found = [(at, row._replace(provides=package)) for at, row in rows if row.name]
    same = [entry for entry in found if version and same_version(entry[1], version)]
    return max(same or found, key=lambda entry: entry[0], default=(0, Package(package)))[1]


def same_version(found: Package, version: str) -> bool:
    """Return whether `version` is the installed one: with or without epoch and release, as rpm compares them."""
    epochs = ("", f"{found.epoch}:")
    releases = ("", f"-{found.release}")
    return version in {f"{epoch}{found.version}{release}" for epoch in epochs for release in releases}


def _packages(name: str, done: Completed) -> list[tuple[int, Package]]:
    """Return time of installation and state of each package in the output of rpm."""
    _require_database(done)
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    return [_package(name, row) for row in rows if len(row) in (5, 6)]


def _require_database(done: Completed) -> None:
    """Raise Aborted if rpm could not read its database: a package that cannot be looked up is not absent."""
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    if done.timed_out or (done.exitcode != 0 and errors):
        message = "; ".join(errors) or "rpm did not end within the action's timeout"
        raise Aborted(message, data={"output": done.stderr, "exitcode": done.exitcode})


def _package(name: str, row: list[str]) -> tuple[int, Package]:
    installed_at, version, release, epoch, arch, *own_name = row
    known_epoch = "0" if epoch == "(none)" else epoch
    ensure = f"{version}-{release}" if known_epoch == "0" else f"{known_epoch}:{version}-{release}"
    full_name = own_name[0] if own_name else name
    return int(installed_at), Package(full_name, ensure, version, release, known_epoch, arch)


def installed() -> list[str]:
    """Return one line for each installed package."""
    done = run(["rpm", "-qa", "--qf", r"%{NAME} %{ARCH} %{EVR}\n"])
    _require_database(done)
    if done.exitcode != 0:
        raise Aborted(f"rpm -qa failed with exit code {done.exitcode}", data={"output": done.stderr})
    return done.stdout.splitlines()


def parse_updates(text: str) -> list[dict[str, str]]:
    """Return the rows `NAME.ARCH VERSION REPO` of a list: `{package, version, repo}` each.

    yum continues a row that is longer than 80 columns on the next line, which begins with a space.
    """
    listed = _CONTINUED.sub(r"\1 \2", _OBSOLETING.split(text, maxsplit=1)[0])
    rows = [line.split() for line in listed.splitlines()]
    return [
        {
            "package": row[0].rpartition(".")[0] or row[0],
            "version": row[1],
            "repo": row[2],
        }
        for row in rows
        if len(row) == 3
    ]


def left(deadline: float) -> float:
    """Return how many seconds a command can take before `deadline`; one second is reserved for the reply."""
    return max(1.0, deadline - time.monotonic() - 1.0)
