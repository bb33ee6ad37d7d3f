"""Call one action for a command that prints the replies in its own way."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from collective.clients import options

if TYPE_CHECKING:
    from collective.fleet.call import Call
    from collective.fleet.fleet import Fleet
    from collective.fleet.targets import Targets


@contextmanager
def open_call(
    args: argparse.Namespace,
    action: str,
    data: Mapping[str, Any],
    targets: Targets | None = None,
    agent: str = "rpcutil",
) -> Iterator[tuple[Call, Fleet]]:
    """Send a request to `targets` (default: those of the command line); yield the call and its fleet.

    Raises what `Fleet.call` raises, and ConfigError.
    """
    config = options.client_config(args)
    targets = targets or options.targets(args)

    from collective.fleet.fleet import Fleet

    with Fleet.connect(config) as fleet:
        call = fleet.call(
            agent,
            action,
            data,
            targets=targets,
            timeout=args.timeout,
            ttl=args.ttl,
            record=options.recorder(args, config),
        )
        yield call, fleet
