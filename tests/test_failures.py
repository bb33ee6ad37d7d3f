"""The failure matrix in docs/failures.md has exactly the tests that inject failures, and what they require."""

from __future__ import annotations

import pytest
from support.failures import KINDS, PAGE, FailureTest, Result, declared, rows, table

ONE = FailureTest("disks", "a full disk", "It says so.", "test_x.py::test_y")


def test_every_marked_test_has_a_row_and_every_row_a_test() -> None:
    """A row has the failure of the mark and the first line of the docstring of an existing test."""
    found = {(kind, failure, seen.partition(" Measured: ")[0], name) for kind, failure, seen, name in rows()}
    expected = {(one.kind, one.failure, one.seen, one.name) for one in declared()}
    assert found - expected == set()
    assert expected - found == set(), "make failures"


def test_each_kind_of_failure_is_injected() -> None:
    """The matrix covers signals, resources, network, clocks, disks and AWS resources."""
    assert {one.kind for one in declared()} == set(KINDS)


def test_a_test_that_has_not_passed_makes_no_table() -> None:
    """A row says what was seen, so a test that failed, or was skipped, has none."""
    with pytest.raises(ValueError, match=r"these tests have not passed: test_x\.py::test_y"):
        table([ONE], [])


def test_runs_of_one_test_are_one_row() -> None:
    """The row counts the runs, and has the longest one and the first figure."""
    runs = [Result(ONE.name, 1.0, ("2 s",)), Result(ONE.name, 3.04, ())]
    assert "| a full disk | It says so. Measured: 2 s. | 2 | 3.0 | `test_x.py::test_y` |\n" in table([ONE], runs)


def test_the_page_names_the_command() -> None:
    """The page is not edited by hand."""
    assert "`make failures`" in PAGE.read_text()
