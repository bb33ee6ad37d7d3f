"""Share one boto3 session, the server's clock and the error translation between all modules that use AWS.

boto3 takes about 0.2 s to import. It is imported here, and in no module that a command needs to reject its arguments.
Region, credentials, profile, proxy and endpoints are boto3's own settings (AWS_ENDPOINT_URL, AWS_PROFILE …).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import boto3
from botocore import exceptions as botocore_errors
from botocore.config import Config
from botocore.parsers import ResponseParserError

from collective.errors import AccessDenied, CollectiveError, ConfigError, Forbidden, NotFound, Unreachable

log = logging.getLogger(__name__)

_MAX_SKEW = 60.0  # seconds by which a clock may be off without a warning; AWS rejects signatures at 300 s

_MISSING = frozenset(
    [
        "AWS.SimpleQueueService.NonExistentQueue",
        "QueueDoesNotExist",
        "NotFound",
        "NotFoundException",
        "ResourceNotFoundException",
    ]
)
_FORBIDDEN = frozenset(["AccessDenied", "AccessDeniedException", "AuthorizationError"])
_DENIED = frozenset(
    [
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSecurity",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "OptInRequired",
        "RequestExpired",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    ]
)
_THROTTLED = frozenset(
    [
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "SlowDown",
        "Throttled",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    ]
)
_NOT_AWS = "the response is not from AWS (check the proxy and AWS_ENDPOINT_URL)"
_DELETED_RECENTLY = frozenset(["AWS.SimpleQueueService.QueueDeletedRecently", "QueueDeletedRecently"])


@dataclass(frozen=True)
class Timeouts:
    """The connect and read timeouts in seconds, and the maximum number of attempts of a request.

    Between attempts, botocore's backoff takes about 4 s in all.
    """

    connect: int = 5
    read: int = 30  # more than transport.LONGEST_POLL: a poll without messages is not a timeout
    attempts: int = 4


DEFAULT_TIMEOUTS = Timeouts()


@dataclass(frozen=True)
class Settings:
    """The effective settings of boto3; `credentials` is where boto3 found them, in its own terms."""

    region: str
    endpoint: str
    credentials: str


class AWS:
    """A boto3 session, and the clock of AWS.

    `session` is an argument so that the nodes of a lab, forked from one process, share what it has loaded.
    """

    def __init__(self, session: boto3.Session | None = None, timeouts: Timeouts = DEFAULT_TIMEOUTS) -> None:
        with translated("AWS"):
            self._session = session or boto3.Session()
        self._timeouts = timeouts
        self._offset: float | None = None
        self._clock_is_off = False

    def settings(self) -> Settings:
        """Return the effective settings. Raises ConfigError and AccessDenied, e.g. without credentials."""
        client = self.client("sqs")
        with translated("AWS"):
            credentials = self._session.get_credentials()
            if credentials is None:
                raise botocore_errors.NoCredentialsError
            credentials.get_frozen_credentials()
        return Settings(client.meta.region_name, client.meta.endpoint_url, credentials.method)

    def regions(self) -> list[str]:
        """Return the regions with SQS that this version of boto3 knows, of all partitions."""
        partitions = self._session.get_available_partitions()
        return [region for partition in partitions for region in self._session.get_available_regions("sqs", partition)]

    def client(self, service: Any, *, connections: int = 10) -> Any:
        """Return a client of `service` (`sqs`, `sns`, `dynamodb`) that up to `connections` threads can use.

        Raises ConfigError for an invalid endpoint, region or profile, AccessDenied or Unreachable if boto3 asks a
        service for credentials in vain.
        """
        settings = Config(
            connect_timeout=self._timeouts.connect,
            read_timeout=self._timeouts.read,
            max_pool_connections=connections,
            # Not "adaptive": AWS throttles because many nodes act at once, not because one node sends too much. After
            # one throttled request, adaptive mode would delay all requests of the client, polls and replies too.
            retries={"mode": "standard", "total_max_attempts": self._timeouts.attempts},
            tcp_keepalive=True,
        )
        with translated("AWS credentials"):
            if not self._session.region_name:  # boto3 accepts an empty string as a region
                raise botocore_errors.NoRegionError
            self._session.get_credentials()  # boto3 keeps them; it may have to ask the metadata service, by a proxy
        try:
            with translated(service):
                client = self._session.client(service, config=settings)
        except Unreachable as exc:  # nothing was sent yet, so a setting is invalid
            raise ConfigError(f"AWS: {exc} (check AWS_ENDPOINT_URL, AWS_DEFAULT_REGION and ~/.aws/config)") from None
        client.meta.events.register("after-call", self._note_date)
        return client

    def now(self) -> float:
        """Return the servers' time in Unix seconds, from their last response; before it, this machine's time."""
        return time.time() + (self._offset or 0.0)

    @property
    def skew(self) -> float | None:
        """How many seconds this machine's clock is ahead of the servers' clock; None before their first response."""
        return None if self._offset is None else -self._offset

    def _note_date(self, http_response: Any = None, **_: Any) -> None:
        date = http_response.headers.get("date") if http_response is not None else None
        if not date:
            return
        try:
            seconds = parsedate_to_datetime(date).timestamp()
        except ValueError:
            return
        # The header has whole seconds: the servers' time is in [seconds, seconds + 1).
        now = time.time()
        self._offset = 0.0 if seconds <= now < seconds + 1 else seconds + 0.5 - now
        self._check_skew(-self._offset)

    def _check_skew(self, skew: float) -> None:
        """Log a warning when this machine's clock goes wrong; `skew` is how many seconds it is ahead."""
        is_off = abs(skew) > _MAX_SKEW
        if is_off and not self._clock_is_off:
            message = f"this machine's clock is {skew:+.0f} s off; AWS allows 300 s (synchronize it with NTP)"
            log.warning("clock.off", extra={"error": message, "skew_s": round(skew, 1)})
        self._clock_is_off = is_off


