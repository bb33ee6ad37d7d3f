"""Fuzz tests of the parsers: each input is parsed, or refused with one line by the documented error.

    Target ── seeds ──► mutate ──► run ──► nothing, or a finding
       │
       ├── tests/test_fuzz.py    some inputs by hypothesis, in `make test`
       └── run.py ─► one.py      a million inputs by atheris (libFuzzer, guided by coverage), in `make fuzz`

Every other exception is a finding; so are inputs that take seconds, and more memory than `run.py` allows. Half of the
mutations keep the structure of the input, so that it gets past base64, lengths and JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from collective.errors import MessageError, RPCError
from collective.text import escape_controls
from fuzz.mutations import Mutate

_MAX_MESSAGE = 1000  # characters of an error that quotes a message


@dataclass(frozen=True)
class Target:
    """A parser: `run` parses an input and raises findings; `seeds` are valid inputs; `longest` is in bytes."""

    name: str
    run: Callable[[bytes], None]
    seeds: Sequence[bytes]
    mutate: Mutate
    longest: int = 4096


@contextmanager
def refusing(*errors: type[Exception]) -> Iterator[None]:
    """Ignore these errors if they are readable: one line, and of limited length if they quote a message."""
    try:
        yield
    except RPCError as reply:
        if not isinstance(reply, errors):
            raise
    except errors as refusal:
        text = str(refusal)
        assert escape_controls(text) == text, f"an error that is not one line: {text!r}"
        assert text, "an empty error"
        if isinstance(refusal, MessageError):
            assert len(text) <= _MAX_MESSAGE, f"an error of {len(text)} characters: {text[:200]!r}"
