"""Plans: shown, agreed to, carried out step by step, and told truthfully."""

from __future__ import annotations

import json
from argparse import Namespace

import pytest

from collective.aws_account import Account
from collective.clients.setup_plans import settle
from collective.errors import Unreachable
from collective.setup import CHANGE, KEEP, MAKE, REMOVE, Plan, Step

Captured = pytest.CaptureFixture[str]


class Steps:
    """Steps that note that they were done; one of them cannot be, another one has become needless."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def plan(self, *names: str) -> Plan:
        """Return a plan that makes these things."""
        steps = [Step(MAKE, "queue", name, do=lambda name=name: self._do(name)) for name in names]  # type: ignore[misc]
        return Plan("production", Account("aws", "eu-central-1", "123456789012"), steps)

    def _do(self, name: str) -> str | None:
        if name == "bad":
            raise Unreachable("bad: throttled")
        if name == "back":
            return "it has come back"
        self.done.append(name)
        return None


def given(*, yes: bool = True, dry_run: bool = False, as_json: bool = False) -> Namespace:
    return Namespace(yes=yes, dry_run=dry_run, json=as_json)


def test_a_plan_is_shown_with_a_mark_for_each_step(capsys: Captured) -> None:
    """What is made, changed, kept and removed; a name is one harmless line."""
    marks = [(MAKE, "a"), (CHANGE, "b"), (KEEP, "c"), (REMOVE, "d\x1b[2J")]
    steps = [Step(change, "queue", name, "why") for change, name in marks]
    plan = Plan("production", Account("aws", "eu-central-1", "123456789012"), steps, ["look out"])
    assert settle(plan, given(dry_run=True)) == 0
    out, err = capsys.readouterr()
    assert out == (
        "production in the account 123456789012, eu-central-1:\n\n"
        "  + queue a (why)\n  ~ queue b (why)\n  = queue c (why)\n  - queue d\\x1b[2J (why)\n\n3 changes to make\n"
    )
    assert err == "crpc: look out\n"


def test_who_is_asked_decides(capsys: Captured) -> None:
    """A no does nothing, and is exit 4; a yes does all of it, in order."""
    steps = Steps()
    assert settle(steps.plan("a", "b"), given(yes=False), agrees=lambda: False) == 4
    assert steps.done == []
    assert settle(steps.plan("a", "b"), given(yes=False), agrees=lambda: True) == 0
    assert steps.done == ["a", "b"]
    assert capsys.readouterr().out.endswith("2 changes made\n")


@pytest.mark.parametrize("as_json", [False, True])
def test_what_fails_ends_it_and_what_was_done_is_told(capsys: Captured, as_json: bool) -> None:
    """The error is the caller's to show, with its own exit code; making the plan again goes on from there."""
    steps = Steps()
    with pytest.raises(Unreachable):
        settle(steps.plan("a", "bad", "c"), given(as_json=as_json))
    assert steps.done == ["a"]
    out = capsys.readouterr().out
    if as_json:
        assert [step["done"] for step in json.loads(out)["steps"]] == [True, False, False]
    else:
        assert out.endswith("\n1 of 3 changes made\n")


def test_what_has_become_needless_is_not_counted(capsys: Captured) -> None:
    """It is named, with the reason."""
    assert settle(Steps().plan("a", "back"), given()) == 0
    assert capsys.readouterr().out.endswith("  = queue back (it has come back)\n1 of 2 changes made\n")


def test_a_document_asks_nobody(capsys: Captured) -> None:
    """Whoever reads it cannot answer: without --yes nothing is done."""
    assert settle(Steps().plan("a"), given(yes=False, as_json=True), agrees=lambda: True) == 4
    assert json.loads(capsys.readouterr().out)["steps"][0]["done"] is False
