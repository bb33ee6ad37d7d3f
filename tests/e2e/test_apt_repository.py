"""The package agent with the real apt and a repository of its own: pins, holds, questions, and broken repositories."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.apt_machine import require_apt
from support.apt_repository import AptRepository

from collective.agent import Aborted
from collective.agents import package

NAME = "collective-test-package"
CONFFILE = f"/etc/{NAME}.conf"
QUESTION = f"""Template: {NAME}/colour
Type: string
Default: blue
Description: Which colour?
"""
ASK = f"""#!/bin/sh
set -e
. /usr/share/debconf/confmodule
db_input critical {NAME}/colour || true
db_go
db_get {NAME}/colour
echo "colour is $RET" >&2
"""
# Reads an answer as careless packages do, without debconf.
READ = """#!/bin/sh
echo 'Continue? [y/N]'
read answer || answer=nothing
echo "answer was: $answer"
"""


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AptRepository]:
    """A repository with version 1.0 of a package, which is removed from the machine at the end."""
    require_apt()
    made = AptRepository(tmp_path)
    made.create()
    made.add(NAME, "1.0", {})
    monkeypatch.setenv("APT_CONFIG", str(made.config))
    assert call("refresh")["exitcode"] == 0
    yield made
    subprocess.run(["apt-mark", "unhold", NAME], check=False, capture_output=True)
    subprocess.run(["dpkg", "--purge", "--force-all", NAME], check=False, capture_output=True)


def call(action: str, *args: str, **more: Any) -> dict[str, Any]:
    """Call an action of the package agent; return its outputs."""
    return dict(getattr(package, action)(*args, settings={}, deadline=time.monotonic() + 60, **more))


def newer(repository: AptRepository, files: dict[str, str] | None = None) -> None:
    """Publish version 2.0 of the package."""
    repository.add(NAME, "2.0", files or {})
    assert call("refresh")["exitcode"] == 0


def test_a_pinned_version_is_installed_and_another_one_on_demand(repository: AptRepository) -> None:
    """Apt's preferences decide which version is installed, unless the request names one."""
    newer(repository)
    repository.pin(NAME, "1.0")
    assert call("install", NAME)["ensure"] == "1.0"
    assert call("update", NAME)["changed"] is False
    assert [row["version"] for row in call("search", NAME)["candidates"]] == ["2.0", "1.0"]
    assert call("install", NAME, "2.0")["ensure"] == "2.0"
    assert call("install", NAME, "1.0")["ensure"] == "1.0"


def test_a_held_package_is_not_changed(repository: AptRepository) -> None:
    """A package that an administrator holds stays as it is, and the error says that it is held."""
    assert call("install", NAME)["ensure"] == "1.0"
    newer(repository)
    subprocess.run(["apt-mark", "hold", NAME], check=True, capture_output=True)
    for action, words in {"update": (), "install": ("2.0",), "uninstall": (), "purge": ()}.items():
        with pytest.raises(Aborted, match="Held packages were changed"):
            call(action, NAME, *words)
    assert call("status", NAME)["ensure"] == "1.0"
    subprocess.run(["apt-mark", "unhold", NAME], check=True, capture_output=True)
    assert call("update", NAME)["ensure"] == "2.0"


def test_a_package_that_asks_a_question_gets_its_default(repository: AptRepository) -> None:
    """Debconf does not ask, and a script that reads its input gets none: nothing waits for an answer."""
    question = {"DEBIAN/templates": QUESTION, "DEBIAN/postinst": ASK, "DEBIAN/preinst": READ}
    repository.add(NAME, "2.0", {**question, "DEBIAN/postrm": READ})
    call("refresh")
    began = time.monotonic()
    reply = call("install", NAME)
    assert (reply["changed"], reply["ensure"]) == (True, "2.0")
    assert "colour is blue" in reply["output"]
    assert "answer was: nothing" in reply["output"] or "answer was: \n" in reply["output"]
    assert call("purge", NAME)["changed"] is True
    assert time.monotonic() - began < 50


def test_a_changed_configuration_file_is_kept(repository: AptRepository) -> None:
    """Dpkg would ask which version to use; the file on the node stays. Purge removes it, uninstall does not."""
    files = {CONFFILE.lstrip("/"): "colour = red\n", "DEBIAN/conffiles": f"{CONFFILE}\n"}
    repository.add(NAME, "1.1", files)
    call("refresh")
    call("install", NAME)
    Path(CONFFILE).write_text("colour = mine\n")
    newer(repository, {**files, CONFFILE.lstrip("/"): "colour = green\n"})
    assert call("update", NAME)["ensure"] == "2.0"
    assert Path(CONFFILE).read_text() == "colour = mine\n"
    assert call("uninstall", NAME)["ensure"] == "absent"
    assert Path(CONFFILE).exists()
    assert call("purge", NAME)["changed"] is True
    assert not Path(CONFFILE).exists()


def test_a_package_whose_script_fails_is_a_failure(repository: AptRepository) -> None:
    """The state of a half-installed package is in the reply, and a later version repairs it."""
    repository.add(NAME, "1.5", {"DEBIAN/postinst": "#!/bin/sh\necho no such disk >&2\nexit 3\n"})
    call("refresh")
    with pytest.raises(Aborted, match="Sub-process /usr/bin/dpkg returned an error code") as failed:
        call("install", NAME)
    assert "no such disk" in failed.value.data["output"]
    newer(repository)
    assert call("install", NAME, "2.0")["ensure"] == "2.0"


@pytest.mark.parametrize("problem", ["no network", "no index", "damaged index"])
def test_a_broken_repository_is_a_failure_and_the_state_stays_known(repository: AptRepository, problem: str) -> None:
    """A refresh fails with the errors of apt, and what is installed can still be seen."""
    call("install", NAME)
    if problem == "no network":
        repository.source("http://127.0.0.1:9/debian")
    elif problem == "no index":
        (repository.folder / "packages" / "Packages").unlink()
    else:
        (repository.folder / "packages" / "Packages").write_text("Package\nno colon here\n")
    with pytest.raises(Aborted, match=r"^E: |^refresh failed"):
        call("refresh")
    assert call("status", NAME)["ensure"] == "1.0"
    assert call("install", NAME)["changed"] is False


def test_a_package_that_is_not_where_the_index_says_is_a_failure(repository: AptRepository) -> None:
    """A missing file and one with another digest are errors that name it, and nothing is installed."""
    file = repository.folder / "packages" / f"{NAME}_1.0_all.deb"
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(Aborted, match=r"Failed to fetch|Hash Sum mismatch|failed") as changed:
        call("install", NAME)
    assert NAME in str(changed.value) + changed.value.data["output"]
    file.unlink()
    with pytest.raises(Aborted, match=r"Failed to fetch|Failed to stat|failed"):
        call("install", NAME)
    assert call("status", NAME)["ensure"] == "absent"
