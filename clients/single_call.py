"""Call one action for a command that shows the replies in a way of its own."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from collective.clients import options
from collective.clients.missing import tell_missing

if TYPE_CHECKING:
    from collective.fleet.call import Call
    from collective.fleet.targets import Targets


@contextmanager
def asked(
    given: argparse.Namespace,
    action: str,
    data: Mapping[str, Any],
    targets: Targets | None = None,
    agent: str = "rpcutil",
) -> Iterator[Call]:
    """Send the request to the `targets`, or to those that the command line names, and yield the call.

    Afterwards what is known about nodes that did not answer is told.
    """
    config = options.client_config(given)
    targets = targets or options.targets(given)

    from collective.fleet.fleet import Fleet

    with Fleet.connect(config) as fleet:
        call = fleet.call(
            agent,
            action,
            data,
            targets=targets,
            timeout=given.timeout,
            ttl=given.ttl,
        )
        yield call
        tell_missing(call, fleet)


def write_call(call: Call) -> int:
    """Write the document of a call, as `crpc AGENT ACTION --json` does; return its exit code."""
    from collective.clients.render.json_document import write_document

    code = call.wait().exit_code()
    write_document(call, sys.stdout)
    return code
