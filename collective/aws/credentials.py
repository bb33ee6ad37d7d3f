"""Resolve credentials when a request is signed, and translate whatever fails in that.

botocore resolves credentials while it creates a client. A client that was created without them never gets any, and
errors of a helper program reach the caller as they are: FileNotFoundError, JSONDecodeError, EOFError …
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from typing import Any

from botocore import exceptions as botocore_errors
from botocore.credentials import Credentials

from collective.aws.core_session import CoreSession, new_core
from collective.aws.errors import one_line
from collective.errors import AccessDenied, ConfigError

_CACHE_KEY = re.compile(r"[0-9a-f]{40}")  # the name of a file in ~/.aws/sso/cache


def new_session(profile: str | None = None, region: str | None = None) -> CoreSession:
    """Return a session whose clients resolve their credentials at each request until there are some.

    A `profile` takes precedence over credentials in environment variables. Raises ProfileNotFound of botocore, and
    ConfigError for a setting of the metadata service that is not valid.
    """
    core = new_core()
    if profile is not None:
        core.set_config_variable("profile", profile)
    try:
        resolver = core.get_component("credential_provider")
    except (ValueError, botocore_errors.InvalidIMDSEndpointModeError) as error:  # nothing is sent here
        raise ConfigError(f"AWS: {one_line(error)} (check AWS_METADATA_SERVICE_TIMEOUT and ~/.aws/config)") from None
    core.register_component("credential_provider", _LateResolver(resolver))
    return CoreSession(core, region)


class _LateResolver:
    """Takes the place of botocore's resolver."""

    def __init__(self, resolver: Any) -> None:
        self._resolver = resolver

    def load_credentials(self) -> _LateCredentials:
        """Return credentials that are resolved later."""
        return _LateCredentials(self._resolver)


class _LateCredentials(Credentials):
    """The credentials that `resolver` finds, resolved on use. Raises AccessDenied, and botocore's network errors."""

    def __init__(self, resolver: Any) -> None:
        super().__init__("", "", method="none")
        self._resolver = resolver
        self._found: Any = None
        self._lock = threading.Lock()

    def get_frozen_credentials(self) -> Any:
        """Return the current credentials, refreshed if necessary."""
        return _translated(self._frozen)

    def get_deferred_property(self, property_name: str) -> Callable[[], Any]:
        """Return a function that returns a property of the current credentials."""
        return lambda: _translated(lambda: self._resolve().get_deferred_property(property_name)())

    def _frozen(self) -> Any:
        frozen = self._resolve().get_frozen_credentials()
        if not all(isinstance(key, str) for key in (frozen.access_key, frozen.secret_key)):
            raise TypeError("the keys must be strings")
        _check({"access key": frozen.access_key, "secret key": frozen.secret_key, "session token": frozen.token})
        return frozen

    def _resolve(self) -> Any:
        with self._lock:
            if self._found is None:
                self._found = self._resolver.load_credentials()
            if self._found is None:
                raise botocore_errors.NoCredentialsError
            self.method = self._found.method
            return self._found


def _check(keys: Mapping[str, str | None]) -> None:
    """Raise AccessDenied for a key that no header can hold: http.client would show it in its error."""
    for name, key in keys.items():
        if key and not re.fullmatch("[!-~]+", key):
            raise AccessDenied(
                f"AWS credentials: the {name} contains a line end, white space or a character that is not ASCII (check "
                "the variable or file that it is from)"
            )


def _translated(resolve: Callable[[], Any]) -> Any:
    try:
        return resolve()
    except botocore_errors.ClientError as error:  # of STS, SSO or Cognito
        raise AccessDenied(f"AWS credentials: {one_line(error)}") from None
    except (botocore_errors.ConnectionError, botocore_errors.HTTPClientError):
        raise  # STS, SSO or the metadata service cannot be reached
    except botocore_errors.BotoCoreError as error:
        raise AccessDenied(f"AWS credentials: {one_line(error)}") from None
    except AccessDenied:
        raise
    except Exception as error:
        raise AccessDenied(f"AWS credentials: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    """Return what failed, and a hint. Class and message differ by provider, and by version of botocore."""
    key = str(error.args[0]) if isinstance(error, KeyError) and error.args else ""
    if _CACHE_KEY.fullmatch(key):
        return f"~/.aws/sso/cache/{key}.json is not valid JSON (delete it, and run 'aws sso login')"
    if isinstance(error, EOFError):  # of getpass
        return "the profile needs an MFA code, and standard input cannot be asked (use credentials that need none)"
    return f"{type(error).__name__}: {one_line(error)} (check credential_process and the files of the profile)"
