"""Translate botocore's errors, by the codes of AWS and by the classes of botocore."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from botocore import exceptions as botocore_errors
from botocore.parsers import ResponseParserError

from collective.aws.calls import CallFailed
from collective.aws.responses import NOT_AWS
from collective.errors import AccessDenied, CollectiveError, ConfigError, Forbidden, NotFound, Unreachable

log = logging.getLogger(__name__)

_MAX_TEXT = 300  # characters of an error text
_MISSING = frozenset(
    [
        "AWS.SimpleQueueService.NonExistentQueue",
        "QueueDoesNotExist",
        "NotFound",
        "NotFoundException",
        "ResourceNotFoundException",
    ]
)
_FORBIDDEN = frozenset(["AccessDenied", "AccessDeniedException", "AuthorizationError", "UnauthorizedOperation"])
_DENIED = frozenset(
    [
        "AuthFailure",
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
_SETTINGS = (botocore_errors.ConfigNotFound, botocore_errors.ConfigParseError, botocore_errors.ProfileNotFound)
_CREDENTIALS = (
    botocore_errors.NoCredentialsError,
    botocore_errors.PartialCredentialsError,
    botocore_errors.CredentialRetrievalError,
    botocore_errors.TokenRetrievalError,
    botocore_errors.SSOError,
)
_DELETED_RECENTLY = frozenset(["AWS.SimpleQueueService.QueueDeletedRecently", "QueueDeletedRecently"])


@contextmanager
def translated(name: str, kind: str = "resource") -> Iterator[None]:
    """Translate errors of botocore; `name` is that of the resource, `kind` is queue, topic, table or subscription.

    Read the response inside the block: an error in that means that it is not from AWS.
    """
    try:
        yield
    except CollectiveError:
        raise
    except botocore_errors.ClientError as exc:
        raise _from_response(name, kind, exc) from None
    except Exception as exc:
        raise _without_response(name, exc) from None


def _without_response(name: str, exc: Exception) -> CollectiveError:
    if isinstance(exc, botocore_errors.NoRegionError):
        return ConfigError(f"AWS: {exc} (set AWS_DEFAULT_REGION, or region in ~/.aws/config)")
    if isinstance(exc, _SETTINGS):
        return ConfigError(f"AWS: {one_line(exc)}")
    if isinstance(exc, _CREDENTIALS):
        return AccessDenied(f"AWS credentials: {one_line(exc)}")
    if isinstance(exc, ResponseParserError):
        return Unreachable(f"{name}: {NOT_AWS}")
    if isinstance(exc, KeyError):
        return Unreachable(f"{name}: {exc} is missing in the response: {NOT_AWS}")
    if isinstance(exc, (CallFailed, botocore_errors.BotoCoreError)):
        return Unreachable(f"{name}: {one_line(exc)}")
    # botocore's parsers raise TypeError, AttributeError and others for JSON such as `null` and `[]`.
    log.debug("aws.unexpected", exc_info=exc)
    return Unreachable(f"{name}: {type(exc).__name__}: {one_line(exc)}: {NOT_AWS}")


def _from_response(name: str, kind: str, exc: botocore_errors.ClientError) -> CollectiveError:
    error = exc.response.get("Error", {})
    code = str(error.get("Code", "unknown"))
    if code in _MISSING:
        return NotFound(kind, name)
    text = f"{code}: {one_line(error.get('Message') or 'no message')}"
    if code in _FORBIDDEN:
        return Forbidden(f"{name}: {text}")
    if code in _DENIED:
        return AccessDenied(f"{name}: {text}")
    if code in _THROTTLED:
        return Unreachable(f"{name}: throttled by AWS: {text}")
    if code in _DELETED_RECENTLY:
        return Unreachable(f"{name}: deleted less than 60 s ago, SQS blocks the name until then: {text}")
    return Unreachable(f"{name}: {text}")


def one_line(text: object) -> str:
    """Return a text without line ends, cut to 300 characters."""
    words = " ".join(str(text).split())
    return words if len(words) <= _MAX_TEXT else words[: _MAX_TEXT - 1] + "…"
