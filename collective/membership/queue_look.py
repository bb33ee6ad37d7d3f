"""Whether nodes acknowledge what is in their queues, by two looks: a message that was just read is not yet deleted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from collective import names
from collective.errors import NotFound, TransportError
from collective.parallel import in_parallel
from collective.transport import Transport

SECOND_LOOK = 1.0  # seconds until a queue with messages is looked into again


def acknowledging(
    transport: Transport, collective: str, nodes: Sequence[str], wait: Callable[[float], None]
) -> dict[str, bool | None]:
    """Return whether nodes acknowledge what is in their queues, by identity; None if that is unknown.

    A node without a queue does not. `wait` waits some seconds.
    """
    look = partial(_acknowledges, transport, collective)
    first = dict(zip(nodes, in_parallel(look, nodes), strict=True))
    again = [name for name, answer in first.items() if answer is False]
    if again:
        wait(SECOND_LOOK)
    return {**first, **dict(zip(again, in_parallel(look, again), strict=True))}


def _acknowledges(transport: Transport, collective: str, node: str) -> bool | None:
    try:
        return transport.unacknowledged(names.node_queue(collective, node)) == 0
    except NotFound:
        return False
    except TransportError:
        return None
