"""Each parser under inputs that nobody meant: a slice of what `make fuzz` does with a million of each."""

from __future__ import annotations

from datetime import timedelta
from random import Random

import pytest
from fuzz.mutations import overwritten
from fuzz.targets import TARGETS
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=50, deadline=timedelta(seconds=5))
@given(seed=st.integers(0, 2**32))
def test_whatever_is_read_is_read_or_refused_in_a_line(name: str, seed: int) -> None:
    """The error that the parser documents is the only one, and soon said."""
    target, dice = TARGETS[name], Random(seed)  # noqa: S311 - no secrets here
    data = dice.choice(target.seeds)
    for _ in range(4):
        target.run(data)
        data = dice.choice([target.mutate, target.mutate, overwritten])(data, dice)
