"""Parsers under inputs that nobody meant: each reads, or refuses in one line by the error that it documents.

    Target ── seeds ──► mutate ──► run ──► nothing happened, or a finding
       │
       ├── tests/test_fuzz.py    a slice of each by hypothesis, in `make test`
       └── run.py ─► one.py      a million of each by atheris (libFuzzer, led by coverage), in `make fuzz`

Anything else that is raised is a finding; so are seconds of time for one input, and more memory than `run.py` allows.
Half of the mutations know the structure of what they change, so that inputs come past base64, lengths and JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from collective.errors import MessageError, RPCError
from fuzz.mutations import Mutate

_LONGEST_REFUSAL = 1000  # characters, where a stranger is quoted


@dataclass(frozen=True)
class Target:
    """A parser: `run` gives it an input and raises what is a finding; `seeds` are inputs that it reads.

    Inputs are of `longest` bytes at most.
    """

    name: str
    run: Callable[[bytes], None]
    seeds: Sequence[bytes]
    mutate: Mutate
    longest: int = 4096


@contextmanager
def refusing(*errors: type[Exception]) -> Iterator[None]:
    """Let these errors pass, when people can read them: a line, and not too long a one where a stranger is quoted."""
    try:
        yield
    except RPCError as reply:
        if not isinstance(reply, errors):
            raise
    except errors as refusal:
        said = str(refusal)
        assert said.isprintable(), f"a refusal that is not one line: {said!r}"
        assert said, "a refusal without a word"
        if isinstance(refusal, MessageError):
            assert len(said) <= _LONGEST_REFUSAL, f"a refusal of {len(said)} characters: {said[:200]!r}"
