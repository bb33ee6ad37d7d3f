"""Find the EC2 instances that must be nodes: those that run and match `ec2_filters` of client.yaml (`--dm ec2`).

DescribeInstances ─► instances ─┬─► nodes: their fact ec2.instance_id, or their private DNS name is the identity
└─► without a daemon: no node, or one that has stopped
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from collective.aws.errors import translated
from collective.errors import NoNodes, UsageError
from collective.filters import look_up
from collective.fleet.silence import NO_DAEMON
from collective.registry import Contents, NodeRecord

if TYPE_CHECKING:
    from collective.aws.session import AWS

MOST = 10_000  # instances of one answer
_PAGE = 1000  # EC2 API reference, DescribeInstances: the maximum


@dataclass(frozen=True)
class Instance:
    """A running instance: its ID and its private DNS name."""

    identity: str
    dns_name: str


def filters_of(collective: str, configured: Mapping[str, str]) -> dict[str, str]:
    """Return the filters of DescribeInstances by name."""
    return dict(configured) or {"tag:collective": collective}


def running(aws: AWS, filters: Mapping[str, str]) -> list[Instance]:
    """Return the running instances that match. Raises TransportError, NoNodes, and UsageError for too many."""
    wanted: list[Any] = [{"Name": name, "Values": [value]} for name, value in filters.items()]
    wanted.append({"Name": "instance-state-name", "Values": ["running"]})
    pages = (
        aws.client("ec2")
        .get_paginator("describe_instances")
        .paginate(Filters=wanted, PaginationConfig={"PageSize": _PAGE, "MaxItems": MOST + 1})
    )
    with translated("ec2"):
        found = [
            Instance(one["InstanceId"], one.get("PrivateDnsName", ""))
            for page in pages
            for reservation in page.get("Reservations", [])
            for one in reservation["Instances"]
        ]
    if not found:
        text = ", ".join(f"{name}={value}" for name, value in filters.items())
        raise NoNodes(f"no running EC2 instance matches {text} (client.yaml: ec2_filters)")
    if len(found) > MOST:
        raise UsageError(f"--dm ec2: more than {MOST} instances match (client.yaml: ec2_filters)")
    return found


def nodes_among(contents: Contents, instances: Sequence[Instance]) -> Contents:
    """Return the records of the nodes that run on these instances."""
    known = {*(one.identity for one in instances), *(one.dns_name for one in instances)} - {""}
    records = [record for record in contents.records if known & _names(record)]
    return replace(contents, records=records, invalid={})


def without_daemon(records: Iterable[NodeRecord], instances: Sequence[Instance]) -> dict[str, str]:
    """Return the instances that have no node, or one that has stopped cleanly, each with the reason."""
    served = {name for record in records if record.left is None for name in _names(record)}
    missing = [one.identity for one in instances if not served & {one.identity, one.dns_name}]
    return dict.fromkeys(sorted(missing), NO_DAEMON)


def _names(record: NodeRecord) -> set[str]:
    return {str(look_up(record.facts, "ec2.instance_id")), record.identity}
