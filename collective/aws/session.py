"""Share one session of botocore or boto3 and the server's clock between all modules that use AWS.

botocore takes about 0.1 s to import. No module that a command needs to reject its arguments imports it.
Region, credentials, profile, proxy and endpoints are boto3's own settings (AWS_ENDPOINT_URL, AWS_PROFILE …).
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from botocore import exceptions as botocore_errors
from botocore.config import Config

from collective.aws.calls import BoundedClient, CallFailed, Deadlines, refuse_abandoned
from collective.aws.core_session import AWSSession
from collective.aws.credentials import new_session
from collective.aws.errors import translated
from collective.aws.responses import check
from collective.config import ClientConfig
from collective.errors import ConfigError, Unreachable

log = logging.getLogger(__name__)

_FIRST_ERROR = 300  # botocore handles this status and greater ones as errors
_MAX_SKEW = 60.0  # seconds by which a clock may be off without a warning; AWS rejects signatures at 300 s


@dataclass(frozen=True)
class Timeouts:
    """The connect and read timeouts in seconds, and the maximum number of attempts of a request.

    `deadline` is the number of seconds for all attempts together; a long poll may take its wait in addition. After a
    missed deadline, `suspect` applies until a call succeeds. botocore's backoff takes up to 7 s in all.
    """

    connect: int = 5
    read: int = 30  # more than transport.LONGEST_POLL: a poll without messages is not a timeout
    attempts: int = 4
    deadline: float = 8.0
    suspect: float = 2.0


DEFAULT_TIMEOUTS = Timeouts()


@dataclass(frozen=True)
class Settings:
    """The effective settings of boto3; `credentials` is where boto3 found them, in its own terms."""

    region: str
    endpoint: str
    credentials: str


class AWS:
    """A session (`boto3.Session`, or the one of `core_session`), and the clock of AWS.

    `session` is an argument so that the nodes of a lab, forked from one process, share what it has loaded. `endpoint`
    is the URL of another server for all services.
    """

    def __init__(
        self,
        session: AWSSession | None = None,
        timeouts: Timeouts = DEFAULT_TIMEOUTS,
        endpoint: str | None = None,
    ) -> None:
        with translated("AWS"):
            self._session = session or new_session()
        self._timeouts = timeouts
        self._endpoint = endpoint
        self._deadlines = Deadlines(timeouts.deadline, timeouts.suspect)
        self._offset: float | None = None
        self._clock_is_off = False

    @classmethod
    def of(cls, config: ClientConfig, timeouts: Timeouts = DEFAULT_TIMEOUTS) -> AWS:
        """Return what a caller uses: the region, profile and endpoint of `client.yaml`, or boto3's own settings."""
        with translated("AWS"):
            session = new_session(config.profile, config.region)
        return cls(session, timeouts, config.endpoint)

    def settings(self) -> Settings:
        """Return the effective settings. Raises ConfigError and AccessDenied, e.g. without credentials."""
        client = self.client("sqs")
        with translated("AWS"):
            credentials = self._session.get_credentials()
            if credentials is None:
                raise botocore_errors.NoCredentialsError
            self._deadlines.run(credentials.get_frozen_credentials)
        return Settings(client.meta.region_name, client.meta.endpoint_url, credentials.method)

    def regions(self) -> list[str]:
        """Return the regions with SQS that this version of boto3 knows, of all partitions."""
        partitions = self._session.get_available_partitions()
        return [region for partition in partitions for region in self._session.get_available_regions("sqs", partition)]

    def client(self, service: Any, *, connections: int = 10) -> Any:
        """Return a client of `service` (`sqs`, `sns`, `dynamodb`) that up to `connections` threads can use.

        Each of its calls ends within the deadline, and has a response with the shape of AWS. Call it in a block of
        `translated`. Raises ConfigError for an invalid endpoint, region or profile, AccessDenied or Unreachable if
        boto3 cannot get credentials from a service.
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
                client = self._create(service, settings)
        except Unreachable as exc:  # nothing was sent yet, so a setting is invalid
            raise ConfigError(f"AWS: {exc} (check AWS_ENDPOINT_URL, AWS_DEFAULT_REGION and ~/.aws/config)") from None
        client.meta.events.register("request-created", refuse_abandoned)
        client.meta.events.register("after-call", self._examine)
        return BoundedClient(client, self._deadlines)

    def _create(self, service: Any, settings: Config) -> Any:
        try:
            client = self._session.client(service, config=settings, endpoint_url=self._endpoint)
            _ = urlsplit(client.meta.endpoint_url).port  # botocore accepts a port that is not a number
            return client
        except ValueError as exc:  # the URL of an endpoint is invalid
            raise CallFailed(str(exc)) from None

    def now(self) -> float:
        """Return the servers' time in Unix seconds, from their last response; before it, this machine's time."""
        return time.time() + (self._offset or 0.0)

    @property
    def skew(self) -> float | None:
        """How many seconds this machine's clock is ahead of the servers' clock; None before their first response."""
        return None if self._offset is None else -self._offset

    def _examine(self, http_response: Any, parsed: Any, model: Any, **_: Any) -> None:
        """Judge a response, and note its time. botocore calls this before it raises an error of the service."""
        if http_response.status_code < _FIRST_ERROR:
            check(model.name, model.output_shape, parsed)
        self._note_date(http_response.headers.get("date") or "")

    def _note_date(self, date: str) -> None:
        try:
            seconds = parsedate_to_datetime(date).timestamp()
        except (TypeError, ValueError, OverflowError):  # absent, or not a date
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
