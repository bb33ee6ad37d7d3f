"""What every package provider speaks: a package as it is found, and the things a provider can do.

package.py ── Provider ──┬── _apt.Apt
                         ├── _rpm.Yum (dnf, yum)
                         ├── _zypper.Zypper, which asks rpm too
                         └── _apk.Apk
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

ABSENT = "absent"
Settled = Callable[["Package"], bool]


@dataclass(frozen=True)
class Package:
    """A package on this node. `ensure` is its full version, or `absent`; then the parts below are empty.

    `unfinished` is the package manager's word for a state in which a run was broken off; `residue` tells
    whether configuration files of a removed package are left.
    """

    name: str
    ensure: str = ABSENT
    version: str = ""
    release: str = ""
    epoch: str = ""
    arch: str = ""
    unfinished: str = ""
    residue: bool = False

    @property
    def installed(self) -> bool:
        """Whether the package is there, all of it."""
        return self.ensure != ABSENT and not self.unfinished


class Provider(Protocol):
    """One package manager. `deadline` is on the clock of time.monotonic(); trouble is raised as Aborted."""

    name: str

    def query(self, package: str, deadline: float) -> Package:
        """Return how `package` is on this node now."""

    def change(
        self, verb: str, package: str, version: str | None, settled: Settled, deadline: float
    ) -> tuple[bool, str]:
        """Install, update, uninstall or purge; return whether this run changed anything, and its output.

        `settled` tells of a package whether nothing is left to do: somebody else may have done it meanwhile.
        """

    def installed(self) -> list[str]:
        """Return one line `name arch version` for each installed package."""

    def refresh(self, deadline: float) -> tuple[int, str]:
        """Bring the package lists up to date; return exit code and output."""

    def outdated(self, deadline: float) -> list[dict[str, str]]:
        """Return what could be updated: `{package, version, repo}` each."""

    def candidates(self, package: str, deadline: float) -> list[dict[str, str]]:
        """Return the versions that the package lists offer: `{version, repo}` each, the newest first."""
