"""A call that is ready to be sent: checked inputs, targets and pace. `crpc` sends it once, or again and again.

prepared = PreparedCall(action, data, targets, pace)
with connected(config, catalog) as fleet:
    call = send(args, fleet, prepared)
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from collective.clients import options

if TYPE_CHECKING:
    from collective.catalog import Catalog
    from collective.config import ClientConfig
    from collective.ddl import Action
    from collective.fleet.call import Call
    from collective.fleet.fleet import Fleet
    from collective.fleet.pace import Pace
    from collective.fleet.targets import Targets


@dataclass(frozen=True)
class PreparedCall:
    """An action with its checked inputs; `confirm` is asked before many nodes are reached.

    `timeout` and `ttl` are seconds; None: as in the DDL and the configuration. `retry_of` is the ID of a run.
    """

    action: Action
    data: Mapping[str, Any]
    targets: Targets
    pace: Pace
    confirm: Callable[[list[str]], bool] | None = None
    timeout: float | None = None
    ttl: float | None = None
    retry_of: str | None = None
    dry_run: bool = False


@contextmanager
def connected(config: ClientConfig, catalog: Catalog) -> Iterator[Fleet]:
    """Connect to the collective of `config` for the time of a block."""
    from collective.fleet.fleet import Fleet

    with Fleet.connect(config, catalog) as fleet:
        yield fleet


def send(args: argparse.Namespace, fleet: Fleet, prepared: PreparedCall) -> Call:
    """Send the request, and return the call. Raises what `Fleet.call` raises."""
    return fleet.call(
        prepared.action.agent,
        prepared.action.name,
        prepared.data,
        targets=prepared.targets,
        pace=prepared.pace,
        timeout=prepared.timeout,
        ttl=prepared.ttl,
        confirm=prepared.confirm,
        dry_run=prepared.dry_run,
        record=options.recorder(args, fleet.config, prepared.retry_of),
    )
