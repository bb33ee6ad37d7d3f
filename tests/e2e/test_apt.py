"""The package agent against the real apt and dpkg of this machine, alone and with others at the same time."""

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
ARCHIVES_LOCK = Path("/var/cache/apt/archives/lock")
NODES = 5


def within(seconds: float) -> float:
    return time.monotonic() + seconds


def call(action: str, *args: str, seconds: float = 100.0) -> dict[str, Any]:
    return dict(getattr(package, action)(*args, settings={}, deadline=within(seconds)))


@pytest.fixture(autouse=True)
def _without_the_package() -> Iterator[None]:
    require_apt()
    call("refresh")
    call("purge", SMALL)
    yield
    call("purge", SMALL)


def test_install_status_purge() -> None:
    """A package is installed, found with its version, installed once only, and purged."""
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


def test_a_version_that_is_not_there_is_named() -> None:
    """Apt's own fault is the message, and all of its output is there."""
    with pytest.raises(Aborted, match=r"^E: Version '0\.0' for 'hello' was not found$") as error:
        call("install", SMALL, "0.0")
    assert "Reading package lists" in error.value.data["output"]


@pytest.mark.parametrize("name", ["no-such-package", "hello-", "hell.", "hello+"])
def test_only_the_very_name_is_installed(name: str) -> None:
    """A name is no pattern and no order to remove something: what the lists do not have is refused."""
    with pytest.raises(Aborted, match=f"^Unable to locate package {name.replace('+', '[+]')}: .* refresh[)]$"):
        call("install", name)


def test_the_lists_are_searched_and_counted() -> None:
    """Candidates, count, digest and updates come from the real lists."""
    assert call("search", SMALL)["candidates"][0]["version"].startswith("2.")
    assert package.count(settings={})["count"] > 50
    assert package.md5(settings={}) == package.md5(settings={})
    assert all(row["version"] and row["repo"] for row in call("checkupdates")["outdated_packages"])


def _act(action: str, names: tuple[str, ...], answers: Any) -> None:
    try:
        answers.put(call(action, *names))
    except Aborted as error:
        answers.put({"error": str(error), **error.data})


def test_nodes_of_one_machine_do_not_disturb_each_other() -> None:
    """Five nodes install one package while a sixth refreshes the lists: all succeed, one of them changed it."""
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    work = [("install", (SMALL,))] * NODES + [("refresh", ())]
    nodes = [context.Process(target=_act, args=(*each, answers)) for each in work]
    for node in nodes:
        node.start()
    replies = [answers.get(timeout=100) for _ in nodes]
    for node in nodes:
        node.join()
    assert [reply["error"] for reply in replies if "error" in reply] == []
    changes = [reply["changed"] for reply in replies if "changed" in reply]
    assert sorted(changes) == [False] * (NODES - 1) + [True]


@pytest.mark.parametrize("lock", [ARCHIVES_LOCK, Path("/var/lib/dpkg/lock-frontend")])
def test_a_lock_that_stays_is_named_with_its_holder(lock: Path) -> None:
    """Shortly before the deadline the action says which lock it waited for, and who holds it."""
    with lock.open("a") as held:
        fcntl.lockf(held, fcntl.LOCK_EX)
        who = subprocess.run(
            ["cat", f"/proc/{os.getpid()}/comm"], capture_output=True, text=True, check=True
        ).stdout.strip()
        deadline = within(8.0)
        with pytest.raises(Aborted) as error:
            package.install(SMALL, settings={}, deadline=deadline)
    assert time.monotonic() < deadline
    assert str(error.value).startswith(f"'{lock}' is locked by process {os.getpid()} ({who}): gave up after ")


def test_what_another_node_did_meanwhile_is_success(monkeypatch: pytest.MonkeyPatch) -> None:
    """Locked out of the archives, the action finds that the package has come, and has changed nothing itself."""
    call("install", SMALL)
    looks = iter([Package(SMALL)])  # the first look was before the other node was done
    look = _apt._query  # noqa: SLF001 - the one place where time could be stopped
    monkeypatch.setattr(_apt, "_query", lambda name: next(looks, None) or look(name))
    with ARCHIVES_LOCK.open("a") as held:
        fcntl.lockf(held, fcntl.LOCK_EX)
        reply = call("install", SMALL)
    assert (reply["changed"], reply["ensure"][:2]) == (False, "2.")
