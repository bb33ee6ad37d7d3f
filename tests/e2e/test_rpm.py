"""The package agent against the real dnf, zypper and rpm, on a repository of packages that the tests build.

Debian brings all three; what they install lies beside dpkg's packages and is taken away again.
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

from collective.agent import Aborted
from collective.agents import package

SMALL, SLOW = "collective-small", "collective-slow"
BASE = "collective-base"  # libzypp cannot read a database of no packages
PACKAGES = [
    (SMALL, "1.0", ""),
    (SMALL, "2.0", ""),
    (SMALL, "10.0", ""),
    (SLOW, "1.0", 'os.execute("sleep 3")'),
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
%description
Brings nothing.
%post -p <lua>
{after}
%files
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory, needs: Callable[[str, str], None]) -> Iterator[Path]:
    """A folder with SMALL in versions 1.0, 2.0 and 10.0, and SLOW, which takes three seconds to install."""
    require_apt()
    for command in ("dnf", "zypper", "rpm", "rpmbuild"):
        needs(command, command.replace("rpmbuild", "rpm"))
    needs("createrepo_c", "createrepo-c")
    folder = tmp_path_factory.mktemp("rpm")
    for name, version, after in PACKAGES:
        spec = folder / "package.spec"
        spec.write_text(SPEC.format(name=name, version=version, after=after))
        places = [f"_topdir {folder}/build", f"_rpmdir {folder}/repository"]
        do("rpmbuild", "-bb", "--quiet", "-D", places[0], "-D", places[1], str(spec))
    do("createrepo_c", "-q", str(folder / "repository"))
    # Where Debian's rpm looks is the user's home; dnf and zypper mean the machine's.
    (folder / ".rpmmacros").write_text("%_dbpath /var/lib/rpm\n")
    for path in REPOSITORIES.values():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"[collective-test]\nname=test\nbaseurl=file://{folder}/repository\ngpgcheck=0\nenabled=1\n")
    do("rpm", "-i", "--dbpath", "/var/lib/rpm", *map(str, folder.glob(f"repository/noarch/{BASE}*")))
    yield folder
    do("rpm", "-e", "--dbpath", "/var/lib/rpm", BASE)
    for path in REPOSITORIES.values():
        path.unlink()


def do(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True, timeout=60)


Call = Callable[..., dict[str, Any]]


@pytest.fixture(params=REPOSITORIES)
def call(request: pytest.FixtureRequest, repository: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Call]:
    """Call an action by one package manager, on a machine without the packages."""
    monkeypatch.setenv("HOME", str(repository))
    settings = {"provider": request.param}

    def call(action: str, *words: str) -> dict[str, Any]:
        given: dict[str, Any] = {"settings": settings}
        if action not in ("count", "md5"):
            given["deadline"] = time.monotonic() + 30
        return dict(getattr(package, action)(*words, **given))

    call("refresh")
    yield call
    for name in (SMALL, SLOW):
        subprocess.run(["rpm", "-e", name], capture_output=True, check=False, timeout=60)


def test_a_package_comes_changes_and_goes(call: Call) -> None:
    """Installed in an old version, seen as outdated, brought up to date, set back and removed; each once."""
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


def test_what_is_offered_comes_newest_first(call: Call) -> None:
    """Versions are compared as rpm does: 10.0 is newer than 2.0. A name is meant as it is written."""
    rows = call("search", SMALL)["candidates"]
    assert [row["version"] for row in rows] == ["10.0-1", "2.0-1", "1.0-1"]
    assert call("search", "collective")["candidates"] == []


def test_a_missing_resource_is_not_found(call: Call) -> None:
    """A name, or a version of a known one: the package manager's own words."""
    with pytest.raises(Aborted, match="no-such-package"):
        call("install", "no-such-package")
    with pytest.raises(Aborted, match=r"9\.9"):
        call("install", SMALL, "9.9-1")


def test_another_run_is_waited_for(call: Call, request: pytest.FixtureRequest) -> None:
    """Two at once end well, one after the other."""
    manager = request.node.callspec.params["call"]
    words = ["--non-interactive", "install"] if manager == "zypper" else ["-y", "install"]
    # In a thread that waits for it: to libzypp a process holds the lock for as long as it has not been waited for.
    with ThreadPoolExecutor() as pool:
        other = pool.submit(do, manager, *words, SLOW)
        time.sleep(1.0)
        assert call("install", SMALL)["ensure"] == "10.0-1"
        other.result()
    assert call("status", SLOW)["ensure"] == "1.0-1"
