"""Say what more is known about nodes that did not answer, a line each on standard error."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collective.fleet.call import Call
    from collective.fleet.fleet import Fleet


def tell_missing(call: Call, fleet: Fleet) -> None:
    """Name nodes that do not exist, and those whose absence the registry can explain."""
    for name in call.absent:
        sys.stderr.write(f"crpc: {name}: there is no such node: it has no queue in '{call.collective}'\n")
    unexplained = [name for name in call.outcomes.silent if name not in call.absent]
    for name, why in fleet.why_silent(unexplained).items():
        sys.stderr.write(f"crpc: {name}: {why}\n")
