"""What every store of requests must do: the same tests for a folder and for DynamoDB."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from collective.errors import UsageError
from collective.fleet.approvals import approve
from collective.fleet.plan import Parties, saved
from collective.fleet.request_store import RequestStore
from collective.fleet.targets import Targets
from collective.signing import unsigned
from support.scripted_calls import network_of

MakeStore = Callable[[], RequestStore]
ALICE = Parties("scripted", "memory", "alice")


def plan(folder: Path, created: float | None = None) -> dict[str, Any]:
    """Return a saved plan of a shell command; `created` is in Unix seconds (None: now)."""
    with network_of("ab").fleet(folder) as fleet:
        found = fleet.plan("shell", "run", {"command": "true"}, targets=Targets(nodes=["a", "b"]))
    return saved(found, {}, ALICE, time.time() if created is None else created, unsigned)


def check_find(make: MakeStore, folder: Path) -> None:
    """The oldest is listed first; an unknown beginning and one of several requests are errors."""
    later, first = plan(folder), plan(folder, time.time() - 50)
    later["run"], first["run"] = "a" * 32, "ab" * 16
    for one in (later, first):
        make().add(one)
    assert list(make().all()) == [first["run"], later["run"]]
    assert make().all()[first["run"]][1] == first
    assert make().find("abab").read() == first
    for word, message in {"a": "several requests begin with it", "beef": "neither a file nor a request in"}.items():
        with pytest.raises(UsageError, match=f"^{word}: {message}"):
            make().find(word)


def check_replace(make: MakeStore, folder: Path) -> None:
    """A plan that another caller has replaced since it was read is not replaced."""
    made = plan(folder)
    make().add(made)
    bob, carol = make().find(made["run"][:8]), make().find(made["run"])
    by_bob = approve(bob.read(), "bob", lambda _: "signature")
    by_carol = approve(carol.read(), "carol", lambda _: "signature")
    assert (bob.replace(by_bob), carol.replace(by_carol)) == (True, False)
    assert carol.replace(approve(carol.read(), "carol", lambda _: "signature"))
    assert list(bob.read()["approval"]["signatures"]) == ["bob", "carol"]


def check_large(make: MakeStore, folder: Path) -> None:
    """A request with many nodes is read as it was written."""
    made = plan(folder)
    made["waves"] = [{"rank": "", "nodes": [f"node{number:05}.my.net" for number in range(20_000)]}]
    make().add(made)
    assert make().find(made["run"]).read() == made


CHECKS = (check_find, check_replace, check_large)
