"""The interface of package providers, and the state of a package.

package.py ── Provider ──┬── _apt.Apt
                         ├── _rpm.Yum (dnf, yum)
                         ├── _zypper.Zypper, based on rpm too
                         └── _apk.Apk
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

ABSENT = "absent"
Settled = Callable[["Package"], bool]


class Package(NamedTuple):
    """The state of a package. `ensure` is its full version, or `absent`; then the parts of the version are empty.

    `unfinished` is the package manager's name of the state after an interrupted run, such as `half-configured`.
    `residue` is whether configuration files of a removed package are left. `provides` is the name that was asked for
    if the package has another name and only provides that one, as vim-enhanced provides vim.
    """

    name: str
    ensure: str = ABSENT
    version: str = ""
    release: str = ""
    epoch: str = ""
    arch: str = ""
    unfinished: str = ""
    residue: bool = False
    provides: str = ""

    @property
    def installed(self) -> bool:
        """Whether the package is completely installed."""
        return self.ensure != ABSENT and not self.unfinished


class Provider(Protocol):
    """A package manager. `deadline` is in seconds of time.monotonic(); failures are raised as Aborted."""

    name: str

    def query(self, package: str, deadline: float, version: str | None = None) -> Package:
        """Return the current state of a package, or of an installed one that provides this name.

        Of several installed versions (kernels) it is `version`, or the last installed one.
        """

    def removable(self, package: str, deadline: float) -> Package:
        """Return the state of the package that `uninstall` would remove: not every manager removes what provides it."""

    def same_version(self, found: Package, version: str) -> bool:
        """Return whether the manager takes `version` to mean the installed one."""

    def change(
        self, verb: str, package: str, version: str | None, settled: Settled, deadline: float
    ) -> tuple[bool, str]:
        """Install, update, uninstall or purge; return whether this run changed anything, and its output.

        `settled` returns whether a package is already in the wanted state, perhaps through another package run.
        """

    def simulate(self, verb: str, package: str, version: str | None, deadline: float) -> tuple[bool, str]:
        """Return whether `change` would change anything, and the output of the manager's simulation."""

    def installed(self) -> list[str]:
        """Return one line `name arch version` for each installed package."""

    def refresh(self, deadline: float) -> tuple[int, str]:
        """Refresh the package lists; return exit code and output."""

    def outdated(self, deadline: float) -> list[dict[str, str]]:
        """Return the available updates: `{package, version, repo}` each."""

    def candidates(self, package: str, deadline: float) -> list[dict[str, str]]:
        """Return the versions in the package lists: `{version, repo}` each, the newest first."""
