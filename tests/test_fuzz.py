"""Fuzz tests of the parsers: some of the inputs of `make fuzz`."""

from __future__ import annotations

from datetime import timedelta
from random import Random

import pytest
from fuzz.mutations import overwrite
from fuzz.targets import TARGETS
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=50, deadline=timedelta(seconds=5))
@given(seed=st.integers(0, 2**32))
def test_an_input_is_parsed_or_refused_with_one_line(name: str, seed: int) -> None:
    """Each input is parsed, or refused with the error that the parser documents."""
    target, rng = TARGETS[name], Random(seed)  # noqa: S311 - no secrets here
    data = rng.choice(target.seeds)
    for _ in range(4):
        target.run(data)
        data = rng.choice([target.mutate, target.mutate, overwrite])(data, rng)
