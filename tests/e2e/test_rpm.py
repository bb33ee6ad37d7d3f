"""Tests of the package agent with the real dnf, zypper and rpm, on a repository that the tests build.

Debian has packages of all three. What they install is separate from the packages of dpkg, and is removed again.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support.apt_machine import require_apt
from support.waiting import wait_until

from collective.agent import Aborted
from collective.agents import package

SMALL, SLOW = "collective-small", "collective-slow"
PROVIDED, CAPABILITY = "collective-provided", "collective(Capability)"  # what SMALL provides
MACROS = Path("/etc/rpm/macros.collective-test")
BASE = "collective-base"  # libzypp cannot read an empty database
PACKAGES = [
    (SMALL, "1.0", ""),
    (SMALL, "2.0", ""),
    (SMALL, "10.0", ""),
    (SLOW, "1.0", 'os.execute("touch {folder}/installing; sleep 3")'),
    (BASE, "1", ""),
]
REPOSITORIES = {
    "dnf": Path("/etc/yum.repos.d/collective-test.repo"),
    "zypper": Path("/etc/zypp/repos.d/collective-test.repo"),
}
SPEC = """
Name: {name}
Version: {version}
Release: 1
Summary: For a test
License: Apache-2.0
BuildArch: noarch
AutoReqProv: no
{provides}
%description
Empty.
%post -p <lua>
{script}
%files
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory, needs: Callable[[str, str], None]) -> Iterator[Path]:
    """Build a repository with SMALL in versions 1.0, 2.0 and 10.0, and SLOW, which takes 3 s to install."""
    require_apt()
    for command in ("dnf", "zypper", "rpm", "rpmbuild"):
        needs(command, command.replace("rpmbuild", "rpm"))
    needs("createrepo_c", "createrepo-c")
    folder = tmp_path_factory.mktemp("rpm")
    for name, version, script in PACKAGES:
        spec = folder / "package.spec"
        provides = f"Provides: {PROVIDED} = {version}, {CAPABILITY}" if name == SMALL else ""
        script = script.format(folder=folder)
        spec.write_text(SPEC.format(name=name, version=version, provides=provides, script=script))
        places = [f"_topdir {folder}/build", f"_rpmdir {folder}/repository"]
        run("rpmbuild", "-bb", "--quiet", "-D", places[0], "-D", places[1], str(spec))
    run("createrepo_c", "-q", str(folder / "repository"))
    # Debian's rpm uses a database in the home of the user; dnf and zypper use that of the machine.
    MACROS.parent.mkdir(parents=True, exist_ok=True)
    MACROS.write_text("%_dbpath /var/lib/rpm\n")
    for path in REPOSITORIES.values():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"[collective-test]\nname=test\nbaseurl=file://{folder}/repository\ngpgcheck=0\nenabled=1\n")
    run("rpm", "-i", "--dbpath", "/var/lib/rpm", *map(str, folder.glob(f"repository/noarch/{BASE}*")))
    yield folder
    run("rpm", "-e", "--dbpath", "/var/lib/rpm", BASE)
    for path in (MACROS, *REPOSITORIES.values()):
        path.unlink()


def run(*words: str) -> None:
    """Run a command; fail if it fails."""
    subprocess.run(words, check=True, capture_output=True, timeout=60)


Call = Callable[..., dict[str, Any]]


@pytest.fixture(params=REPOSITORIES)
def call(request: pytest.FixtureRequest, repository: Path) -> Iterator[Call]:
    """Return a function that calls an action with one package manager, on a machine without the packages."""
    assert repository.exists()
    settings = {"provider": request.param}

    def call(action: str, *words: str, **more: Any) -> dict[str, Any]:
        arguments: dict[str, Any] = {"settings": settings, **more}
        if action not in ("count", "md5"):
            arguments["deadline"] = time.monotonic() + 30
        return dict(getattr(package, action)(*words, **arguments))

    call("refresh")
    yield call
    for name in (SMALL, SLOW):
        subprocess.run(["rpm", "-e", name], capture_output=True, check=False, timeout=60)


