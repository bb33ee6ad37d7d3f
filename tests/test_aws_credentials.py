"""What botocore lets through while it finds credentials: damaged caches, wrong settings, keys with a line end."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from collective.aws.session import AWS
from collective.errors import AccessDenied, ConfigError

SSO_URL = "https://example.awsapps.com/start"
SSO = f"sso_start_url = {SSO_URL}\nsso_region = us-east-1\nsso_account_id = 1\nsso_role_name = x\n"
MFA = "role_arn = arn:aws:iam::1:role/x\nsource_profile = keys\nmfa_serial = arn:aws:iam::1:mfa/u\n"
KEYS = "[profile keys]\naws_access_key_id = a\naws_secret_access_key = b\n"


@pytest.fixture
def profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The configuration file of boto3, the only place with settings."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    return tmp_path / "config"


def error_of_a_process(profile: Path) -> str:
    """Return the error of a new process without a terminal: botocore expands HOME when it is imported."""
    code = "from collective.aws.session import AWS\nAWS().settings()"
    command = [sys.executable, "-W", "ignore", "-c", code]
    env = {**os.environ, "HOME": str(profile.parent)}
    done = subprocess.run(
        command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, start_new_session=True, check=False
    )
    return done.stderr.splitlines()[-1]


def test_a_damaged_token_cache_is_named(profile: Path) -> None:
    """A cached token that was cut is named, not shown as the KeyError of its hash."""
    profile.write_text(f"[default]\n{SSO}")
    name = hashlib.sha1(SSO_URL.encode(), usedforsecurity=False).hexdigest() + ".json"
    cache = profile.parent / ".aws" / "sso" / "cache"
    cache.mkdir(parents=True)
    (cache / name).write_text('{"accessToken": "x",')
    error = error_of_a_process(profile)
    assert error.endswith(f"~/.aws/sso/cache/{name} is not valid JSON (delete it, and run 'aws sso login')")


def test_an_mfa_code_cannot_be_asked_without_a_terminal(profile: Path) -> None:
    """The reason is named when the question for an MFA code meets the end of standard input."""
    profile.write_text(f"[default]\n{MFA}{KEYS}")
    assert "AWS credentials: the profile needs an MFA code, and" in error_of_a_process(profile)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("AWS_ACCESS_KEY_ID", "access key"),
        ("AWS_SECRET_ACCESS_KEY", "secret key"),
        ("AWS_SESSION_TOKEN", "session token"),
    ],
)
@pytest.mark.parametrize("key", ["key\n", "key\r", "key ", "ключ"])
def test_a_key_that_no_header_can_hold_is_denied_unseen(
    profile: Path, monkeypatch: pytest.MonkeyPatch, name: str, what: str, key: str
) -> None:
    """A key with a line end is not sent, and the error does not show it."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    monkeypatch.setenv(name, key)
    with pytest.raises(AccessDenied, match=f"^AWS credentials: the {what} contains a line end, white space") as caught:
        AWS().settings()
    assert key.strip() not in str(caught.value).replace("access key", "").replace("secret key", "")


@pytest.mark.parametrize(
    "setting",
    [
        "metadata_service_timeout = 1s",
        "metadata_service_num_attempts = many",
        "ec2_metadata_service_endpoint_mode = ipv5",
    ],
)
def test_an_invalid_setting_of_the_metadata_service_is_a_config_error(profile: Path, setting: str) -> None:
    """Nothing was sent, so the setting is to blame, not the network: the daemon must not wait for it to change."""
    profile.write_text(f"[default]\n{setting}\n")
    with pytest.raises(ConfigError, match=r"^AWS: .*\(check AWS_METADATA_SERVICE_TIMEOUT and ~/\.aws/config\)$"):
        AWS()
