"""The agent eip against moto's EC2.

moto differs from AWS in three points. It gives an instance several addresses, which the agent refuses itself. It checks
and changes an address without a lock, so that two of very many claimers could get one; the agent looks again. A
terminated instance keeps its address.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from support.agent_cases import load, perform
from support.crpc_process import BIN, own_server

from collective import ec2_metadata
from collective.agent import Aborted
from collective.agents import _elastic_ips, eip

ROOT = Path(__file__).resolve().parents[1]
REGION = "eu-central-1"
POOL = "collective:pool"


@pytest.fixture(scope="module")
def ec2() -> Iterator[Any]:
    """A client of moto's EC2, which boto3 uses in this module."""
    with own_server() as url, pytest.MonkeyPatch.context() as environment:
        for name, value in {
            "AWS_ENDPOINT_URL": url,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }.items():
            environment.setenv(name, value)
        yield boto3.client("ec2")


@pytest.fixture(autouse=True)
def no_addresses(ec2: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test begins without addresses; it uses one client, because making one takes half a second."""
    monkeypatch.setattr(eip, "connect", lambda _facts, _seconds: ec2)
    for one in ec2.describe_addresses()["Addresses"]:
        ec2.release_address(AllocationId=one["AllocationId"])


def instances(ec2: Any, count: int) -> list[str]:
    made = ec2.run_instances(ImageId="ami-12345678", MinCount=count, MaxCount=count)
    return [one["InstanceId"] for one in made["Instances"]]


def allocate(ec2: Any, value: str = "nat") -> str:
    tags = [{"ResourceType": "elastic-ip", "Tags": [{"Key": POOL, "Value": value}]}]
    return str(ec2.allocate_address(Domain="vpc", TagSpecifications=tags)["AllocationId"])


def address_of(ec2: Any, kind: str, own: str) -> tuple[str, str]:
    """Return the allocation and the instance of a new address; `kind` is its holder."""
    allocation = allocate(ec2)
    if kind == "free":
        return allocation, ""
    if kind == "interface":
        subnet = ec2.describe_subnets()["Subnets"][0]["SubnetId"]
        interface = ec2.create_network_interface(SubnetId=subnet)["NetworkInterface"]["NetworkInterfaceId"]
        ec2.associate_address(AllocationId=allocation, NetworkInterfaceId=interface)
        return allocation, ""
    holder = own if kind == "self" else instances(ec2, 1)[0]
    ec2.associate_address(AllocationId=allocation, InstanceId=holder)
    if kind == "stopped":
        ec2.stop_instances(InstanceIds=[holder])
    if kind == "terminated":
        ec2.terminate_instances(InstanceIds=[holder])
    return allocation, holder


def holders(ec2: Any) -> dict[str, str]:
    """Return the instance of each allocation, `interface` for another holder, and nothing for a free one."""
    return {
        one["AllocationId"]: one.get("InstanceId") or ("interface" if one.get("AssociationId") else "")
        for one in ec2.describe_addresses()["Addresses"]
    }


@pytest.mark.parametrize("case", load("eip"), ids=lambda case: case["id"])
def test_case(case: dict[str, Any], ec2: Any) -> None:
    """Each case in tests/cases/eip returns the expected reply, and leaves each address with the right holder."""
    [own] = instances(ec2, 1)
    made = [address_of(ec2, kind, own) for kind in case["addresses"]]
    if case.get("outside"):
        ec2.associate_address(AllocationId=allocate(ec2, "other"), InstanceId=own)
    case.setdefault("facts", {"ec2": {"instance_id": own, "region": REGION}})
    perform(eip, case)
    wanted = [
        {"free": "", "self": own, "interface": "interface"}.get(kind, holder)
        for kind, (_, holder) in zip(case.get("holders", ()), made, strict=False)
    ]
    found = holders(ec2)
    assert [found[allocation] for allocation, _ in made[: len(wanted)]] == wanted


def test_the_client_of_the_agent(ec2: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent makes a client with boto3's settings, and reports a service that cannot be reached in one line."""
    allocate(ec2)
    [own] = instances(ec2, 1)
    monkeypatch.setattr(eip, "connect", _elastic_ips.connect)
    assert eip.claim(f"{POOL}=nat", facts=facts(own), deadline=time.monotonic() + 20)["changed"]
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(Aborted, match=r'^ec2:DescribeAddresses: Could not connect to the endpoint URL: "http[^\n]*$'):
        eip.claim(f"{POOL}=nat", facts=facts(own), deadline=time.monotonic() + 20)


def test_facts_do_not_choose_the_instance(ec2: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller that may set facts cannot take the address of another instance: EC2's metadata say which one this is."""
    own, other = instances(ec2, 2)
    ec2.associate_address(AllocationId=allocate(ec2), InstanceId=other)
    monkeypatch.setattr(ec2_metadata, "read", lambda: facts(own))
    assert not eip.release(f"{POOL}=nat", facts=facts(other), deadline=time.monotonic() + 20)["changed"]
    assert other in holders(ec2).values()


def test_an_instance_that_is_not_described_keeps_its_address(ec2: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """EC2 does not describe a new instance at once, and that it is not found does not mean that it was terminated."""
    own, other = instances(ec2, 2)
    ec2.associate_address(AllocationId=allocate(ec2), InstanceId=other)
    monkeypatch.setattr(_elastic_ips.ElasticIPs, "_pages_of_instances", lambda *_: [])
    with pytest.raises(Aborted, match=r"all 1 are in use$"):
        eip.claim(f"{POOL}=nat", facts=facts(own), deadline=time.monotonic() + 20)
    assert other in holders(ec2).values()


def test_the_boot_step(ec2: Any, tmp_path: Path) -> None:
    """The command of conf/collective-eip.service takes an address, and exits with 2 when there is none."""
    allocate(ec2)
    unit = (ROOT / "conf" / "collective-eip.service").read_text()
    words = shlex.split(next(line for line in unit.splitlines() if line.startswith("ExecStart=")).partition("=")[2])
    for own, code in zip(instances(ec2, 2), (0, 2), strict=True):
        (tmp_path / "facts.json").write_text(json.dumps(facts(own)))
        command = [str(BIN / "crpc"), *words[1:-1], str(tmp_path), "--facts", str(tmp_path / "facts.json"), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == code, done.stderr
        assert json.loads(done.stdout)["replies"][0]["statuscode"] == (1 if code else 0)


def test_the_states_of_a_pool(ec2: Any) -> None:
    """A status lists each address once, with the state of the instance that has it."""
    [own] = instances(ec2, 1)
    for kind in ("self", "free", "stopped", "interface"):
        address_of(ec2, kind, own)
    reply = eip.status(f"{POOL}=nat", facts=facts(own), deadline=time.monotonic() + 20)
    assert sorted(one["state"] for one in reply["addresses"]) == ["free", "other", "running", "stopped"]


def facts(instance: str) -> dict[str, Any]:
    return {"ec2": {"instance_id": instance, "region": REGION}}


@pytest.mark.parametrize("addresses", [20, 12])
def test_twenty_instances_claim_at_once(ec2: Any, addresses: int) -> None:
    """No two get the same address, and those that get none report why."""
    claimers = instances(ec2, 20)
    for _ in range(addresses):
        allocate(ec2)
    got: dict[str, str] = {}
    errors: list[str] = []
    together = threading.Barrier(len(claimers))

    def claim(instance: str) -> None:
        together.wait(60)
        try:
            reply = eip.claim(f"{POOL}=nat", facts=facts(instance), deadline=time.monotonic() + 60)
            got[instance] = reply["address"]
        except Aborted as error:
            errors.append(str(error))

    threads = [threading.Thread(target=claim, args=(instance,)) for instance in claimers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = {one["InstanceId"]: one["PublicIp"] for one in ec2.describe_addresses()["Addresses"]}
    assert got == found
    assert len(set(got.values())) == addresses
    assert errors == [f"no free address in the pool '{POOL}=nat': all 12 are in use"] * (20 - addresses)


def test_moto_honours_allow_reassociation(ec2: Any) -> None:
    """The server of these tests refuses an address that is in use, as AWS does."""
    first, second = instances(ec2, 2)
    allocation = allocate(ec2)
    ec2.associate_address(AllocationId=allocation, InstanceId=first, AllowReassociation=False)
    with pytest.raises(ec2.exceptions.ClientError, match=r"Resource\.AlreadyAssociated"):
        ec2.associate_address(AllocationId=allocation, InstanceId=second, AllowReassociation=False)
