"""The tables of a collective as resources that must exist: the registry's, and that of shared runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from collective import names
from collective.aws.errors import translated
from collective.errors import Unreachable
from collective.registry.dynamodb import KEY
from collective.registry.run_table import KEY as RUNS_KEY
from collective.setup.aws_inventory import Cloud
from collective.setup.differences import from_tag_list, tag_problems, to_tag_list

_WAITER: Any = {"Delay": 1, "MaxAttempts": 120}  # seconds; DynamoDB takes about 10 s to create a table


@dataclass(frozen=True)
class _Parts:
    """What differs between the tables: the key, what the table is, its creation, and what is enabled afterwards.

    `missing` returns a description of what is not enabled, `enable` enables it.
    """

    key: Any
    what: str
    create: Callable[[Mapping[str, str]], None]
    missing: Callable[[], list[str]]
    enable: Callable[[], None]


def registry_table(cloud: Cloud, collective: str, *, stream: bool) -> Table:
    """Return the registry's table; with `stream`, it must have a stream, else it may have one."""
    registry = cloud.registry(collective)

    def missing() -> list[str]:
        return ["no stream"] if stream and registry.stream() is None else []

    parts = _Parts(KEY, "a registry", registry.create, missing, registry.enable_stream)
    return Table(cloud, collective, names.table(collective), parts)


def runs_table(cloud: Cloud, collective: str) -> Table:
    """Return the table of shared runs, whose items must expire."""
    table = cloud.run_table(collective)

    def missing() -> list[str]:
        return [] if table.expires() else ["items do not expire"]

    parts = _Parts(RUNS_KEY, "a table of runs", table.create, missing, table.expire_items)
    return Table(cloud, collective, table.name, parts)


class Table:
    """A table with its tags and `parts`."""

    kind = "table"

    def __init__(self, cloud: Cloud, collective: str, name: str, parts: _Parts) -> None:
        self.name = name
        self._cloud = cloud
        self._parts = parts
        self._dynamodb = cloud.dynamodb
        self._arn = cloud.account.arn("dynamodb", f"table/{name}")
        self._tags = names.tags(collective)

    def problems(self) -> list[str] | None:
        """Compare the tags, and what must be enabled."""
        status = self._cloud.table(self.name, self._parts.key, self._parts.what)
        if status is None:
            return None
        if status == "DELETING":
            raise Unreachable(f"{self.name}: table is being deleted (try again in a minute)")
        with translated(self.name, "table"):
            tags = self._dynamodb.list_tags_of_resource(ResourceArn=self._arn).get("Tags", [])
        return [*tag_problems(from_tag_list(tags), self._tags), *self._parts.missing()]

    def create(self) -> None:
        """Create it, wait until it is active, and enable what is missing."""
        self._parts.create(self._tags)
        with translated(self.name, "table"):
            self._dynamodb.get_waiter("table_exists").wait(TableName=self.name, WaiterConfig=_WAITER)
        self._enable()

    def repair(self) -> None:
        """Set the tags, and enable what is missing."""
        with translated(self.name, "table"):
            self._dynamodb.tag_resource(ResourceArn=self._arn, Tags=to_tag_list(self._tags))
        self._enable()

    def _enable(self) -> None:
        if self._parts.missing():
            self._parts.enable()
