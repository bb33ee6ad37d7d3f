"""Facts from EC2 metadata, by a local server with version 2 only; and no requests outside EC2."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from support.metadata_service import Service, serving

from collective import ec2_metadata as ec2
from collective.errors import ConfigError
from collective.node.facts.ec2_source import PERIOD, RETRY, EC2Facts

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
    assert time.monotonic() - began < 5


# -- the APIs of AWS


class AnsweringAPIs:
    """Answers as the APIs; counts calls. `error` is raised, `errors` are lines of one API that failed."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, tuple[str, ...]]] = []
        self.facts: dict[str, Any] = {"tags": {"Name": "a"}, "target_groups": ["blue"]}
        self.errors: list[str] = []
        self.error: str | None = None
        self.seconds = 0.0

    def describe(self, instance: str, region: str, wanted: Sequence[str]) -> Mapping[str, Any]:
        """Return the facts and errors."""
        self.calls.append((instance, region, tuple(wanted)))
        if self.error:
            raise ConfigError(self.error)
        return {"facts": dict(self.facts), "errors": list(self.errors)}

    def clock(self) -> float:
        """Return the seconds that the test has set."""
        return self.seconds


@pytest.fixture
def account() -> AnsweringAPIs:
    """An account with one instance."""
    return AnsweringAPIs()


WANTED = ("tags", "target_groups")


def source(account: AnsweringAPIs, metadata: Mapping[str, Any], wanted: Sequence[str] = WANTED) -> EC2Facts:
    return EC2Facts(wanted, account.describe, lambda: metadata, account.clock)


METADATA = {"ec2": {"instance_id": "i-1", "region": "eu-west-1", "tags": {}}}


def test_the_apis_are_asked_seldom(account: AnsweringAPIs) -> None:
    """Facts of the APIs are kept for a quarter of an hour; the metadata are read each time."""
    facts = source(account, METADATA)
    for account.seconds in (0.0, 60.0, PERIOD - 1):
        assert facts.read() == {"ec2": {**METADATA["ec2"], **account.facts}}
    assert account.calls == [("i-1", "eu-west-1", WANTED)]
    account.seconds = PERIOD * 1.1
    account.facts["target_groups"] = []
    assert facts.read()["ec2"]["target_groups"] == []
    assert len(account.calls) == 2


@pytest.mark.parametrize("whole", [True, False])
def test_an_api_that_fails_keeps_its_last_facts(account: AnsweringAPIs, whole: bool) -> None:
    """The line says which; it is asked again after five minutes, and the metadata stay."""
    facts = source(account, METADATA)
    facts.read()
    account.seconds = PERIOD * 1.1
    account.error = "EC2 API: timed out" if whole else None
    account.facts, account.errors = {"tags": {"Name": "b"}}, ["target_groups: AccessDenied"]
    found = facts.read()
    assert found["ec2"]["instance_id"] == "i-1"
    assert found["ec2"]["target_groups"] == ["blue"]
    assert found["ec2"]["tags"] == {"Name": "a" if whole else "b"}
    assert found.omitted == (("EC2 API: timed out",) if whole else ("ec2.target_groups: AccessDenied",))
    account.seconds += RETRY * 1.1
    account.error, account.errors = None, []
    assert facts.read().omitted == ()


def test_tags_of_the_metadata_come_first(account: AnsweringAPIs) -> None:
    """Metadata with tags are newer than those that are kept from the API."""
    metadata = {"ec2": {**METADATA["ec2"], "tags": {"Name": "now"}}}
    assert source(account, metadata).read()["ec2"]["tags"] == {"Name": "now"}


@pytest.mark.parametrize(("metadata", "wanted"), [({}, ("tags",)), (METADATA, ())])
def test_the_apis_are_not_asked_in_vain(
    account: AnsweringAPIs, metadata: Mapping[str, Any], wanted: Sequence[str]
) -> None:
    """Outside EC2, or without the setting, no request is made."""
    assert source(account, metadata, wanted).read() == metadata
    assert account.calls == []


def test_another_instance_has_facts_of_its_own(account: AnsweringAPIs) -> None:
    """A machine that is started from an image of this one is another instance."""
    metadata = {"ec2": dict(METADATA["ec2"])}
    facts = source(account, metadata)
    facts.read()
    metadata["ec2"]["instance_id"] = "i-2"
    account.error = "no"
    assert "target_groups" not in facts.read()["ec2"]