def test_install_update_downgrade_and_uninstall(call: Call) -> None:
    """A package is installed in an old version, listed as outdated, updated, downgraded and removed, each time once."""
    assert call("status", SMALL)["ensure"] == "absent"
    first = call("install", SMALL, "1.0-1")
    assert (first["changed"], first["ensure"], first["release"], first["arch"]) == (True, "1.0-1", "1", "noarch")
    assert call("install", SMALL)["changed"] is False
    assert call("count")["count"] == 2
    outdated = [row for row in call("checkupdates")["outdated_packages"] if row["package"] == SMALL]
    assert [row["version"] for row in outdated] == ["10.0-1"]
    newest = call("update", SMALL)
    assert (newest["changed"], newest["ensure"]) == (True, "10.0-1")
    assert call("update", SMALL)["changed"] is False
    back = call("install", SMALL, "2.0-1")
    assert (back["changed"], back["ensure"]) == (True, "2.0-1")
    gone = call("uninstall", SMALL)
    assert (gone["changed"], gone["ensure"]) == (True, "absent")
    assert call("purge", SMALL)["changed"] is False


def test_a_dry_run_changes_nothing(call: Call) -> None:
    """A dry run says whether the package manager would change something, and leaves the packages as they are."""
    planned = call("install", SMALL, "1.0-1", dry_run=True)
    assert (planned["changed"], planned["ensure"]) == (True, "absent")
    assert call("status", SMALL)["ensure"] == "absent"
    call("install", SMALL, "1.0-1")
    assert call("update", SMALL, dry_run=True)["changed"] is True
    assert call("uninstall", SMALL, dry_run=True)["changed"] is True
    assert call("status", SMALL)["ensure"] == "1.0-1"
    call("update", SMALL)
    assert call("update", SMALL, dry_run=True)["changed"] is False
    with pytest.raises(Aborted):
        call("install", "collective-no-such-package", dry_run=True)


def test_search_lists_the_newest_version_first(call: Call) -> None:
    """Versions are compared as rpm does (10.0 is newer than 2.0), and the name must match exactly."""
    rows = call("search", SMALL)["candidates"]
    assert [row["version"] for row in rows] == ["10.0-1", "2.0-1", "1.0-1"]
    assert call("search", "collective")["candidates"] == []


def test_a_missing_package_or_version_is_reported(call: Call) -> None:
    """The status message is the error of the package manager."""
    with pytest.raises(Aborted, match="no-such-package"):
        call("install", "no-such-package")
    with pytest.raises(Aborted, match=r"9\.9"):
        call("install", SMALL, "9.9-1")


def test_a_concurrent_run_is_waited_for(call: Call, repository: Path, request: pytest.FixtureRequest) -> None:
    """Two package managers at the same time both succeed, one after the other."""
    (repository / "installing").unlink(missing_ok=True)
    manager = request.node.callspec.params["call"]
    words = ["--non-interactive", "install"] if manager == "zypper" else ["-y", "install"]
    # A thread waits for the process: libzypp counts a zombie as the holder of the lock.
    with ThreadPoolExecutor() as pool:
        other = pool.submit(run, manager, *words, SLOW)
        wait_until(lambda: (repository / "installing").exists() or other.done(), 30)
        assert call("install", SMALL)["ensure"] == "10.0-1"
        other.result()
    assert call("status", SLOW)["ensure"] == "1.0-1"


@pytest.mark.parametrize("name", [PROVIDED, CAPABILITY])
def test_a_name_that_a_package_provides(call: Call, name: str) -> None:
    """What the package manager takes the name to mean is installed once, shown with its own name, and removed."""
    first = call("install", name)
    assert (first["changed"], first["name"], first["ensure"]) == (True, SMALL, "10.0-1")
    again = call("install", name)
    assert (again["changed"], again["name"], again["ensure"]) == (False, SMALL, "10.0-1")
    assert call("status", name)["name"] == SMALL
    assert call("update", name)["changed"] is False
    gone = call("uninstall", name)
    assert (gone["changed"], gone["ensure"]) == (True, "absent")
    assert call("status", SMALL)["ensure"] == "absent"


@pytest.mark.parametrize("version", ["2.0", "2.0-1", "0:2.0-1"])
def test_a_version_in_each_form(call: Call, version: str) -> None:
    """A version without release, and with an epoch, is installed once."""
    if version.startswith("0:") and call("count")["provider"] == "zypper":
        pytest.skip("zypper has no epoch 0")
    first = call("install", SMALL, version)
    assert (first["changed"], first["ensure"]) == (True, "2.0-1")
    assert call("install", SMALL, version)["changed"] is False
