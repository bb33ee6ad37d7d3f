"""Follow a table by its stream: what is read, and paid, is only what has changed.

    resume(cursor)   position in the stream, then one Scan, then the records since the position
    changes          the records since, in rounds: each round has one record of each node, in order
    CursorLost       position at the end, then one Scan: nothing is lost but what was undone in the meantime

The position is taken before the Scan, so that nothing is missed between them. A record whose image is in the stream is
taken from there: the Scan may be newer than the image, or older.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from collective.registry import CLUSTER, Contents
from collective.registry.dynamodb import DynamoDBRegistry
from collective.registry.feed import Observation
from collective.registry.table_items import decoded, is_revocation
from collective.registry.table_stream import CursorLost, TableStream

log = logging.getLogger(__name__)

Images = Mapping[str, Any]  # an item by identity; None if it was deleted


class StreamedReads:
    """The feed of `registry`, by the stream of its table."""

    def __init__(self, registry: DynamoDBRegistry, stream: TableStream) -> None:
        self._registry = registry
        self._stream = stream
        self._cursor: str | None = None
        self._begun = False
        self._contents = Contents()  # of the last Scan; only its revoked keys are up to date

    @property
    def cursor(self) -> str | None:
        """The position in the stream."""
        return self._stream.cursor if self._begun else self._cursor

    def resume(self, cursor: str | None) -> None:
        """Begin at a position with the next read."""
        self._cursor, self._begun = cursor, False

    def now(self) -> float:
        """Return the registry's time in Unix seconds."""
        return self._registry.now()

    def changes(self, *, complete: bool = False) -> Sequence[Observation]:
        """Return the changes in the stream; everything first, after a loss, or with `complete` at the end."""
        if not self._begun:
            return self._begin()
        try:
            rounds = in_rounds(self._stream.read())
        except CursorLost as error:
            log.info("stream.lost", extra={"error": str(error)})
            self._cursor, self._begun = None, False
            return self._begin()
        return self._observations(rounds, complete=complete)

    def _begin(self) -> list[Observation]:
        self._position()
        self._contents = self._registry.read()
        try:
            rounds = in_rounds(self._stream.read())
        except CursorLost as error:
            log.info("stream.lost", extra={"error": str(error)})
            self._stream.latest()
            self._contents, rounds = self._registry.read(), []
        self._begun = True
        first = Observation(_overlaid(self._contents, rounds[0])) if rounds else Observation(self._contents)
        return [first, *self._observations(rounds[1:], complete=False)]

    def _position(self) -> None:
        if self._cursor:
            try:
                self._stream.resume(self._cursor)
            except CursorLost as error:
                log.info("stream.lost", extra={"error": str(error)})
            else:
                return
        self._stream.latest()

    def _observations(self, rounds: Sequence[Images], *, complete: bool) -> list[Observation]:
        if complete or any(is_revocation(identity) for images in rounds for identity in images):
            self._contents = self._registry.read()
            complete = True
        found = [self._observation(images) for images in rounds]
        return [*found, Observation(self._contents)] if complete else found

    def _observation(self, images: Images) -> Observation:
        contents = replace(decoded(filter(None, images.values())), revocations=self._contents.revocations)
        removed = frozenset(identity for identity, image in images.items() if image is None)
        return Observation(contents, False, removed)


def in_rounds(records: Iterable[Any]) -> list[dict[str, Any]]:
    """Return the images of a stream's records: in each round one of each item, so that their order is kept.

    Of consecutive images that differ in the last heartbeat only, the last one is taken. Clusters are skipped.
    """
    images: dict[str, list[Any]] = {}
    for record in records:
        change = record["dynamodb"]
        image = change.get("NewImage") if record["eventName"] != "REMOVE" else None
        key = str(change["Keys"]["identity"]["S"])
        if key.startswith(CLUSTER):  # renewed every few seconds, and not a node
            continue
        known = images.setdefault(key, [])
        if known and _without_heartbeat(known[-1]) == _without_heartbeat(image):
            known.pop()
        known.append(image)
    longest = max(map(len, images.values()), default=0)
    return [
        {identity: known[number] for identity, known in images.items() if number < len(known)}
        for number in range(longest)
    ]


def _without_heartbeat(image: Any) -> Any:
    return image and {name: value for name, value in image.items() if name != "last_seen"}


def _overlaid(contents: Contents, images: Images) -> Contents:
    """Return contents with the records in `images` in place of those that were scanned."""
    newer = decoded(filter(None, images.values()))
    records = [record for record in contents.records if record.identity not in images]
    invalid = {identity: reason for identity, reason in contents.invalid.items() if identity not in images}
    return Contents([*records, *newer.records], {**invalid, **newer.invalid}, contents.revocations)
