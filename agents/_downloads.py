"""Download a script from S3 or over https. The digest in the URL decides whether it is run.

s3://BUCKET/KEY#sha256=DIGEST      with the credentials of the node
https://HOST/PATH#sha256=DIGEST    redirects to anything but https are refused
"""

from __future__ import annotations

import hashlib
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import unquote, urlsplit

from collective.agent import Aborted

LARGEST = 4 * 1024 * 1024  # bytes of a script
_DIGEST = "sha256="


class _HttpsOnly(urllib.request.HTTPRedirectHandler):
    """Follows redirects to https only."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        """Return the request of a redirect; raises URLError for another scheme."""
        if urlsplit(newurl).scheme != "https":
            raise urllib.error.URLError(f"redirected to '{newurl}', which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def script(url: str, seconds: float) -> str:
    """Return the script at a URL; raise Aborted if it cannot be downloaded, is too large, or has another digest."""
    place, _, fragment = url.partition("#")
    content = _from_s3(place, seconds) if place.startswith("s3://") else _from_https(place, seconds)
    if len(content) > LARGEST:
        raise Aborted(f"{place}: larger than {LARGEST} bytes")
    found, wanted = hashlib.sha256(content).hexdigest(), fragment.removeprefix(_DIGEST)
    if found != wanted:
        raise Aborted(f"{place}: not run: its digest is {found}, not {wanted}")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise Aborted(f"{place}: not UTF-8") from None


def _from_https(url: str, seconds: float) -> bytes:
    opener = urllib.request.build_opener(_HttpsOnly)
    try:
        with opener.open(url, timeout=seconds) as answer:
            content: bytes = answer.read(LARGEST + 1)
            return content
    except (OSError, ValueError) as error:
        raise Aborted(f"{url}: {getattr(error, 'reason', None) or error}") from None


def _from_s3(url: str, seconds: float) -> bytes:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    parts = urlsplit(url)
    config = Config(connect_timeout=min(10, seconds), read_timeout=seconds, retries={"total_max_attempts": 2})
    try:
        found = boto3.client("s3", config=config).get_object(Bucket=parts.netloc, Key=unquote(parts.path.lstrip("/")))
        content: bytes = found["Body"].read(LARGEST + 1)
        return content
    except (BotoCoreError, ClientError, OSError, ValueError) as error:
        raise Aborted(f"{url}: {error}") from None
