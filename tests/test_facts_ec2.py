"""Facts from EC2 metadata, by a local server with version 2 only; and no requests outside EC2."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.metadata_service import Service, serving

from collective import ec2_metadata as ec2
from collective.errors import ConfigError

FACTS = {
    "instance_id": "i-0123456789abcdef0",
    "instance_type": "m7g.large",
    "availability_zone": "eu-central-1a",
    "region": "eu-central-1",
}
UNREACHABLE = "127.0.0.1:1"  # a request to it would be an error


@pytest.fixture
def service() -> Iterator[Service]:
    """A metadata service."""
    with serving() as server:
        yield server


@pytest.fixture
def nitro(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The firmware files of a Nitro instance."""
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED", raising=False)
    (tmp_path / "sys_vendor").write_text("Amazon EC2\n")
    return tmp_path


def test_an_instance_has_its_metadata_as_facts(service: Service, nitro: Path) -> None:
    """The facts have id, type and location, and no tags if the instance may not read them."""
    assert ec2.read(nitro, service.address) == {"ec2": {**FACTS, "tags": {}}}


def test_tags_are_facts_if_they_are_enabled(service: Service, nitro: Path) -> None:
    """Tag names may have any characters that AWS allows."""
    service.pages["meta-data/tags/instance"] = "Name\ncost center/team"
    service.pages["meta-data/tags/instance/Name"] = "web 1"
    service.pages["meta-data/tags/instance/cost%20center%2Fteam"] = "ops"
    assert ec2.read(nitro, service.address)["ec2"]["tags"] == {"Name": "web 1", "cost center/team": "ops"}


@pytest.mark.parametrize(
    ("name", "text"), [("board_asset_tag", "i-0123"), ("product_uuid", "EC2A1B2C"), ("bios_version", "4.11.amazon")]
)
def test_every_type_of_instance_is_recognized(tmp_path: Path, name: str, text: str) -> None:
    """Nitro and Xen instances are identified by different firmware files."""
    (tmp_path / name).write_text(text)
    assert ec2.is_instance(tmp_path)


@pytest.mark.parametrize("vendor", [None, "QEMU", "LENOVO", "\xff"])
def test_outside_ec2_no_request_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vendor: str | None) -> None:
    """Other machines have no EC2 facts and send nothing."""
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED", raising=False)
    if vendor is not None:
        (tmp_path / "sys_vendor").write_text(vendor, encoding="latin-1")
        (tmp_path / "board_asset_tag").write_text("Not Specified")
    assert ec2.read(tmp_path, UNREACHABLE) == {}


def test_the_variable_of_boto3_disables_requests(
    service: Service, nitro: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AWS_EC2_METADATA_DISABLED=true disables requests, as it does for credentials."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert ec2.read(nitro, service.address) == {}
    assert service.asked == []


@pytest.mark.parametrize(
    ("status", "message"),
    [(403, "token request returned HTTP status 403"), (500, "token request returned HTTP status 500")],
)
def test_an_http_error_is_reported_with_its_status(service: Service, nitro: Path, status: int, message: str) -> None:
    """An HTTP error is a ConfigError, so that the last valid facts are kept and the error is logged."""
    service.token_status = status
    with pytest.raises(ConfigError, match=f"^EC2 metadata at {service.address}: {message}"):
        ec2.read(nitro, service.address)


def test_invalid_responses_and_refused_connections_are_errors(service: Service, nitro: Path) -> None:
    """Both are reported as a ConfigError with the address."""
    service.pages["dynamic/instance-identity/document"] = "{"
    with pytest.raises(ConfigError, match="EC2 metadata at "):
        ec2.read(nitro, service.address)
    with pytest.raises(ConfigError, match=r"EC2 metadata at 127\.0\.0\.1:1: .*refused"):
        ec2.read(nitro, UNREACHABLE)


def test_a_service_that_does_not_respond_times_out(service: Service, nitro: Path) -> None:
    """All requests together have one deadline."""
    service.hangs.set()
    began = time.monotonic()
    with pytest.raises(ConfigError, match="timed out"):
        ec2.read(nitro, service.address, seconds=0.2)
    assert time.monotonic() - began < 1
