"""The package agent with fake commands for apt, dpkg, dnf and rpm. Tests with the real ones are in e2e/test_apt.py."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from support.agent_cases import load, perform

from collective.agent import Aborted
from collective.agents import _apt, _rpm, package
from collective.testing import fake_commands

LOCKED = {
    "exitcode": 100,
    "stderr": "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 123 (apt-get)\n",
}
PARSERS = {"apt_checkupdates": _apt.parse_updates, "yum_checkupdates": _rpm.parse_updates}


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_apt, "PAUSE", 0.0)


@pytest.mark.parametrize("case", load("package"), ids=lambda case: case["id"])
def test_case(case: dict[str, Any]) -> None:
    """Each case in tests/cases/package returns the expected reply."""
    perform(package, case)


@pytest.mark.parametrize("case", load("package", keyed="group"), ids=lambda case: case["id"])
def test_update_lists_are_parsed_as_in_mcollective(case: dict[str, Any]) -> None:
    """The update lists of apt and yum give the same rows as in MCollective."""
    assert PARSERS[case["input"]["fn"]](case["input"]["output"]) == case["expected"]["outdated_packages"]


def test_a_permanent_lock_is_reported_before_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the lock, the process that holds it, and what to do."""
    monkeypatch.setattr(_apt, "MARGIN", 30.0)  # so that a busy machine reaches the end in time
    deadline = time.monotonic() + _apt.MARGIN + 2.0
    with fake_commands({"apt-get": LOCKED}) as calls, pytest.raises(Aborted) as error:
        package.refresh(settings={"provider": "apt"}, deadline=deadline)
    assert re.fullmatch(
        r"'/var/lib/apt/lists/lock' is locked by process 123 \(apt-get\): gave up after [0-9]+ s "
        r"\(try again when that process has ended\)",
        str(error.value),
    )
    assert len(calls()) > 1
    assert time.monotonic() < deadline


def test_apt_never_prompts() -> None:
    """Configuration files are kept, and a package name cannot be read as an option."""
    answers: dict[str, Any] = {
        "dpkg-query": [{"exitcode": 1}, {"stdout": "installed\t1\tall\n"}],
        "apt-cache policy": {"stdout": "zsh:\n"},
        "apt-get": {},
    }
    with fake_commands(answers) as calls:
        package.install("zsh", settings={"provider": "apt"}, deadline=time.monotonic() + 20)
    command = next(call for call in calls() if call[0] == "apt-get")
    assert {"-y", "Dpkg::Options::=--force-confdef", "Dpkg::Options::=--force-confold"} <= set(command)
    assert command[-2:] == ["--", "zsh"]


def test_the_digest_does_not_depend_on_the_order() -> None:
    """Nodes with the same packages have the same digest; different packages give a different one."""
    lists = ["installed a all 1\ninstalled b all 2\n", "installed b all 2\ninstalled a all 1\n"]
    lists.append("installed a all 1\nconfig-files b all 2\n")
    digests = []
    for text in lists:
        with fake_commands({"dpkg-query": {"stdout": text}}):
            digests.append(package.md5(settings={"provider": "apt"})["output"])
    assert digests[0] == digests[1] != digests[2]
