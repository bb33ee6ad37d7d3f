"""Facts from the EC2 instance metadata service, version 2 (EC2 user guide: "Use IMDSv2").

Is this machine an EC2 instance, by its firmware?
├─ no:  {} without a request
└─ yes: PUT token ─► GET the identity document, and the tags if the instance may read them
"""

from __future__ import annotations

import http.client
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from collective.errors import ConfigError

ADDRESS = "169.254.169.254"
SECONDS = 2.0  # limit for all requests together; on an instance they take milliseconds
_FIRMWARE = Path("/sys/class/dmi/id")
_LEASE_SECONDS = "30"  # lifetime of a token
_MAX_RESPONSE = 64 * 1024  # bytes
_DOCUMENT = {
    "instance_id": "instanceId",
    "instance_type": "instanceType",
    "availability_zone": "availabilityZone",
    "region": "region",
    "image_id": "imageId",
    "account_id": "accountId",
}


def read(firmware: Path = _FIRMWARE, address: str = ADDRESS, seconds: float = SECONDS) -> Mapping[str, Any]:
    """Return `{"ec2": {instance_id, instance_type, availability_zone, region, …, tags}}`; {} outside EC2.

    `tags` is {} unless the instance's metadata options include the tags. Raise ConfigError when the service does not
    answer within `seconds`. With AWS_EC2_METADATA_DISABLED=true, the variable of boto3, no request is made.
    """
    if os.environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true" or not is_instance(firmware):
        return {}
    try:
        return {"ec2": _Metadata(address, time.monotonic() + seconds).describe()}
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise ConfigError(f"EC2 metadata at {address}: {error or type(error).__name__}") from None


def is_instance(firmware: Path = _FIRMWARE) -> bool:
    """Return whether the firmware identifies an EC2 instance, so that other machines make no metadata requests.

    EC2 user guide, "Identify EC2 instances": Nitro by the system vendor and asset tag, Xen by the product UUID.
    """
    values = {
        name: _read_lower(firmware / name) for name in ("sys_vendor", "bios_version", "board_asset_tag", "product_uuid")
    }
    return (
        "amazon" in values["sys_vendor"]
        or "amazon" in values["bios_version"]
        or values["board_asset_tag"].startswith("i-")
        or values["product_uuid"].startswith("ec2")
    )


def _read_lower(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip().lower()
    except OSError:
        return ""  # does not exist, or only root may read it


class _Metadata:
    """A client of the metadata service; all its requests end by `deadline` (time.monotonic)."""

    def __init__(self, address: str, deadline: float) -> None:
        self._address = address
        self._deadline = deadline
        self._token = {"X-aws-ec2-metadata-token": self._fetch_token(_LEASE_SECONDS)}

    def describe(self) -> dict[str, Any]:
        document = json.loads(self._get("dynamic/instance-identity/document") or "{}")
        facts = {fact: document[key] for fact, key in _DOCUMENT.items() if document.get(key)}
        return {**facts, "tags": self._tags()}

    def _tags(self) -> dict[str, str]:
        names = (self._get("meta-data/tags/instance") or "").splitlines()
        tags = {name: self._get(f"meta-data/tags/instance/{quote(name, safe='')}") for name in names}
        return {name: value for name, value in tags.items() if value is not None}

    def _fetch_token(self, seconds: str) -> str:
        status, text = self._request("PUT", "api/token", {"X-aws-ec2-metadata-token-ttl-seconds": seconds})
        if status != http.HTTPStatus.OK:
            raise ValueError(
                f"token request returned HTTP status {status} (is the metadata service enabled for this instance?)"
            )
        return text

    def _get(self, path: str) -> str | None:
        """Return the text at `path`; None when the service has no such path."""
        status, text = self._request("GET", path, self._token)
        if status == http.HTTPStatus.NOT_FOUND:
            return None
        if status != http.HTTPStatus.OK:
            raise ValueError(f"{path}: HTTP status {status}")
        return text

    def _request(self, method: str, path: str, headers: Mapping[str, str]) -> tuple[int, str]:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        connection = http.client.HTTPConnection(self._address, timeout=left)
        try:
            connection.request(method, f"/latest/{path}", headers=dict(headers))
            response = connection.getresponse()
            return response.status, response.read(_MAX_RESPONSE).decode()
        finally:
            connection.close()
