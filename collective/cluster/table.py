"""The item of a cluster in the registry's table.

    identity S (key)   #cluster NAME
    version N · content S · holder_N S, beat_N N, seen_N N for each place

A change of the state is conditional on its version. A renewal changes only the counter of one place, on the condition
that this process still holds it, so that renewals do not disturb each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

from collective import names
from collective.aws.errors import translated
from collective.aws.session import AWS
from collective.cluster.state import MAX_SIZE, ClusterPlace, ClusterState, StoredCluster, decode, encode
from collective.registry import CLUSTER

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


_DIGITS = len(str(MAX_SIZE))  # of the number of a place


class ClusterStore(Protocol):
    """Where a cluster is stored. Every method may raise TransportError and ConfigError."""

    def read(self) -> StoredCluster:
        """Return the cluster as it is now."""
        ...

    def write(self, stored: StoredCluster, state: ClusterState) -> bool:
        """Store a state that follows from `stored`; return False when it was changed since."""
        ...

    def renew(self, place: ClusterPlace) -> bool:
        """Renew a place; return False when another process holds it."""
        ...


class ClusterTable:
    """The cluster `name` of a collective."""

    def __init__(self, aws: AWS, collective: str, name: str) -> None:
        self._aws = aws
        self._table = names.table(collective)
        self._where = f"cluster {name}"
        self._key: Any = {"identity": {"S": f"{CLUSTER}{name}"}}
        self._client: DynamoDBClient = aws.client("dynamodb")

    @classmethod
    def connect(cls, collective: str, name: str) -> ClusterTable:
        """Return the cluster with the credentials of this machine. Raises ConfigError and AccessDenied."""
        return cls(AWS(), collective, name)

    def now(self) -> float:
        """Return the servers' time in Unix seconds."""
        return self._aws.now()

    def read(self) -> StoredCluster:
        """Read the item, consistently."""
        with translated(self._table, "table"):
            item = self._client.get_item(TableName=self._table, Key=self._key, ConsistentRead=True).get("Item")
        return _stored(item, self._where)

    def write(self, stored: StoredCluster, state: ClusterState) -> bool:
        """Write the state, if the version is that of `stored`; new holders of places begin to count."""
        before = {place.number: place.process for place in stored.state.places} if stored.state else {}
        changed = [place for place in state.places if before.get(place.number) != place.process]
        values: Any = {":next": {"N": str(stored.version + 1)}, ":content": {"S": encode(state)}}
        sets = ["version = :next", "content = :content"]
        for place in changed:
            sets += [f"holder_{place.number} = :holder_{place.number}", f"beat_{place.number} = :zero"]
            sets += [f"seen_{place.number} = :now"]
            values |= {f":holder_{place.number}": {"S": place.process}, ":zero": {"N": "0"}, ":now": self._now()}
        condition = "version = :version" if stored.version else "attribute_not_exists(version)"
        if stored.version:
            values[":version"] = {"N": str(stored.version)}
        return self._update("SET " + ", ".join(sets), condition, values)

    def renew(self, place: ClusterPlace) -> bool:
        """Count one renewal, if the process is the holder of the place."""
        number = place.number
        return self._update(
            f"SET beat_{number} = beat_{number} + :one, seen_{number} = :now",
            f"holder_{number} = :process",
            {":one": {"N": "1"}, ":now": self._now(), ":process": {"S": place.process}},
        )

    def _update(self, change: str, condition: str, values: Any) -> bool:
        with translated(self._table, "table"):
            try:
                self._client.update_item(
                    TableName=self._table,
                    Key=self._key,
                    UpdateExpression=change,
                    ConditionExpression=condition,
                    ExpressionAttributeValues=values,
                )
            except self._client.exceptions.ConditionalCheckFailedException:
                return False
        return True

    def _now(self) -> Any:
        return {"N": f"{self._aws.now():.3f}"}


def _stored(item: Any, where: str) -> StoredCluster:
    if not item or "version" not in item:  # the first write, too, requires a missing version
        return StoredCluster()
    state = decode(str(item.get("content", {}).get("S", "")), where)
    version = int(float(item.get("version", {}).get("N", "0")))
    beats = {number: int(value) for number, value in _numbers(item, "beat_")}
    return StoredCluster(version, state, beats, dict(_numbers(item, "seen_")))


def _numbers(item: Any, prefix: str) -> Iterator[tuple[int, float]]:
    """Yield the attributes `<prefix><number>` that are numbers."""
    for name, value in item.items():
        number = name.removeprefix(prefix)
        if number != name and number.isascii() and number.isdecimal() and len(number) <= _DIGITS and "N" in value:
            yield int(number), float(value["N"])
