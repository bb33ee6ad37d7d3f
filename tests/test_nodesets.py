"""Folding node names into ranges and unfolding them."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collective.errors import UsageError
from collective.nodesets import MAX_NAMES, fold, unfold


@pytest.mark.parametrize(
    ("names", "folded"),
    [
        ([], ""),
        (["web1"], "web1"),
        (["web03.my.net", "web01.my.net", "web02.my.net", "web01.my.net"], "web[01-03].my.net"),
        (["web10", "web9", "web2", "web1"], "web[1-2,9-10]"),
        (["web08", "web09", "web10"], "web[08-10]"),
        (["web98", "web99", "web100"], "web[98-100]"),
        ([f"web{n:02}" for n in range(8, 102)], "web[08-99,100-101]"),
        (["web099", "web100", "web0100"], "web[099-100,0100]"),
        (["web1", "web01", "web2", "web02"], "web[1-2,01-02]"),
        (["r1n1", "r1n2", "r2n1", "r2n2"], "r[1-2]n[1-2]"),
        (["r1n1", "r1n2", "r2n1"], "r1n[1-2],r2n1"),
        (["db", "web2", "cache", "web1"], "cache,db,web[1-2]"),
        (["ip-10-0-0-7.ec2.internal", "ip-10-0-1-7.ec2.internal"], "ip-10-0-[0-1]-7.ec2.internal"),
    ],
)
def test_names_are_folded(names: list[str], folded: str) -> None:
    """Names become ranges in natural order, with padding kept."""
    assert fold(names) == folded
    assert sorted(unfold(folded) if folded else []) == sorted(set(names))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("web[01-03].my.net", ["web01.my.net", "web02.my.net", "web03.my.net"]),
        ("b,a,b", ["b", "a"]),
        ("[9-11]", ["9", "10", "11"]),
        ("x[3,1-2,2]", ["x3", "x1", "x2"]),
        ("r[1-2]n[1-2]", ["r1n1", "r1n2", "r2n1", "r2n2"]),
    ],
)
def test_ranges_are_unfolded_in_order(text: str, names: list[str]) -> None:
    """Names are returned in their written order, without duplicates."""
    assert unfold(text) == names


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'': column 1: missing name"),
        ("a,,b", "'a,,b': column 3: missing name"),
        ("a,", "'a,': column 3: missing name"),
        ("web[1-", "'web[1-': column 4: '[' is not closed"),
        ("web[]", "'web[]': column 5: invalid range ''"),
        ("web[1,]", "'web[1,]': column 7: invalid range ''"),
        ("web[a-b]", "'web[a-b]': column 5: invalid range 'a-b'"),
        ("web[1-9/2]", "'web[1-9/2]': column 5: invalid range '1-9/2'"),
        ("web[3-1]", "'web[3-1]': column 5: invalid range '3-1': the end is before the start"),
        ("web[01-3]", "column 5: invalid range '01-3': both ends must have the same number of digits"),
        ("web1]", "'web1]': column 5: invalid character ']'"),
        ("@all", "'@all': column 1: invalid character '@'"),
        ("a b", "'a b': column 2: invalid character ' '"),
        ("wéb", "'wéb': column 2: invalid character 'é'"),
        ("web[1-999999999]", "column 5: range '1-999999999' has more than 100000 names"),
        ("w[1-1000]x[1-1000]", "column 11: more than 100000 names"),
        ("w" * 256, "invalid identity"),
    ],
)
def test_invalid_expressions_are_refused_with_the_column(text: str, message: str) -> None:
    """The error quotes the expression and names the column."""
    with pytest.raises(UsageError) as caught:
        unfold(text)
    assert message in str(caught.value)


def test_large_expressions_are_refused_quickly() -> None:
    """Expressions with many large ranges are refused before they are expanded."""
    start = time.process_time()
    with pytest.raises(UsageError, match="more than"):
        unfold("w" + "[1-99999]x" * 1000)
    with pytest.raises(UsageError):
        unfold("w[1-" + "9" * 100_000 + "]")
    assert time.process_time() - start < 1


def test_the_limit_itself_is_allowed() -> None:
    """The largest allowed range can be folded and unfolded."""
    assert fold(unfold(f"w[1-{MAX_NAMES}]")) == f"w[1-{MAX_NAMES}]"


def test_invalid_identities_are_not_folded() -> None:
    """Only valid identities are folded."""
    with pytest.raises(UsageError, match="invalid identity"):
        fold(["a,b"])


NAMES = st.from_regex(r"[a-c.]?[0-9]{0,3}[-_a]?0?[0-9]{1,2}(\.b[0-2])?", fullmatch=True).filter(
    lambda name: not name.startswith("-")
)


@settings(max_examples=300, deadline=None)
@given(st.lists(NAMES, min_size=1, max_size=40))
def test_fold_and_unfold_are_inverse(names: list[str]) -> None:
    """Unfolding folded names gives the same names without duplicates; folding them again gives the same text."""
    folded = fold(names)
    assert sorted(unfold(folded)) == sorted(set(names))
    assert fold(unfold(folded)) == folded