@contextmanager
def translated(name: str, kind: str = "resource") -> Iterator[None]:
    """Translate errors of botocore; `name` is that of the resource, `kind` is queue, topic, table or subscription.

    Read required keys of a response inside the block: a missing key means that the response is not from AWS.
    """
    try:
        yield
    except botocore_errors.ClientError as exc:
        raise _from_response(name, kind, exc) from None
    except botocore_errors.NoRegionError as exc:
        raise ConfigError(f"AWS: {exc} (set AWS_DEFAULT_REGION, or region in ~/.aws/config)") from None
    except (
        botocore_errors.ConfigNotFound,
        botocore_errors.ConfigParseError,
        botocore_errors.ProfileNotFound,
    ) as exc:
        raise ConfigError(f"AWS: {_one_line(exc)}") from None
    except (
        botocore_errors.NoCredentialsError,
        botocore_errors.PartialCredentialsError,
        botocore_errors.CredentialRetrievalError,
        botocore_errors.TokenRetrievalError,
        botocore_errors.SSOError,
    ) as exc:
        raise AccessDenied(f"AWS credentials: {exc}") from None
    except ResponseParserError:
        raise Unreachable(f"{name}: {_NOT_AWS}") from None
    except KeyError as exc:
        raise Unreachable(f"{name}: {exc} is missing in the response: {_NOT_AWS}") from None
    except (botocore_errors.BotoCoreError, ValueError) as exc:  # ValueError: invalid URL of an endpoint
        raise Unreachable(f"{name}: {_one_line(exc)}") from None


def _from_response(name: str, kind: str, exc: botocore_errors.ClientError) -> CollectiveError:
    error = exc.response.get("Error", {})
    code = str(error.get("Code", "unknown"))
    if code in _MISSING:
        return NotFound(kind, name)
    text = f"{code}: {_one_line(error.get('Message') or 'no message')}"
    if code in _FORBIDDEN:
        return Forbidden(f"{name}: {text}")
    if code in _DENIED:
        return AccessDenied(f"{name}: {text}")
    if code in _THROTTLED:
        return Unreachable(f"{name}: throttled by AWS: {text}")
    if code in _DELETED_RECENTLY:
        return Unreachable(f"{name}: deleted less than 60 s ago, SQS blocks the name until then: {text}")
    return Unreachable(f"{name}: {text}")


def _one_line(text: object) -> str:
    return " ".join(str(text).split())
