"""Tests of plans: how they are shown, confirmed, applied step by step, and reported."""

from __future__ import annotations

import json
from argparse import Namespace

import pytest
from support.json_documents import check_document

from collective.aws.account import Account
from collective.clients.commands.setup import make_parser
from collective.clients.setup_plans import confirm_and_apply
from collective.errors import Unreachable
from collective.setup import CHANGE, KEEP, MAKE, REMOVE, Plan, Step

Captured = pytest.CaptureFixture[str]


class Steps:
    """Steps that record that they were done; step `bad` fails, and step `back` is no longer needed."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def plan(self, *names: str) -> Plan:
        """Return a plan that creates these queues."""
        steps = [Step(MAKE, "queue", name, do=lambda name=name: self._do(name)) for name in names]  # type: ignore[misc]
        return Plan("production", Account("aws", "eu-central-1", "123456789012"), steps)

    def _do(self, name: str) -> str | None:
        if name == "bad":
            raise Unreachable("bad: throttled")
        if name == "back":
            return "it has come back"
        self.done.append(name)
        return None


def arguments(*, yes: bool = True, dry_run: bool = False, output: str = "text") -> Namespace:
    """Return parsed arguments of a command with a plan."""
    args = make_parser().parse_args(["-o", output])
    args.yes, args.dry_run = yes, dry_run
    return args


def test_a_plan_is_shown_with_a_mark_for_each_step(capsys: Captured) -> None:
    """Each step is a line with the mark of its change; control characters in names are escaped."""
    marks = [(MAKE, "a"), (CHANGE, "b"), (KEEP, "c"), (REMOVE, "d\x1b[2J")]
    steps = [Step(change, "queue", name, "why") for change, name in marks]
    plan = Plan("production", Account("aws", "eu-central-1", "123456789012"), steps, ["look out"])
    assert confirm_and_apply(plan, arguments(dry_run=True)) == 0
    out, err = capsys.readouterr()
    assert out == (
        "production in the account 123456789012, eu-central-1:\n\n"
        "  + queue a (why)\n  ~ queue b (why)\n  = queue c (why)\n  - queue d\\x1b[2J (why)\n\n3 changes to make\n"
    )
    assert err == "crpc: look out\n"


def test_only_a_confirmed_plan_is_applied(capsys: Captured) -> None:
    """Without confirmation nothing is changed and the exit code is 4; with it all steps are done in order."""
    steps = Steps()
    assert confirm_and_apply(steps.plan("a", "b"), arguments(yes=False), confirm=lambda: False) == 4
    assert steps.done == []
    assert confirm_and_apply(steps.plan("a", "b"), arguments(yes=False), confirm=lambda: True) == 0
    assert steps.done == ["a", "b"]
    assert capsys.readouterr().out.endswith("2 changes made\n")


@pytest.mark.parametrize("output", ["text", "json", "csv"])
def test_a_failed_step_stops_the_plan_and_earlier_steps_are_reported(capsys: Captured, output: str) -> None:
    """The error is raised after the report, and the steps after the failed one are not done."""
    steps = Steps()
    with pytest.raises(Unreachable):
        confirm_and_apply(steps.plan("a", "bad", "c"), arguments(output=output))
    assert steps.done == ["a"]
    out = capsys.readouterr().out
    if output == "json":
        assert check_document(json.loads(out)) == "plan"
        assert [step["done"] for step in json.loads(out)["steps"]] == [True, False, False]
    elif output == "csv":
        assert [line.rpartition(",")[2] for line in out.splitlines()] == ["done", "true", "false", "false"]
    else:
        assert out.endswith("\n1 of 3 changes made\n")


def test_a_step_that_is_no_longer_needed_is_not_counted(capsys: Captured) -> None:
    """A step that does nothing is listed with the reason, and not counted as a change."""
    assert confirm_and_apply(Steps().plan("a", "back"), arguments()) == 0
    assert capsys.readouterr().out.endswith("  = queue back (it has come back)\n1 of 2 changes made\n")


def test_json_output_does_not_ask_for_confirmation(capsys: Captured) -> None:
    """A program cannot answer a question: with --json and without --yes nothing is changed, exit code 4."""
    assert confirm_and_apply(Steps().plan("a"), arguments(yes=False, output="json"), confirm=lambda: True) == 4
    assert json.loads(capsys.readouterr().out)["steps"][0]["done"] is False
