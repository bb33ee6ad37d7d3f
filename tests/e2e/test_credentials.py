"""Credential helpers that fail: one line for callers and `--check`; daemons wait, and serve when the helper is back.

Real helper programs in a real AWS_CONFIG_FILE: what botocore makes of their failures is part of the test.
"""

from __future__ import annotations

import json
import signal
import subprocess
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import pytest
from support import failures
from support.crpc_process import BIN, Completed, Crpc, make_crpc
from support.daemons import IDENTITY, aws_environment, configure, daemon

SHORT = 5.0  # seconds for which the helper's credentials are valid


@dataclass
class Helper:
    """A program for `credential_process`, and the environment in which only it has credentials."""

    path: Path
    environment: dict[str, str]

    def write(self, script: str, mode: int = 0o755) -> None:
        """Replace the program."""
        self.path.unlink(missing_ok=True)
        self.path.write_text(script)
        self.path.chmod(mode)

    def work(self, seconds: float = 3600.0) -> None:
        """Make it return credentials that expire after `seconds`."""
        keys = {"Version": 1, "AccessKeyId": "test", "SecretAccessKey": "test", "SessionToken": "test"}
        expires = f"$(date -u -d '+{seconds:.0f} seconds' +%Y-%m-%dT%H:%M:%SZ)"
        document = json.dumps({**keys, "Expiration": "AT"}).replace('"', '\\"').replace("AT", expires)
        self.write(f'#!/bin/sh\necho "{document}"\n')


@pytest.fixture
def helper(tmp_path: Path, moto_server: str) -> Helper:
    """A helper that does not exist yet."""
    configure(tmp_path, collective=f"helper-{uuid.uuid4().hex[:8]}")
    (tmp_path / "aws").write_text(f"[default]\nregion = eu-central-1\ncredential_process = {tmp_path / 'helper'}\n")
    files = {"AWS_CONFIG_FILE": str(tmp_path / "aws"), "AWS_SHARED_CREDENTIALS_FILE": "/dev/null"}
    environment = {**aws_environment(moto_server), "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", **files}
    return Helper(tmp_path / "helper", {**environment, "COLLECTIVE_CONFIG": str(tmp_path)})


@pytest.fixture
def crpc(helper: Helper) -> Crpc:
    """A caller with these credentials."""
    return make_crpc(helper.environment)


def check(folder: Path, helper: Helper) -> Completed:
    """Run `collectived --check`."""
    words: list[str | Path] = [BIN / "collectived", "--check", "--config", folder / "node.yaml"]
    return subprocess.run(words, env=helper.environment, capture_output=True, text=True, check=False, timeout=60)


def assert_denied(done: Completed) -> None:
    assert done.returncode == 77, done.stderr
    assert done.stderr.count("\n") == 1
    assert "AWS credentials: " in done.stderr


FAILURES = {
    "missing": None,
    "without permission to run": ("#!/bin/sh\n", 0o644),
    "not a program": ("\x01\x02 no program", 0o755),
    "interpreter missing": ("#!/no/such/sh\n", 0o755),
    "exit code": ("#!/bin/sh\necho no >&2\nexit 3\n", 0o755),
    "no output": ("#!/bin/sh\n", 0o755),
    "not JSON": ("#!/bin/sh\necho hello\n", 0o755),
    "null": ("#!/bin/sh\necho null\n", 0o755),
    "a list": ("#!/bin/sh\necho '[]'\n", 0o755),
    "no keys": ("#!/bin/sh\necho '{\"Version\": 1}'\n", 0o755),
    "another version": ("#!/bin/sh\necho '{\"Version\": 7}'\n", 0o755),
    "keys that are numbers": ('#!/bin/sh\necho \'{"Version": 1, "AccessKeyId": 5, "SecretAccessKey": 6}\'\n', 0o755),
    "not UTF-8": ("#!/bin/sh\nprintf '\\377\\376'\n", 0o755),
    "a bad time": (
        '#!/bin/sh\necho \'{"Version": 1, "AccessKeyId": "a", "SecretAccessKey": "b", "Expiration": "soon"}\'\n',
        0o755,
    ),
    "killed": ("#!/bin/sh\nkill -9 $$\n", 0o755),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_a_helper_that_fails_is_one_line_and_exit_77(crpc: Crpc, helper: Helper, tmp_path: Path, failure: str) -> None:
    """For callers and for `--check`, whatever botocore raises."""
    if script := FAILURES[failure]:
        helper.write(*script)
    assert_denied(crpc("rpcutil", "ping", "-I", IDENTITY))
    assert_denied(check(tmp_path, helper))


def test_a_helper_that_never_ends_has_a_deadline(crpc: Crpc, helper: Helper) -> None:
    """The command does not wait for it."""
    helper.write("#!/bin/sh\nexec sleep 300\n")
    began = time.monotonic()
    done = crpc("rpcutil", "ping", "-I", IDENTITY)
    assert time.monotonic() - began < 30
    assert (done.returncode, done.stderr.count("\n")) == (69, 1)
    assert "no response within" in done.stderr


@pytest.mark.parametrize(
    ("profile", "code"),
    [
        ("role_arn = arn:aws:iam::1:role/x\nsource_profile = absent\n", 78),
        ("role_arn = arn:aws:iam::1:role/x\nweb_identity_token_file = /no/such/file\n", 77),
        ("role_arn = arn:aws:iam::1:role/x\ncredential_source = Nowhere\n", 78),
        ("sso_session = absent\nsso_account_id = 1\nsso_role_name = x\n", 78),
        ("aws_access_key_id = only-half\n", 77),
    ],
)
def test_a_profile_that_cannot_work_is_one_line(crpc: Crpc, tmp_path: Path, profile: str, code: int) -> None:
    """Settings are exit code 78, credentials 77."""
    (tmp_path / "aws").write_text(f"[default]\nregion = eu-central-1\n{profile}")
    done = crpc("rpcutil", "ping", "-I", IDENTITY)
    assert done.returncode in (77, code), done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("crpc: AWS")


@pytest.mark.failure(failures.NETWORK, "the credential helper is missing")
def test_a_daemon_waits_for_its_helper(crpc: Crpc, helper: Helper, tmp_path: Path, moto_server: str) -> None:
    """A daemon starts without its credential helper, serves once that works, and survives its absence."""
    with daemon(tmp_path, moto_server, serving=False, env=helper.environment) as node:
        node.wait_for("transport.failed")
        assert "AWS credentials: " in node.events("transport.failed")[0]["error"]
        helper.work(SHORT)
        node.wait_for("daemon.serving")
        helper.path.unlink()
        failed = len(node.events("transport.failed"))
        node.wait_for("transport.failed", failed + 1, 60)
        assert node.process.poll() is None
        helper.work()
        assert crpc("rpcutil", "ping", "-I", IDENTITY, "-t", "60").returncode == 0, node.log
        assert "Traceback" not in node.log
        node.process.send_signal(signal.SIGTERM)
        assert node.process.wait(30) == 0


@pytest.mark.parametrize("service", ["SQS", "SNS", "DYNAMODB"])
def test_an_invalid_endpoint_ends_the_start(tmp_path: Path, helper: Helper, service: str) -> None:
    """A retry cannot help, so the daemon does not start: exit code 78 and one line."""
    configure(tmp_path, registry="dynamodb")
    words: list[str | Path] = [BIN / "collectived", "--config", tmp_path / "node.yaml"]
    environment = {**helper.environment, f"AWS_ENDPOINT_URL_{service}": "localhost:4566"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 78
    assert "check AWS_ENDPOINT_URL" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
