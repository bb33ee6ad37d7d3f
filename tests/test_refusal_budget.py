"""Refusals are limited for each caller, so that none fills the disk or hides the refusals of another."""

from __future__ import annotations

from collective.node.requests.refusal_budget import CALLERS, PERIOD, REFUSALS, RefusalBudget


def test_each_caller_has_a_budget_for_each_period() -> None:
    """The count starts again with each period, and does not depend on other callers."""
    now = [0.0]
    budget = RefusalBudget(lambda: now[0])
    found = [budget.exceeded("alice") for _ in range(REFUSALS + 2)]
    assert found == [0] * REFUSALS + [1, 2]
    assert budget.exceeded("bob") == 0
    now[0] = PERIOD
    assert budget.exceeded("alice") == 0


def test_the_number_of_callers_is_limited() -> None:
    """Memory is bounded: the caller that was refused longest ago is forgotten."""
    budget = RefusalBudget(lambda: 0.0)
    for _ in range(REFUSALS):
        budget.exceeded("alice")
    for number in range(CALLERS - 1):
        budget.exceeded(str(number))
    assert budget.exceeded("alice") == 1
    for number in range(CALLERS):
        budget.exceeded(f"more{number}")
    assert budget.exceeded("alice") == 0
