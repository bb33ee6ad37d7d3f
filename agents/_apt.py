"""Manage packages with apt and dpkg (Debian, Ubuntu).

apt waits for the locks of dpkg (`DPkg::Lock::Timeout`), but fails at once if its lists or archives are locked.
`_run_with_retries` therefore runs it again until shortly before the deadline, and succeeds if another package run has
done the work meanwhile.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

from collective.agent import Aborted, Completed, run
from collective.agents._packages import ABSENT, Package, Settled

MARGIN = 3.0  # seconds reserved for the reply
PAUSE = 0.5  # seconds between two attempts

_LISTS_LOCK = Path("/var/lib/apt/lists/lock")
_DPKG_LOCKS = (Path("/var/lib/dpkg/lock-frontend"), Path("/var/lib/dpkg/lock"))
_ENVIRONMENT = {
    "DEBIAN_FRONTEND": "noninteractive",
    "APT_LISTCHANGES_FRONTEND": "none",
    "NEEDRESTART_SUSPEND": "1",
    "UCF_FORCE_CONFFOLD": "1",
}
_OPTIONS = (
    *("-y", "-q", "-o", "Dpkg::Use-Pty=0", "-o", "APT::Update::Error-Mode=any"),
    *("-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold"),
)
_SIMULATED = ("-s", "-o", "Debug::NoLocking=1")
_VERBS = {
    "install": ("install", "--allow-downgrades"),
    "update": ("install", "--only-upgrade"),
    "uninstall": ("remove",),
    "purge": ("purge",),
}
_QUERY = r"${db:Status-Status}\t${Version}\t${Architecture}\n"
_INSTALLED = frozenset({"installed", "triggers-pending", "triggers-awaited"})
_GONE = frozenset({"not-installed", "config-files"})

_CHANGED = re.compile(r"^(?:Setting up|Removing|Purging configuration files for) ", re.MULTILINE)
_WOULD_CHANGE = re.compile(r"^(?:Inst|Conf|Remv|Purg) ", re.MULTILINE)
_UPDATE = re.compile(r"^Inst (\S+) \[[^\]]*\] \((\S+) ([^)\[]+?)(?: \[[^\]]*\])?\)", re.MULTILINE)
# Not "…, are you root?": it is printed for the same locks, but waiting does not help.
_LOCK = re.compile(
    r"Could not get lock (?P<lists>/\S+?)\.?(?:\s|$)"
    r"|\((?P<dpkg>/[^)]+)\), is another process using it"
)
_DPKG_LOCK = re.compile(r"dpkg: error: .* locked by another process")
# Printed by a run that reads the lists while another run replaces them.
_LISTS_CHANGED = re.compile(r"Cache is out of sync|package lists or status file could not be parsed")


class Apt:
    """Debian's package manager: an implementation of `_packages.Provider`."""

    name = "apt"

    def query(self, package: str, deadline: float, version: str | None = None) -> Package:  # noqa: ARG002 - one version
        """Return the state of a package, or of an installed one that provides it; wait while dpkg is changing it."""
        found = self.removable(package, deadline)
        if found.ensure == ABSENT and not found.residue:
            states = (_query(name)._replace(provides=package) for name in _providers(package, deadline))
            return next((state for state in states if state.installed), found)
        return found

    def removable(self, package: str, deadline: float) -> Package:
        """Return the state of the package of exactly this name: apt does not remove what provides it."""
        while True:
            found = _query(package)
            busy = found.unfinished and any(holder(lock) for lock in _DPKG_LOCKS)
            if not busy or _too_late(deadline):
                return found
            time.sleep(PAUSE)

    def same_version(self, found: Package, version: str) -> bool:
        """Return whether the full version is the same: apt has no versions without epoch or revision."""
        return found.ensure == version

    def change(
        self, verb: str, package: str, version: str | None, settled: Settled, deadline: float
    ) -> tuple[bool, str]:
        """Install, update, uninstall or purge; see `_packages.Provider`."""
        if verb == "install" and _is_provided(package, version, deadline):
            return False, ""
        target = f"{package}={version}" if version else package
        arguments = [*_VERBS[verb], "--", target]
        done = _run_with_retries(arguments, deadline, lambda: settled(self.removable(package, deadline)))
        if done is None:
            return False, "done by another package run on this node"
        return _CHANGED.search(done.stdout) is not None, done.stdout + done.stderr

    def simulate(self, verb: str, package: str, version: str | None, deadline: float) -> tuple[bool, str]:
        """Simulate a change with `apt-get -s`, which needs no lock; see `_packages.Provider`."""
        if verb == "install" and _is_provided(package, version, deadline):
            return False, ""
        target = f"{package}={version}" if version else package
        done = _run_with_retries([*_SIMULATED, *_VERBS[verb], "--", target], deadline, lambda: False)
        output = done.stdout + done.stderr if done else ""
        return _WOULD_CHANGE.search(output) is not None, output

    def installed(self) -> list[str]:
        """Return one line for each installed package."""
        lines = _dpkg_query(r"${db:Status-Status} ${Package} ${Architecture} ${Version}\n")
        return [line.partition(" ")[2] for line in lines if line.split(" ")[0] in _INSTALLED]

    def refresh(self, deadline: float) -> tuple[int, str]:
        """Run `apt-get update`."""
        done = _run_with_retries(["update"], deadline, lambda: False)
        return (done.exitcode, done.stdout + done.stderr) if done else (0, "")

    def outdated(self, deadline: float) -> list[dict[str, str]]:
        """Return the updates of a simulated full upgrade."""
        done = _run_with_retries([*_SIMULATED, "dist-upgrade"], deadline, lambda: False)
        return parse_updates(done.stdout) if done else []

    def candidates(self, package: str, deadline: float) -> list[dict[str, str]]:
        """Return the versions in the package lists."""
        done = run(["apt-cache", "madison", "--", package], timeout=_left(deadline))
        if done.exitcode != 0:
            raise _failure("apt-cache madison", done)
        rows = [[cell.strip() for cell in line.split("|")] for line in done.stdout.splitlines()]
        return [
            {"version": row[1], "repo": row[2]}
            for row in rows
            if len(row) == 3 and row[0] == package.partition(":")[0] and not row[2].endswith("Sources")
        ]


