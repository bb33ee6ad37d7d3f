"""Tests of the package agent with the real apt and dpkg of this machine, alone and concurrently."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.apt_machine import require_apt

from collective.agent import Aborted
from collective.agents import _apt, package
from collective.agents._packages import Package

SMALL = "hello"
VIRTUAL, PROVIDER = "architecture-is-64-bit", "architecture-properties"
ARCHIVES_LOCK = Path("/var/cache/apt/archives/lock")
NODES = 5


def in_seconds(seconds: float) -> float:
    """Return a deadline."""
    return time.monotonic() + seconds


def call(action: str, *args: str, seconds: float = 100.0, **more: Any) -> dict[str, Any]:
    """Call an action of the package agent; return its outputs."""
    return dict(getattr(package, action)(*args, settings={}, deadline=in_seconds(seconds), **more))


@pytest.fixture(autouse=True)
def _without_the_package() -> Iterator[None]:
    """Remove the package before and after each test."""
    require_apt()
    call("refresh")
    call("purge", SMALL)
    yield
    call("purge", SMALL)


def test_install_status_purge() -> None:
    """A package is installed once, found with its version, and purged."""
    installed = call("install", SMALL)
    assert installed["changed"] is True
    found = call("status", SMALL)
    assert found["ensure"] == installed["ensure"] == f"{found['version']}-{found['release']}"
    assert call("install", SMALL)["changed"] is False
    assert call("install", SMALL, found["ensure"])["changed"] is False
    assert call("update", SMALL)["changed"] is False
    gone = call("purge", SMALL)
    assert (gone["changed"], gone["ensure"]) == (True, "absent")
    assert call("uninstall", SMALL)["changed"] is False


def test_a_dry_run_changes_nothing() -> None:
    """A dry run says what apt would do, and leaves the packages as they are."""
    planned = call("install", SMALL, dry_run=True)
    assert (planned["changed"], planned["ensure"]) == (True, "absent")
    assert f"Inst {SMALL} " in planned["output"]
    assert call("status", SMALL)["ensure"] == "absent"
    call("install", SMALL)
    assert call("update", SMALL, dry_run=True)["changed"] is False
    assert call("purge", SMALL, dry_run=True)["changed"] is True
    assert call("status", SMALL)["ensure"] != "absent"
    with pytest.raises(Aborted, match="Unable to locate package collective-no-such-package"):
        call("install", "collective-no-such-package", dry_run=True)


def test_a_missing_version_is_reported() -> None:
    """The status message is the error line of apt, and the output has all that apt printed."""
    with pytest.raises(Aborted, match=r"^E: Version '0\.0' for 'hello' was not found$") as error:
        call("install", SMALL, "0.0")
    assert "Reading package lists" in error.value.data["output"]


@pytest.mark.parametrize("name", ["no-such-package", "hello-", "hell.", "hello+"])
def test_only_a_package_with_exactly_this_name_is_installed(name: str) -> None:
    """A name is not a pattern, and a trailing minus does not remove a package: unknown names are refused."""
    with pytest.raises(Aborted, match=f"^Unable to locate package {name.replace('+', '[+]')}: .* refresh[)]$"):
        call("install", name)


def test_search_count_md5_and_checkupdates() -> None:
    """Candidates, count, digest and updates come from the real package lists."""
    assert call("search", SMALL)["candidates"][0]["version"].startswith("2.")
    assert package.count(settings={})["count"] > 50
    assert package.md5(settings={}) == package.md5(settings={})
    assert all(row["version"] and row["repo"] for row in call("checkupdates")["outdated_packages"])


def _call_in_process(action: str, names: tuple[str, ...], results: Any) -> None:
    try:
        results.put(call(action, *names))
    except Aborted as error:
        results.put({"error": str(error), **error.data})


def test_nodes_on_one_machine_wait_for_each_other() -> None:
    """Five nodes install one package while a sixth refreshes the lists: all succeed, and one reports the change."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    work = [("install", (SMALL,))] * NODES + [("refresh", ())]
    nodes = [context.Process(target=_call_in_process, args=(*each, results)) for each in work]
    for node in nodes:
        node.start()
    replies = [results.get(timeout=100) for _ in nodes]
    for node in nodes:
        node.join()
    assert [reply["error"] for reply in replies if "error" in reply] == []
    changes = [reply["changed"] for reply in replies if "changed" in reply]
    assert sorted(changes) == [False] * (NODES - 1) + [True]


@pytest.mark.parametrize("lock", [ARCHIVES_LOCK, Path("/var/lib/dpkg/lock-frontend")])
def test_a_lock_that_is_not_released_is_reported_with_its_holder(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shortly before the deadline the action fails with the lock that it waited for and the process that holds it."""
    monkeypatch.setattr(_apt, "MARGIN", 20.0)  # so that a busy machine reaches the end in time
    with lock.open("a") as held:
        fcntl.lockf(held, fcntl.LOCK_EX)
        name = subprocess.run(
            ["cat", f"/proc/{os.getpid()}/comm"], capture_output=True, text=True, check=True
        ).stdout.strip()
        deadline = in_seconds(25.0)
        with pytest.raises(Aborted) as error:
            package.install(SMALL, settings={}, deadline=deadline)
    assert time.monotonic() < deadline
    assert str(error.value).startswith(f"'{lock}' is locked by process {os.getpid()} ({name}): gave up after ")


def test_a_package_that_another_node_installed_is_a_success(monkeypatch: pytest.MonkeyPatch) -> None:
    """The action cannot get the lock, finds the package installed by another node, and reports no change."""
    call("install", SMALL)
    looks = iter([Package(SMALL)])  # the first look is before the other node has finished
    look = _apt._query  # noqa: SLF001 - the only way to get between look and lock
    monkeypatch.setattr(_apt, "_query", lambda name: next(looks, None) or look(name))
    with ARCHIVES_LOCK.open("a") as held:
        fcntl.lockf(held, fcntl.LOCK_EX)
        reply = call("install", SMALL)
    assert (reply["changed"], reply["ensure"][:2]) == (False, "2.")


def test_a_virtual_package_is_the_package_that_provides_it() -> None:
    """Mawk is installed and provides awk, as several packages do; apt itself refuses to choose among them."""
    call("install", "mawk")
    reply = call("install", "awk")
    assert (reply["changed"], reply["name"], reply["ensure"]) == (False, "mawk", call("status", "mawk")["ensure"])
    assert call("status", "awk")["name"] == "mawk"
    assert call("uninstall", "awk") | {"output": ""} == {
        "name": "awk",
        "ensure": "absent",
        "provider": "apt",
        "changed": False,
        "output": "",
    }
    assert call("status", "mawk")["ensure"] != "absent"


def test_a_virtual_package_is_installed_once() -> None:
    """A virtual package with one provider installs it; the reply has its name and version, and `changed` is right."""
    call("purge", PROVIDER)
    try:
        first = call("install", VIRTUAL)
        assert (first["changed"], first["name"]) == (True, PROVIDER)
        again = call("install", VIRTUAL)
        assert (again["changed"], again["name"], again["ensure"]) == (False, PROVIDER, first["ensure"])
        assert call("install", f"{PROVIDER}:{first['arch']}")["changed"] is False
    finally:
        call("purge", PROVIDER)
