"""Follow a table in the cheapest way that it allows: by its stream, or else by paced reads.

a stream with new images, and the permission to read it ─► StreamedReads
no stream, no permission, or the stream was disabled ────► PacedReads; looked for again after some minutes
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from collective.aws.session import AWS
from collective.errors import Forbidden, NotFound
from collective.registry.dynamodb import DynamoDBRegistry
from collective.registry.feed import Feed, Observation
from collective.registry.paced_reads import PacedReads
from collective.registry.streamed_reads import StreamedReads
from collective.registry.table_stream import TableStream

log = logging.getLogger(__name__)

LOOK = 600.0  # seconds until a table without a stream is examined again


class FollowedTable:
    """The feed of the registry in `table`. `clock` returns monotonic seconds."""

    def __init__(self, aws: AWS, table: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._aws = aws
        self._registry = DynamoDBRegistry(aws, table)
        self._clock = clock
        self._paced = PacedReads(self._registry)
        self._streamed: StreamedReads | None = None
        self._looked = float("-inf")
        self._cursor: str | None = None

    @property
    def cursor(self) -> str | None:
        """The position in the stream, if there is one."""
        return self._streamed.cursor if self._streamed else self._cursor

    def resume(self, cursor: str | None) -> None:
        """Begin again with the next read."""
        self._cursor = cursor
        self._feed().resume(cursor)

    def now(self) -> float:
        """Return the registry's time in Unix seconds."""
        return self._registry.now()

    def changes(self, *, complete: bool = False) -> Sequence[Observation]:
        """Return what has changed."""
        self._look()
        try:
            return self._feed().changes(complete=complete)
        except (Forbidden, NotFound) as error:
            if self._streamed is None:
                raise
            log.info("stream.unavailable", extra={"error": f"the registry is scanned instead: {error}"})
            self._streamed = self._cursor = None
            self._looked = self._clock()
            self._paced.resume(None)
            return self._paced.changes()

    def _feed(self) -> Feed:
        return self._streamed or self._paced

    def _look(self) -> None:
        """Use the stream of the table, if there is one now."""
        if self._streamed or self._clock() - self._looked < LOOK:
            return
        arn = self._stream()
        self._looked = self._clock()
        if arn:
            self._streamed = StreamedReads(self._registry, TableStream(self._aws.client("dynamodbstreams"), arn))
            self._streamed.resume(self._cursor)

    def _stream(self) -> str | None:
        try:
            return self._registry.stream()
        except Forbidden:  # a watcher needs no more than Scan
            return None