def parse_updates(text: str) -> list[dict[str, str]]:
    """Return the updates listed by a simulated upgrade: `{package, version, repo}` each."""
    return [{"package": name, "version": version, "repo": repo} for name, version, repo in _UPDATE.findall(text)]


def holder(lock: Path) -> str:
    """Return the process that holds a lock file as `PID (NAME)`, or an empty string (proc(5): /proc/locks)."""
    try:
        inode = str(lock.stat().st_ino)
        rows = [line.split() for line in Path("/proc/locks").read_text(encoding="ascii").splitlines()]
        pids = [row[4] for row in rows if row[1] == "POSIX" and row[5].rpartition(":")[2] == inode]
        return f"{pids[0]} ({Path('/proc', pids[0], 'comm').read_text(encoding='utf-8').strip()})" if pids else ""
    except OSError:
        return ""


def _query(package: str) -> Package:
    name = package.partition(":")[0]
    found = [_package(name, *line.split("\t")) for line in _dpkg_query(_QUERY, package)]
    # One line per architecture; prefer the installed one.
    return max(found, key=lambda each: (each.installed, each.unfinished), default=Package(name))


def _providers(package: str, deadline: float) -> list[str]:
    """Return the packages that provide a virtual package, sorted; none if there is a real package of this name."""
    try:
        done = run(["apt-cache", "showpkg", "--", package], timeout=_left(deadline))
    except Aborted:  # no apt-cache
        return []
    if done.timed_out:
        raise Aborted("apt-cache showpkg did not end within the action's timeout (try again, or raise the timeout)")
    versions, _, rest = done.stdout.partition("\nVersions:")[2].partition("\nReverse Depends:")
    providers = rest.partition("\nReverse Provides:")[2]
    if versions.strip():
        return []
    return sorted({line.split(" ")[0] for line in providers.splitlines() if line.strip()})


def _package(name: str, state: str, ensure: str, arch: str) -> Package:
    if state in _GONE:
        return Package(name, residue=state == "config-files")
    epoch, _, rest = ensure.rpartition(":")
    version, _, release = rest.rpartition("-") if "-" in rest else (rest, "", "")
    unfinished = "" if state in _INSTALLED else state
    return Package(name, ensure, version, release, epoch or "0", arch, unfinished)


