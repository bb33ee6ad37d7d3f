"""What EC2 knows of this instance, by the instance metadata service, version 2 (EC2 user guide: "Use IMDSv2").

is this an instance? ─ no: {}, and nothing is asked
  └ yes: PUT token ─► GET the identity document, and the tags where the instance may see them
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
SECONDS = 2.0  # for all questions together, on an instance; it answers in milliseconds
_FIRMWARE = Path("/sys/class/dmi/id")
_LEASE = "30"  # seconds that a token is good for
_LARGEST = 64 * 1024  # bytes of one answer
_DOCUMENT = {
    "instance_id": "instanceId",
    "instance_type": "instanceType",
    "availability_zone": "availabilityZone",
    "region": "region",
    "image_id": "imageId",
    "account_id": "accountId",
}


def read(firmware: Path = _FIRMWARE, address: str = ADDRESS, seconds: float = SECONDS) -> Mapping[str, Any]:
    """Return `{"ec2": {instance_id, instance_type, availability_zone, region, …, tags}}`; {} when this is no instance.

    `tags` is {} unless the instance's metadata options let it see them. Raises ConfigError when an instance gets
    no answer within `seconds`. AWS_EC2_METADATA_DISABLED, boto3's own variable, forbids to ask.
    """
    if os.environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true" or not is_instance(firmware):
        return {}
    try:
        return {"ec2": _Metadata(address, time.monotonic() + seconds).describe()}
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise ConfigError(f"EC2 metadata at {address}: {error or type(error).__name__}") from None


def is_instance(firmware: Path = _FIRMWARE) -> bool:
    """Tell whether the firmware says that Amazon made this machine, so that nothing is asked anywhere else.

    EC2 user guide, "Identify EC2 instances": Nitro says so in its vendor and asset tag, Xen in its UUID.
    """
    says = {name: _word(firmware / name) for name in ("sys_vendor", "bios_version", "board_asset_tag", "product_uuid")}
    return (
        "amazon" in says["sys_vendor"]
        or "amazon" in says["bios_version"]
        or says["board_asset_tag"].startswith("i-")
        or says["product_uuid"].startswith("ec2")
    )


def _word(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip().lower()
    except OSError:
        return ""  # there is none, or only root may read it


class _Metadata:
    """One conversation with the metadata service, to be over at `deadline` (time.monotonic)."""

    def __init__(self, address: str, deadline: float) -> None:
        self._address = address
        self._deadline = deadline
        self._token = {"X-aws-ec2-metadata-token": self._token_for(_LEASE)}

    def describe(self) -> dict[str, Any]:
        document = json.loads(self._get("dynamic/instance-identity/document") or "{}")
        known = {fact: document[key] for fact, key in _DOCUMENT.items() if document.get(key)}
        return {**known, "tags": self._tags()}

    def _tags(self) -> dict[str, str]:
        names = (self._get("meta-data/tags/instance") or "").splitlines()
        tags = {name: self._get(f"meta-data/tags/instance/{quote(name, safe='')}") for name in names}
        return {name: value for name, value in tags.items() if value is not None}

    def _token_for(self, seconds: str) -> str:
        status, text = self._ask("PUT", "api/token", {"X-aws-ec2-metadata-token-ttl-seconds": seconds})
        if status != http.HTTPStatus.OK:
            raise ValueError(f"no token: status {status}: it may be switched off for this instance")
        return text

    def _get(self, path: str) -> str | None:
        """Return what is at `path`, or None when there is no such thing."""
        status, text = self._ask("GET", path, self._token)
        if status == http.HTTPStatus.NOT_FOUND:
            return None
        if status != http.HTTPStatus.OK:
            raise ValueError(f"{path}: status {status}")
        return text

    def _ask(self, method: str, path: str, headers: Mapping[str, str]) -> tuple[int, str]:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("it takes too long to answer")
        connection = http.client.HTTPConnection(self._address, timeout=left)
        try:
            connection.request(method, f"/latest/{path}", headers=dict(headers))
            response = connection.getresponse()
            return response.status, response.read(_LARGEST).decode()
        finally:
            connection.close()
