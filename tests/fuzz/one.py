"""Fuzz one target: `python -m fuzz.one NAME [libFuzzer options] CORPUS`, from `tests/`."""

from __future__ import annotations

import sys
from random import Random

import atheris

with atheris.instrument_imports(include=["collective"]):
    from fuzz.targets import TARGETS


def main() -> None:
    """Fuzz the target that the first argument names; libFuzzer parses the rest, and exits the process."""
    target = TARGETS[sys.argv.pop(1)]

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        if seed % 2:
            mutated: bytes = atheris.Mutate(data, most)
            return mutated
        return target.mutate(data, Random(seed))[:most]  # noqa: S311 - no secrets here

    atheris.Setup(sys.argv, target.run, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