def _dpkg_query(form: str, package: str | None = None) -> list[str]:
    selection = ["--", package] if package else []
    done = run(["dpkg-query", "-W", f"-f={form}", *selection])
    if done.exitcode not in (0, 1):  # 1: no package matches (dpkg-query(1))
        raise Aborted(f"dpkg-query: {done.stderr.strip()}", data={"output": done.stderr})
    return done.stdout.splitlines()


def _is_provided(package: str, version: str | None, deadline: float) -> bool:
    """Return whether an installed package provides a virtual one; raise Aborted as `_require_known` does.

    apt-get would fail if several packages provide it, although one is installed.
    """
    is_virtual = _require_known(package, deadline)
    return is_virtual and not version and any(_query(name).installed for name in _providers(package, deadline))


def _require_known(package: str, deadline: float) -> bool:
    """Raise Aborted if the package lists do not have a package of exactly this name; return whether it is virtual.

    apt-get would treat unknown names as patterns, and `zsh-` as a request to remove zsh.
    """
    headings = {f"{package}:", f"{package.partition(':')[0]}:"}
    while True:
        updating = holder(_LISTS_LOCK)  # checked first: a package missing during an update may exist after it
        policy = run(["apt-cache", "policy", "--", package], timeout=_left(deadline))
        if headings & set(policy.stdout.splitlines()):
            return "\n  Candidate: (none)\n" in policy.stdout
        if policy.timed_out:
            raise Aborted("apt-cache policy did not end within the action's timeout (try again, or raise the timeout)")
        if not updating or _too_late(deadline):
            raise Aborted(
                f"Unable to locate package {package}: not in the package lists of this node "  # as apt itself says it
                "(check the name, or run the action refresh)",
                data={"output": policy.stderr},
            )
        time.sleep(PAUSE)


def _run_with_retries(arguments: list[str], deadline: float, settled: Callable[[], bool]) -> Completed | None:
    """Run apt-get until it gets its locks; return its result, or None if the work is already done by then."""
    started = time.monotonic()
    while True:
        waiting = ["-o", f"DPkg::Lock::Timeout={int(_left(deadline))}"]
        command = ["apt-get", *_OPTIONS, *waiting, *arguments]
        done = run(command, env=_ENVIRONMENT, timeout=_left(deadline) + MARGIN / 2)
        if done.exitcode == 0:
            return done
        locked = _lock_problem(done)
        if not locked:
            raise _failure(f"apt-get {arguments[0]}", done)
        if settled():
            return None
        if _too_late(deadline):
            waited = time.monotonic() - started
            raise Aborted(
                f"{locked}: gave up after {waited:.0f} s (try again when that process has ended)",
                data={"output": done.stdout + done.stderr, "exitcode": done.exitcode},
            )
        time.sleep(PAUSE)


def _lock_problem(done: Completed) -> str:
    """Return which lock another package run holds, or an empty string if this is not why apt-get failed."""
    locked = _LOCK.search(done.stderr)
    if locked:
        path = locked["lists"] or locked["dpkg"]
        named = re.search(r"held by process (\d+ \([^)]*\))", done.stderr + done.stdout)
        process = named[1] if named else holder(Path(path)) or "unknown"
        return f"'{path}' is locked by process {process}"
    if _DPKG_LOCK.search(done.stderr):
        process = next(filter(None, map(holder, _DPKG_LOCKS)), "unknown")
        return f"'{_DPKG_LOCKS[1]}' is locked by process {process}"
    updating = holder(_LISTS_LOCK)
    if updating and _LISTS_CHANGED.search(done.stderr):
        return f"'{_LISTS_LOCK}' is locked by process {updating}"
    return ""


def _failure(command: str, done: Completed) -> Aborted:
    problems = [line for line in done.stderr.splitlines() if line.startswith("E: ")]
    message = "; ".join(problems) or f"{command} failed with exit code {done.exitcode}"
    if done.timed_out:
        message = f"{command} was killed at the action's timeout (check the node with 'dpkg --audit')"
    return Aborted(message, data={"output": done.stdout + done.stderr, "exitcode": done.exitcode})


def _left(deadline: float) -> float:
    return max(1.0, deadline - time.monotonic() - MARGIN)


def _too_late(deadline: float) -> bool:
    return time.monotonic() + PAUSE > deadline - MARGIN
