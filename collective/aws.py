"""What everything that speaks to AWS shares: one session, the server's clock, and the table of errors.

boto3 (about 0.2 s to import) is imported here and in no module that a command needs to be refused.
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

_FAR = 60.0  # seconds that a clock may be off before we say so; AWS refuses what is signed 300 s off

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
_NOT_AWS = "what answers there is not AWS: a proxy, or a wrong AWS_ENDPOINT_URL?"
_DELETED_RECENTLY = frozenset(["AWS.SimpleQueueService.QueueDeletedRecently", "QueueDeletedRecently"])


@dataclass(frozen=True)
class Patience:
    """How many seconds a server has to take a connection, and to answer; and how often a request is tried at most.

    Between tries lies botocore's own back-off: some 4 s in all when nobody answers.
    """

    connect: int = 5
    read: int = 30  # more than transport.LONGEST_POLL: a poll without messages is not a timeout
    attempts: int = 4


USUAL = Patience()


@dataclass(frozen=True)
class Settings:
    """What boto3's own settings come to. `credentials` says in boto3's word where they come from."""

    region: str
    endpoint: str
    credentials: str


class AWS:
    """A boto3 session and the clock of the servers that answer it.

    `session` enters from outside so that the lab's nodes, forked from one parent, share what it has loaded.
    """

    def __init__(self, session: boto3.Session | None = None, patience: Patience = USUAL) -> None:
        with translated("AWS"):
            self._session = session or boto3.Session()
        self._patience = patience
        self._offset: float | None = None
        self._far_off = False

    def settings(self) -> Settings:
        """Return what the settings come to, once there are credentials; raise ConfigError and AccessDenied."""
        client = self.client("sqs")
        with translated("AWS"):
            credentials = self._session.get_credentials()
            if credentials is None:
                raise botocore_errors.NoCredentialsError
            credentials.get_frozen_credentials()
        return Settings(client.meta.region_name, client.meta.endpoint_url, credentials.method)

    def regions(self) -> list[str]:
        """Return the regions that this boto3 knows to have SQS, of every partition."""
        partitions = self._session.get_available_partitions()
        return [region for partition in partitions for region in self._session.get_available_regions("sqs", partition)]

    def client(self, service: Any, *, connections: int = 10) -> Any:
        """Return a client of `service` (`sqs`, `sns`, `dynamodb`) for up to `connections` threads at once.

        Raise ConfigError for an endpoint, a region or a profile that cannot be.
        """
        settings = Config(
            connect_timeout=self._patience.connect,
            read_timeout=self._patience.read,
            max_pool_connections=connections,
            # Not "adaptive": what is throttled here is a fleet that does one thing at once; no node sends too much by
            # itself, and after one refusal all that its client does would be slower, polls and replies too.
            retries={"mode": "standard", "total_max_attempts": self._patience.attempts},
            tcp_keepalive=True,
        )
        try:
            with translated(service):
                if not self._session.region_name:  # boto3 takes an empty one for the name of a region
                    raise botocore_errors.NoRegionError
                client = self._session.client(service, config=settings)
        except Unreachable as exc:  # nobody has been asked yet: it is what we are told that is wrong
            raise ConfigError(f"AWS: {exc}: see AWS_ENDPOINT_URL, AWS_DEFAULT_REGION and ~/.aws/config") from None
        client.meta.events.register("after-call", self._note_date)
        return client

    def now(self) -> float:
        """Return the servers' time in Unix seconds, as their last answer told it; our own before the first."""
        return time.time() + (self._offset or 0.0)

    @property
    def skew(self) -> float | None:
        """How many seconds this machine's clock is ahead of the servers'; None before their first answer."""
        return None if self._offset is None else -self._offset

    def _note_date(self, http_response: Any = None, **_: Any) -> None:
        date = http_response.headers.get("date") if http_response is not None else None
        if not date:
            return
        try:
            told = parsedate_to_datetime(date).timestamp()
        except ValueError:
            return
        # The header has whole seconds: the truth lies in [told, told + 1).
        ours = time.time()
        if not told <= ours < told + 1:
            self._offset = told + 0.5 - ours
        else:
            self._offset = 0.0
        self._warn_when_far_off(-self._offset)

    def _warn_when_far_off(self, skew: float) -> None:
        """Say, once each time it happens, that this machine's clock is `skew` seconds ahead of the servers'."""
        far_off = abs(skew) > _FAR
        if far_off and not self._far_off:
            message = f"this machine's clock is {skew:+.0f} s off the servers': set it right: AWS allows 300 s"
            log.warning("clock.off", extra={"error": message, "skew_s": round(skew, 1)})
        self._far_off = far_off


@contextmanager
def translated(name: str) -> Iterator[None]:
    """Turn what botocore raises into our errors; `name` is the queue, topic or table that was asked.

    What an answer must have is looked up inside, for a page of some proxy has none of it.
    """
    try:
        yield
    except botocore_errors.ClientError as exc:
        raise _from_answer(name, exc) from None
    except botocore_errors.NoRegionError as exc:
        raise ConfigError(f"AWS: {exc} (AWS_DEFAULT_REGION, or region in ~/.aws/config)") from None
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
        raise Unreachable(f"{name}: an answer without {exc}: {_NOT_AWS}") from None
    except (botocore_errors.BotoCoreError, ValueError) as exc:  # ValueError: an endpoint that is no URL
        raise Unreachable(f"{name}: {_one_line(exc)}") from None


def _from_answer(name: str, exc: botocore_errors.ClientError) -> CollectiveError:
    error = exc.response.get("Error", {})
    code = str(error.get("Code", "unknown"))
    if code in _MISSING:
        return NotFound(name)
    text = f"{code}: {_one_line(error.get('Message') or 'no message')}"
    if code in _FORBIDDEN:
        return Forbidden(f"{name}: {text}")
    if code in _DENIED:
        return AccessDenied(f"{name}: {text}")
    if code in _THROTTLED:
        return Unreachable(f"{name}: throttled, AWS takes no more requests for now: {text}")
    if code in _DELETED_RECENTLY:
        return Unreachable(f"{name}: was deleted less than 60 s ago, and SQS gives the name back after that: {text}")
    return Unreachable(f"{name}: {text}")


def _one_line(text: object) -> str:
    return " ".join(str(text).split())
