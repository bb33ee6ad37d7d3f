"""Elastic IPs of a pool, through EC2's API. Every call may raise Aborted.

An address is associated with `AllowReassociation=False`, so that EC2 refuses one that is in use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from collective import ec2_metadata
from collective.agent import Aborted
from collective.errors import ConfigError

if TYPE_CHECKING:
    from collective.agent import Facts

FREE, NOT_RUNNING, GONE = "free", ("stopping", "stopped"), "terminated"
# EC2's codes for an address that another instance got first, or that was released meanwhile.
_TAKEN = frozenset(["Resource.AlreadyAssociated", "InvalidAllocationID.NotFound", "InvalidAddress.NotFound"])
_GONE = frozenset(["InvalidAssociationID.NotFound"])


@dataclass(frozen=True)
class ElasticIP:
    """An address. `association` and `instance` are empty if it has none; one of a NAT gateway has no instance."""

    allocation: str
    address: str
    association: str = ""
    instance: str = ""

    @property
    def is_free(self) -> bool:
        """Whether nothing uses it."""
        return not self.association


def this_instance(facts: Facts) -> str:
    """Return the ID of this instance, from EC2's metadata, or from the facts where there is none. Raises Aborted.

    A caller that may set facts must not choose the instance that takes or loses an address.
    """
    return _about_this(facts, "instance_id")


def connect(facts: Facts, seconds: float) -> Any:
    """Return a client of EC2 in the region of boto3's settings, or of this instance; `seconds` limits a request."""
    import boto3
    from botocore.config import Config

    session = boto3.Session()
    settings = Config(
        connect_timeout=min(5.0, seconds),
        read_timeout=min(10.0, seconds),
        retries={"mode": "standard", "total_max_attempts": 3},
    )
    with _translated("EC2"):
        return session.client("ec2", region_name=session.region_name or _about_this(facts, "region"), config=settings)


class ElasticIPs:
    """The addresses of this account and region."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def pool(self, tag: str, value: str) -> list[ElasticIP]:
        """Return the addresses with a tag; EC2's filters would also match patterns."""
        filters = [{"Name": "tag-key", "Values": [tag]}]
        return list(self._described(filters, lambda tags: tags.get(tag) == value))

    def of_instance(self, instance: str) -> list[ElasticIP]:
        """Return the addresses of an instance."""
        filters = [{"Name": "instance-id", "Values": [instance]}]
        return [one for one in self._described(filters, lambda _tags: True) if one.instance == instance]

    def associate(self, address: ElasticIP, instance: str) -> bool:
        """Give an address to an instance; return False if it is in use now."""
        return self._attempt(
            _TAKEN,
            self._client.associate_address,
            AllocationId=address.allocation,
            InstanceId=instance,
            AllowReassociation=False,
        )

    def disassociate(self, address: ElasticIP) -> bool:
        """Take an address from its holder; return False if the holder has it no more. A later holder keeps it."""
        return self._attempt(_GONE, self._client.disassociate_address, AssociationId=address.association)

    def states(self, instances: Sequence[str]) -> dict[str, str]:
        """Return the states of instances, such as `running`.

        One that EC2 does not describe has none: it may be so new that it cannot be found yet. EC2 takes the address
        from an instance when it is terminated.
        """
        if not instances:
            return {}
        with _translated("ec2:DescribeInstances"):
            pages = self._pages_of_instances(instances)
            found = [one for page in pages for group in page["Reservations"] for one in group["Instances"]]
        return {one["InstanceId"]: str(one["State"]["Name"]) for one in found}

    def _pages_of_instances(self, instances: Sequence[str]) -> Iterable[Any]:
        filters = [{"Name": "instance-id", "Values": list(instances)}]
        pages: Iterable[Any] = self._client.get_paginator("describe_instances").paginate(Filters=filters)
        return pages

    def _described(self, filters: Any, wanted: Callable[[Mapping[str, str]], bool]) -> Iterator[ElasticIP]:
        with _translated("ec2:DescribeAddresses"):
            found = self._client.describe_addresses(Filters=filters)["Addresses"]
        for one in found:
            if wanted({tag["Key"]: tag["Value"] for tag in one.get("Tags", [])}) and one.get("AllocationId"):
                places = one.get("AssociationId") or "", one.get("InstanceId") or ""
                yield ElasticIP(one["AllocationId"], one["PublicIp"], *places)

    def _attempt(self, expected: frozenset[str], call: Callable[..., Any], **parameters: Any) -> bool:
        """Call, and return False for one of the expected error codes."""
        from botocore.exceptions import ClientError

        with _translated("EC2"):
            try:
                call(**parameters)
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") in expected:
                    return False
                raise
        return True


def _about_this(facts: Facts, name: str) -> str:
    try:
        known = ec2_metadata.read().get("ec2") or facts.get("ec2")
    except ConfigError as error:
        raise Aborted(str(error)) from None
    if not (isinstance(known, Mapping) and known.get(name)):
        raise Aborted(f"this node is not an EC2 instance: it has no fact 'ec2.{name}'")
    return str(known[name])


@contextmanager
def _translated(what: str) -> Iterator[None]:
    """Translate errors of boto3."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        about = error.response.get("Error", {})
        code = about.get("Code", "unknown")
        hint = " (the policy 'eip' of 'crpc setup --policies' has what is needed)" if "Unauthorized" in code else ""
        text = " ".join(str(about.get("Message", "no message")).split())[:300]
        raise Aborted(f"{what}: {code}: {text}{hint}") from None
    except (BotoCoreError, KeyError, TypeError, ValueError) as error:
        raise Aborted(f"{what}: {' '.join(str(error).split())[:300] or type(error).__name__}") from None
