"""What a check finds."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeVar

from collective.errors import CollectiveError

OK, WARNING, ERROR = "ok", "warning", "error"

Result = TypeVar("Result")


@dataclass(frozen=True)
class Finding:
    """A line about one thing that was looked at: what is there, or what is wrong and what to do about it.

    `fault` says that calls fail because of it; `warning` that somebody should know.
    """

    check: str
    text: str
    warning: bool = False
    error: CollectiveError | None = None

    @property
    def state(self) -> str:
        """In a word: ok, warning or fault."""
        return ERROR if self.error else WARNING if self.warning else OK


# Yields findings, and returns what later checks need; raises CollectiveError for a fault that ends it.
Check = Generator[Finding, None, Result]


def faulty(check: str, error: CollectiveError) -> Finding:
    """Return the finding of a fault after which a check goes on."""
    return Finding(check, str(error), error=error)
