"""Choose between a message to each node and one publish to all of them: by what each costs, and how long it takes.

A publish takes the time of one request, but every node of the collective receives and deletes the message. Messages to
single nodes cost one request each, and take longer the more there are. The seconds of both are measured by every call
that sends to more than a few nodes, and kept for the next one:

    <state>/sending_<collective>.json      seconds of one message and of one publish, and the number of nodes

A lost file only means that the first call begins with the times that AWS usually has.
"""

from __future__ import annotations

import json
import math
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from collective.prices import US_EAST_1
from collective.replaced_file import replace_file

FEW = 10  # nodes that always get a message each: that is faster than a publish, whatever is measured
DOLLARS_PER_SECOND = 0.01  # what a second of waiting is worth; $36 an hour
_CHUNK = 64 * 1024  # bytes that SQS and SNS bill as one request
_NEW = 0.3  # weight of the last measurement
_LONGEST = 60.0  # seconds; anything else in the file is not a time


@dataclass(frozen=True)
class SendTimes:
    """Seconds that one of several messages takes, those of a publish, and the nodes of the collective (0: unknown)."""

    message: float = 0.0015  # 20 at a time, each 16 ms, and 1 ms of processor time
    publish: float = 0.073
    nodes: int = 0

    def __post_init__(self) -> None:
        """Raise ValueError for what cannot have been measured."""
        if not (0 < self.message < _LONGEST and 0 < self.publish < _LONGEST and self.nodes >= 0):
            raise ValueError("not times")

    def prefer_publish(self, targets: int, size: int, nodes: int = 0) -> bool:
        """Return whether one publish is better for a message of `size` bytes to some of `nodes` nodes."""
        if targets <= FEW:
            return False
        every = max(nodes or self.nodes, targets)
        chunks = math.ceil(max(1, size) / _CHUNK)
        direct = targets * chunks * US_EAST_1.sqs
        published = chunks * US_EAST_1.sns + (every - targets) * (chunks + 1) * US_EAST_1.sqs
        seconds = targets * self.message - self.publish
        return published / 1e6 < direct / 1e6 + seconds * DOLLARS_PER_SECOND


class SendChoice:
    """Decides for one caller. With `limit`, more nodes than that are always published to, and fewer never."""

    def __init__(self, state: Path, collective: str, limit: int | None = None) -> None:
        self._path = state / f"sending_{collective}.json"
        self._limit = limit
        self._times: SendTimes | None = None

    def publishes(self, targets: int, size: int, nodes: int = 0) -> bool:
        """Return whether a message of `size` bytes to some nodes is published; `nodes` are all nodes (0: unknown)."""
        if self._limit is not None:
            return targets > self._limit
        return targets > FEW and self._known().prefer_publish(targets, size, nodes)

    def measured(self, *, message: float = 0.0, publish: float = 0.0, nodes: int = 0) -> None:
        """Remember how long sending took, and the size of the collective; 0 is what was not measured."""
        if self._limit is not None:
            return
        known = self._known()
        new = replace(
            known,
            message=_averaged(known.message, message),
            publish=_averaged(known.publish, publish),
            nodes=nodes or known.nodes,
        )
        if new != known:
            self._times = new
            self._write(new)

    def _known(self) -> SendTimes:
        if self._times is None:
            self._times = _read(self._path)
        return self._times

    def _write(self, times: SendTimes) -> None:
        with suppress(OSError):
            replace_file(self._path, json.dumps(asdict(times)).encode())


def _averaged(known: float, measured: float) -> float:
    return known if measured <= 0 else min((1 - _NEW) * known + _NEW * measured, _LONGEST / 2)


def _read(path: Path) -> SendTimes:
    with suppress(OSError, ValueError, TypeError, AttributeError, RecursionError):
        found = json.loads(path.read_text(encoding="ascii"))
        return SendTimes(float(found["message"]), float(found["publish"]), int(found["nodes"]))
    return SendTimes()
