"""Find rollouts that were recorded: those that all callers share, and those of this machine.

find(config, "last") -> FoundRollout
every(config) -> all of them
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from collective.clients import run_records, saved_runs
from collective.clients.streams import notice
from collective.errors import NotFound, UsageError
from collective.suggestions import suggest
from collective.text import plural

if TYPE_CHECKING:
    from collective.config import ClientConfig
    from collective.fleet.runs.saved_run import SavedRun
    from collective.fleet.steering.run_log import RunEntry, RunStore

_ID = 32  # digits


class FoundRollout:
    """A rollout, and where it is recorded."""

    def __init__(self, store: RunStore, entry: RunEntry, *, shared: bool) -> None:
        self.store = store
        self.entry = entry
        self.shared = shared

    def read(self) -> SavedRun:
        """Return the rollout with its events; nothing in it is verified."""
        from collective.fleet.runs import saved_run

        return saved_run.of_events(self.entry, self.store.log(self.entry).news())


def find(config: ClientConfig, wanted: str) -> FoundRollout:
    """Return the rollout whose ID begins with `wanted`, or the last one; raise UsageError without exactly one."""
    if wanted == saved_runs.LAST:
        rollouts = every(config)
        if not rollouts:
            raise UsageError("no rollouts are recorded")
        return max(rollouts, key=lambda one: one.entry.time)
    if not 4 <= len(wanted) <= _ID or set(wanted) - set("0123456789abcdef"):
        hint = suggest(wanted, [saved_runs.LAST], "use an ID, its first 4 or more digits, or last")
        raise UsageError(f"invalid run '{wanted}' ({hint})")
    found: dict[str, FoundRollout] = {}
    for one in reversed(every(config, wanted)):  # a shared record counts more than the copy on this machine
        found[one.entry.run] = one
    if not found:
        raise UsageError(f"unknown rollout '{wanted}' ('crpc run list --all' lists them)")
    if len(found) > 1:
        raise UsageError(f"run '{wanted}': {plural(len(found), 'run')} begin with it (use more digits)")
    return next(iter(found.values()))


def every(config: ClientConfig, prefix: str = "") -> list[FoundRollout]:
    """Return all rollouts: first the shared ones, then those of this machine."""
    found = []
    if run_records.is_shared(config, detached=True):
        shared = run_records.store(config, shared=True)
        found += [FoundRollout(shared, entry, shared=True) for entry in _shared_runs(config, shared)]
    local = run_records.store(config, shared=False)
    known = {one.entry.run for one in found}
    found += [FoundRollout(local, entry, shared=False) for entry in local.runs() if entry.run not in known]
    return [one for one in found if one.entry.run.startswith(prefix)]


def _shared_runs(config: ClientConfig, shared: RunStore) -> list[RunEntry]:
    """Return the shared rollouts; none while no table was created and none is needed."""
    try:
        return shared.runs()
    except NotFound as error:
        if config.runs == "shared":
            raise
        notice(f"{error}: only rollouts of this machine are known (crpc setup)")
        return []
