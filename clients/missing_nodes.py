"""Report on standard error which nodes a call has missed, and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from collective.clients.streams import notice
from collective.errors import CollectiveError
from collective.suggestions import suggest

if TYPE_CHECKING:
    from collective.fleet.call import Call
    from collective.fleet.fleet import Fleet


def print_missing(call: Call, fleet: Fleet, *, waited: bool = True) -> None:
    """Print on standard error which nodes are missing, and why: those that do not exist, or did not answer."""
    from collective.fleet.silence import not_asked_lines, not_evaluated_lines, silence_lines

    outcomes = call.outcomes
    for line in (*not_asked_lines(outcomes.not_asked), *not_evaluated_lines(outcomes.not_evaluated)):
        notice(line)
    hints = _suggestions(call.absent, fleet)
    for name in call.absent:
        notice(f"{name}: there is no such node: it has no queue in '{call.collective}'{hints[name]}")
    explained = {*call.absent, *outcomes.not_asked, *outcomes.rejected}
    if not waited:  # the nodes that were asked may still answer
        explained |= outcomes.expected
    silent = [name for name in outcomes.silent if name not in explained]
    reasons = {} if call.cut_short else fleet.why_silent(silent)
    for line in silence_lines(reasons):
        notice(line)


def _suggestions(absent: Sequence[str], fleet: Fleet) -> dict[str, str]:
    """Return for each name the registered node that was probably meant, as ` (did you mean …?)`, or nothing."""
    from collective.fleet.targets import Targets

    known: list[str] = []
    if absent and fleet.config.registry != "none":
        try:
            known = list(fleet.find(Targets(method="registry"), verify=True).nodes)
        except CollectiveError:  # without the registry there are no suggestions
            known = []
    hints = {name: suggest(name.lower().rstrip("."), known) for name in absent}
    return {name: f" ({hint})" if hint else "" for name, hint in hints.items()}
