"""The findings of checks."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeVar

from collective.errors import CollectiveError

OK, WARNING, ERROR = "ok", "warning", "error"

Result = TypeVar("Result")


@dataclass(frozen=True)
class Finding:
    """One line of a check: what exists, or what is wrong and how to repair it.

    With an `error`, calls fail; a `warning` needs attention.
    """

    check: str
    text: str
    warning: bool = False
    error: CollectiveError | None = None

    @property
    def state(self) -> str:
        """The state: ok, warning or error."""
        return ERROR if self.error else WARNING if self.warning else OK


# Yields findings, and returns what later checks need; raises CollectiveError when it cannot go on.
Check = Generator[Finding, None, Result]


def failed(check: str, error: CollectiveError) -> Finding:
    """Return the finding for an error after which a check goes on."""
    return Finding(check, str(error), error=error)
