"""EC2 metadata, from a stand-in of the service that speaks version 2 only; and a quick no everywhere else."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.metadata_service import Service, serving

from collective.errors import ConfigError
from collective.node.facts import ec2

FACTS = {
    "instance_id": "i-0123456789abcdef0",
    "instance_type": "m7g.large",
    "availability_zone": "eu-central-1a",
    "region": "eu-central-1",
}
NO_INSTANCE = "127.0.0.1:1"  # nobody listens: asking would be an error


@pytest.fixture
def service() -> Iterator[Service]:
    """A metadata service."""
    with serving() as server:
        yield server


@pytest.fixture
def nitro(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The firmware's words on an instance."""
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED", raising=False)
    (tmp_path / "sys_vendor").write_text("Amazon EC2\n")
    return tmp_path


def test_an_instance_knows_itself(service: Service, nitro: Path) -> None:
    """Identity, type, place; no tags where the instance may not see them."""
    assert ec2.read(nitro, service.address) == {"ec2": {**FACTS, "tags": {}}}


def test_tags_are_facts_where_they_are_enabled(service: Service, nitro: Path) -> None:
    """With any characters that AWS allows in their names."""
    service.pages["meta-data/tags/instance"] = "Name\ncost center/team"
    service.pages["meta-data/tags/instance/Name"] = "web 1"
    service.pages["meta-data/tags/instance/cost%20center%2Fteam"] = "ops"
    assert ec2.read(nitro, service.address)["ec2"]["tags"] == {"Name": "web 1", "cost center/team": "ops"}


@pytest.mark.parametrize(
    ("name", "text"), [("board_asset_tag", "i-0123"), ("product_uuid", "EC2A1B2C"), ("bios_version", "4.11.amazon")]
)
def test_the_firmware_of_all_kinds_of_instances_is_known(tmp_path: Path, name: str, text: str) -> None:
    """Nitro and Xen say it in different places."""
    (tmp_path / name).write_text(text)
    assert ec2.is_instance(tmp_path)


@pytest.mark.parametrize("vendor", [None, "QEMU", "LENOVO", "\xff"])
def test_elsewhere_nothing_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vendor: str | None) -> None:
    """The answer is no, at once, without a packet."""
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED", raising=False)
    if vendor is not None:
        (tmp_path / "sys_vendor").write_text(vendor, encoding="latin-1")
        (tmp_path / "board_asset_tag").write_text("Not Specified")
    assert ec2.read(tmp_path, NO_INSTANCE) == {}


def test_boto3s_own_variable_forbids_to_ask(service: Service, nitro: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it does for credentials."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert ec2.read(nitro, service.address) == {}
    assert service.asked == []


@pytest.mark.parametrize(("status", "said"), [(403, "no token: status 403"), (500, "no token: status 500")])
def test_a_refusal_is_a_fault_with_its_status(service: Service, nitro: Path, status: int, said: str) -> None:
    """So that the last good facts stay, and somebody learns why."""
    service.token_status = status
    with pytest.raises(ConfigError, match=f"^EC2 metadata at {service.address}: {said}"):
        ec2.read(nitro, service.address)


def test_rubbish_and_nobody_are_faults(service: Service, nitro: Path) -> None:
    """One line each."""
    service.pages["dynamic/instance-identity/document"] = "{"
    with pytest.raises(ConfigError, match="EC2 metadata at "):
        ec2.read(nitro, service.address)
    with pytest.raises(ConfigError, match=r"EC2 metadata at 127\.0\.0\.1:1: .*refused"):
        ec2.read(nitro, NO_INSTANCE)


def test_a_service_that_hangs_is_left(service: Service, nitro: Path) -> None:
    """All questions together have one deadline."""
    service.hangs.set()
    began = time.monotonic()
    with pytest.raises(ConfigError, match="timed out"):
        ec2.read(nitro, service.address, seconds=0.2)
    assert time.monotonic() - began < 1
